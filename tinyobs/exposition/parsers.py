"""The parser that a target needs: by format, and by what shall become of its histograms and `_created` series."""

from __future__ import annotations

from typing import Protocol

from .folding import FoldingParser
from .formats import Format
from .histogram_rules import HistogramRules
from .protobuf_parser import ProtobufParser
from .scrape_parser import Parsed, ScrapeParser


class BodyParser(Protocol):
    """The parser of one target.  Not thread-safe; a body that fails leaves it as it was."""

    @property
    def format(self) -> Format:
        """The format that it reads."""

    def parse(self, body: bytes) -> Parsed:
        """Return the samples of a body; raises `ExpositionError` or `WireError` where it is malformed."""


def parser_of(format: Format, rules: HistogramRules | None = None, *, created: bool = False) -> BodyParser:
    """Return a new parser.

    created: whether `_created` series of OpenMetrics are the start times of others instead of series.
    """
    rules = rules or HistogramRules()
    if format is Format.PROTOBUF:
        return ProtobufParser(rules)
    created = created and format.is_openmetrics
    parser = ScrapeParser(format)
    return FoldingParser(parser, rules, created=created) if rules.convert or created else parser
