"""Bodies pushed to a group: read as a Pushgateway reads them, with a memory of what the last one looked like.

A reader belongs to one grouping key and one format.  Labels are looked at when a series is new, families when the structure
of a body is; a body that looks as the last one did costs its values alone (`layout.py`).

What makes a push malformed raises.  What makes it inconsistent in itself (timestamps, a series twice) is told as `fault`: a
Pushgateway notes the time of such a failure with the group.  Source of the rules: prometheus/pushgateway handler/push.go and
storage/diskmetricstore.go, prometheus/common expfmt/text_parse.go.

Not here: whether a push fits with those of other groups.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from ..errors import ExpositionError, WireError
from ..model.histograms import Histograms
from ..model.labels import NAME, Labels, from_mapping, is_legacy_label_name, is_legacy_metric_name, to_text
from ..model.metadata import MetricMetadata, MetricType
from ..model.registry import SeriesRegistry
from .body_reader import ParserLimits
from .floats import parse_float, printable
from .formats import Format
from .grouping_key import RESERVED
from .histogram_rules import HistogramRules
from .lexing import BOUND_LABEL
from .parsers import BodyParser
from .protobuf_parser import ProtobufParser
from .scrape_parser import Parsed, ScrapeParser

Refs = NDArray[np.uint32]

PUSH_TIME: Final = "push_time_seconds"
PUSH_FAILURE_TIME: Final = "push_failure_time_seconds"
OWN: Final = frozenset((PUSH_TIME, PUSH_FAILURE_TIME))
"""Families that every group has; pushed ones of these names are left out."""
TIMESTAMPS: Final = "pushed metrics must not have timestamps"
SERIES_MAX: Final = 1_000_000
"""Series that one body may have."""

_PARTS: Final = {
    MetricType.SUMMARY: ("_count", "_sum"),
    MetricType.HISTOGRAM: ("_bucket", "_count", "_sum"),
    MetricType.GAUGE_HISTOGRAM: ("_bucket", "_gcount", "_gsum", "_count", "_sum"),
    MetricType.COUNTER: ("_total", "_created"),
    MetricType.INFO: ("_info",),
}
_COMMENT = re.compile(rb'[ \t]*#[ \t]+(HELP|TYPE)[ \t]+(?:"((?:[^"\\]|\\.)*)"|([^ \t]+))')
_ESCAPED = re.compile(rb"\\.")
_UNFINISHED: Final = "unexpected end of input stream: the last line has no line break"


@frozen(eq=False)
class Structure:
    """What bodies that look alike have in common.

    refs: uint32[n], no series twice.  families: name -> what it says of itself.  family_of: int32[n], of each series the
    position of its family.  numbers: of the parser, in body order.  taken: which of the body's samples are stored, None for
    all in order.  fault: why a Pushgateway would not take it, "" when it would.
    """

    refs: Refs
    families: Mapping[str, MetricMetadata]
    family_of: NDArray[np.int32]
    numbers: NDArray[np.int32]
    taken: NDArray[np.int64] | None = None
    fault: str = ""


@frozen(eq=False)
class GroupBody:
    """A body that was read; values: float64[n] of the structure's series."""

    structure: Structure
    values: NDArray[np.float64]
    histograms: Histograms | None = None
    fault: str = ""


_EMPTY: Final = Structure(np.zeros(0, np.uint32), {}, np.zeros(0, np.int32), np.zeros(0, np.int32))
"""Of bodies without a byte."""


class GroupReader:
    """Reads the bodies of one grouping key.  Not thread-safe; a body that fails changes nothing of what others say."""

    def __init__(
        self,
        key: Labels,
        format: Format,
        registry: SeriesRegistry,
        *,
        utf8_names: bool = False,
        series_max: int = SERIES_MAX,
    ) -> None:
        self.format = format
        self.utf8_names = utf8_names
        self._key, self._registry = dict(key), registry
        self._limits = ParserLimits(series_max=series_max, absent_bodies_max=1)
        self._parser = self._new_parser()
        self._refs: Refs = np.zeros(0, np.uint32)
        """Series of each number of the parser."""
        self._last: Structure | None = None

    def read(self, body: bytes) -> GroupBody:
        """Return what a body says; raises `ExpositionError` or `WireError` where it is malformed."""
        return self.finish(body, self.parse(body))

    def parse(self, body: bytes) -> Parsed | None:
        """Do the first half of reading, for those who read many; raises likewise."""
        if not body:  # the parser keeps what it remembers of the body before, and so do we
            return None
        if self.format is Format.TEXT_0_0_4 and not body.endswith(b"\n"):
            raise ExpositionError(_UNFINISHED, body.count(b"\n") + 1)
        return self._parser.parse(body)

    def new_series(self, parsed: Parsed) -> list[Labels]:
        """Return the series that a body has and those before it had not; raises `WireError` for names that may not be."""
        if not self.utf8_names:
            for labels in parsed.new.values():
                _check_names(labels)
        return [from_mapping({**dict(labels), **self._key}) for labels in parsed.new.values()]

    def finish(self, body: bytes, parsed: Parsed | None) -> GroupBody:
        """Do the second half; raises likewise."""
        if parsed is None:
            return GroupBody(_EMPTY, np.zeros(0))
        last = self._last
        if last is None or parsed.series is not last.numbers or parsed.new:
            try:
                last = self._last = self._structure_of(parsed, body, last)
            except (ExpositionError, WireError):
                self._parser, self._last = self._new_parser(), None  # it must not remember what we do not take
                raise
        values = parsed.values if last.taken is None else parsed.values[last.taken]
        fault = last.fault if parsed.timestamps_ms is None else TIMESTAMPS
        return GroupBody(last, values, parsed.histograms, fault)

    def _new_parser(self) -> BodyParser:
        if self.format is Format.PROTOBUF:
            return ProtobufParser(HistogramRules(native=True, always_classic=True), limits=self._limits)
        return ScrapeParser(self.format, limits=self._limits)

    def _structure_of(self, parsed: Parsed, body: bytes, last: Structure | None) -> Structure:
        if parsed.new:
            self._learn(parsed)
        refs = self._refs[parsed.series] if len(parsed.series) else np.zeros(0, np.uint32)
        if self.format is Format.TEXT_0_0_4:
            _check_lines(body, len(refs))
        series = [dict(self._registry.labels(ref)) for ref in refs.tolist()]
        families: dict[str, MetricMetadata] = {}
        places: dict[str, int] = {}
        family_of = np.empty(len(refs), np.int32)
        fault = ""
        for i, labels in enumerate(series):
            family = _family(labels[NAME], parsed.metadata)
            if family not in places:
                places[family] = len(places)
                families[family] = parsed.metadata.get(family, MetricMetadata())
            fault = fault or _fault_of(labels, families[family].type)
            family_of[i] = places[family]
        taken = self._taken(refs, family_of, list(places))
        made = Structure(refs, families, family_of, parsed.series, fault=fault or self._twice(refs))
        if len(taken) < len(refs):
            made = _reduced(made, taken)
        if last is not None and last.families == made.families and _same(last, made):
            return last if parsed.series is last.numbers else _renumbered(last, parsed.series)
        return made

    def _learn(self, parsed: Parsed) -> None:
        """Give refs to series that the parser met for the first time."""
        sets, highest = self.new_series(parsed), max(parsed.new)
        if highest >= len(self._refs):
            grown = np.zeros(max(highest + 1, 2 * len(self._refs)), np.uint32)
            grown[: len(self._refs)] = self._refs
            self._refs = grown
        self._refs[list(parsed.new)] = self._registry.intern_many(sets, gated=False)

    def _taken(self, refs: Refs, family_of: NDArray[np.int32], names: list[str]) -> NDArray[np.int64]:
        """Return the places of the samples that count: the last of each series, none of a group's own families."""
        good = np.arange(len(refs))
        if not OWN.isdisjoint(names):
            good = np.flatnonzero(~np.array([name in OWN for name in names])[family_of])
        if len(set(refs[good].tolist())) < len(good):
            _, last = np.unique(refs[good][::-1], return_index=True)
            good = good[np.sort(len(good) - 1 - last)]
        return good.astype(np.int64)

    def _twice(self, refs: Refs) -> str:
        if len(set(refs.tolist())) == len(refs):
            return ""
        found, counts = np.unique(refs, return_counts=True)
        series = to_text(self._registry.labels(int(found[counts > 1][0])))
        return f"collected metric {series} was collected before with the same name and label values"


def _family(name: str, metadata: Mapping[str, MetricMetadata]) -> str:
    """Return the family that a series belongs to: its own name, unless it is a part of a family described in the body."""
    if name in metadata:
        return name
    for suffix in ("_count", "_sum", "_bucket", "_total", "_created", "_gcount", "_gsum", "_info"):
        base = name.removesuffix(suffix)
        if base != name and base in metadata and suffix in _PARTS.get(metadata[base].type, ()):
            return base
    return name


def _check_names(labels: Labels) -> None:
    for name, value in labels:
        if name == NAME and not is_legacy_metric_name(value):
            raise WireError(f'invalid metric name "{value[:200]}": see tinyobs.pushgateway.utf8_names')
        if not is_legacy_label_name(name):
            raise WireError(f'invalid label name "{name[:200]}": see tinyobs.pushgateway.utf8_names')


def _fault_of(labels: Mapping[str, str], type_: MetricType) -> str:
    """Return what is wrong with a series of a family, "" where nothing is."""
    for name in labels:
        if name != NAME and name.startswith(RESERVED):
            return f'collected metric "{labels[NAME]}" has the label "{name[:200]}": names in {RESERVED} are reserved'
    bound = "le" if type_ is MetricType.GAUGE_HISTOGRAM else BOUND_LABEL.get(type_)
    if bound is not None and bound in labels:
        try:
            parse_float(labels[bound].encode())
        except ValueError as e:
            return f'the label {bound} of "{labels[NAME]}" must be a number: {e}'
    return ""


def _check_lines(body: bytes, count: int) -> None:
    """Raise `ExpositionError` for what the parser of targets takes and that of a Pushgateway does not."""
    seen: set[tuple[bytes, bytes]] = set()
    sampled: set[bytes] = set()
    samples = 0
    lines = body.split(b"\n")
    for number, line in enumerate(lines, 1):
        bare = line.lstrip(b" \t")
        if not bare:
            continue
        if not bare.startswith(b"#"):
            samples += 1
            sampled.add(re.split(rb"[{ \t]", bare, maxsplit=1)[0])
            continue
        match = _COMMENT.match(line)
        if match is None:
            continue
        name = match[3] if match[2] is None else match[2]
        if (match[1], name) in seen:
            raise ExpositionError(f"second {match[1].decode()} line for metric name {printable(name)}", number)
        if match[1] == b"TYPE" and name in sampled:
            raise ExpositionError(f"TYPE reported after samples of {printable(name)}: it belongs before them", number)
        seen.add((match[1], name))
    if samples != count:
        number = next((i for i, line in enumerate(lines, 1) if _ESCAPED.sub(b"", line).count(b'"') % 2), 1)
        raise ExpositionError("a label value contains an unescaped line break: write it as \\n", number)


def _reduced(structure: Structure, taken: NDArray[np.int64]) -> Structure:
    """Return a structure with only some of its series, and their families."""
    names = list(structure.families)
    left, family_of = np.unique(structure.family_of[taken], return_inverse=True)
    families = {names[i]: structure.families[names[i]] for i in left.tolist()}
    places = family_of.astype(np.int32).reshape(-1)
    return Structure(structure.refs[taken], families, places, structure.numbers, taken, structure.fault)


def _same(a: Structure, b: Structure) -> bool:
    """Tell whether all but the families are the same."""
    taken = a.taken is b.taken or (a.taken is not None and b.taken is not None and np.array_equal(a.taken, b.taken))
    return taken and a.fault == b.fault and np.array_equal(a.refs, b.refs) and list(a.families) == list(b.families)


def _renumbered(structure: Structure, numbers: NDArray[np.int32]) -> Structure:
    """Return the structure with the numbers that its parser has now."""
    s = structure
    return Structure(s.refs, s.families, s.family_of, numbers, s.taken, s.fault)
