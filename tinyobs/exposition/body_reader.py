"""One scraped body read line by line: the slow path of `scrape_parser.py`, and the one that decides what is an error.

Lines whose bytes up to the value are known are not looked at any further.  Errors name the first malformed line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from attrs import define, frozen

from ..errors import ExpositionError
from ..model.labels import Labels
from ..model.metadata import MetricMetadata, MetricType
from .floats import printable
from .lexing import (
    OPENMETRICS,
    TEXT,
    TEXT_TYPES,
    TYPES,
    Malformed,
    read_help,
    read_metadata,
    read_series,
    to_labels,
)
from .tails import MalformedTail, Tails, read_tails

Key = tuple[bytes, int]
"""The bytes of a line up to its value, and the spelling mode of its family's bound label."""

TYPE_OF_MODE: Final = (MetricType.UNKNOWN, MetricType.HISTOGRAM, MetricType.SUMMARY)
_MODE: Final = {MetricType.HISTOGRAM: 1, MetricType.SUMMARY: 2}
_HASH: Final = 0x23
_BLANKS: Final = b" \t"
_BOUND: Final = (b"", b"le", b"quantile")
_TEXT_METADATA = re.compile(rb"[ \t]*#[ \t]+(HELP|TYPE)[ \t]+")
_OPENMETRICS_METADATA = re.compile(rb"# (HELP|TYPE|UNIT) ")


@frozen
class ParserLimits:
    """Bounds of one parser.

    line_bytes_max: longest line, in bytes.  series_max: series remembered at once, those of the body and those
    lately gone.  absent_bodies_max: bodies for which a series that is gone keeps its number.
    """

    line_bytes_max: int = 1 << 20
    series_max: int = 10_000_000
    absent_bodies_max: int = 8


@define
class _Family:
    type: MetricType = MetricType.UNKNOWN
    help: str = ""
    unit: str = ""


class BodyReader:
    """Reads one body; `known` (key -> number) gains the series that are new.

    After `run`: `keys` of the samples in body order, `new` (number -> labels), `line_is_sample` (a byte a line),
    `folded` (some sample spans several lines), `number_end` (one above the highest number given out).
    """

    def __init__(
        self,
        body: bytes,
        openmetrics: bool,
        known: dict[Key, int],
        limits: ParserLimits,
        free: Iterator[int],
        number_end: int,
    ) -> None:
        self.keys: list[Key] = []
        self.new: dict[int, Labels] = {}
        self.line_is_sample = bytearray()
        self.folded = False
        self.number_end = number_end
        self._body = body
        self._openmetrics = openmetrics
        self._dialect = OPENMETRICS if openmetrics else TEXT
        self._known = known
        self._limits = limits
        self._free = free
        self._mode = 0
        self._tails: list[bytes] = []
        self._tail_lines: list[tuple[int, int]] = []
        self._families: dict[str, _Family] = {}
        self._ended = False

    def run(self) -> Tails:
        """Read the body and return the columns of its samples; raises `ExpositionError`."""
        body, known, line_bytes_max = self._body, self._known, self._limits.line_bytes_max
        at, line = 0, 1
        try:
            while at <= len(body):
                end = body.find(b"\n", at)
                if end < 0:
                    if at == len(body):
                        self.line_is_sample.append(0)
                        break
                    end = len(body)
                cut = at if body[at] == _HASH else body.rfind(b" ", at, end) + 1
                if cut > at:
                    prefix = body[at:cut]
                    key = prefix, self._mode if self._mode and _BOUND[self._mode] in prefix else 0
                    if key not in known:  # with a timestamp the value ends one space earlier
                        cut = body.rfind(b" ", at, cut - 1) + 1
                        key = self._key(body[at:cut])
                    usual = end - at <= line_bytes_max and end < len(body) and not self._ended
                    if usual and key in known and body[cut] not in _BLANKS:
                        self._add(key, body[cut:end], line, cut - at + 1)
                        at, line = end + 1, line + 1
                        continue
                try:
                    after = self._line(at, end, line)
                except Malformed as e:
                    raise ExpositionError(e.reason, line, e.at - at + 1) from None
                line += 1 + body.count(b"\n", end + 1, after) if after > end + 1 else 1
                at = after
            self._check_end(line)
        except ExpositionError:
            self._read_tails()  # an earlier line comes first
            raise
        return self._read_tails()

    def metadata(self) -> Mapping[str, MetricMetadata]:
        """Return type, help and unit of the families that the body describes."""
        return {name: MetricMetadata(f.type, f.help, f.unit) for name, f in self._families.items()}

    def _read_tails(self) -> Tails:
        try:
            return read_tails(self._tails, self._openmetrics)
        except MalformedTail as e:
            line, column = self._tail_lines[e.index]
            raise ExpositionError(e.reason, line, column + e.at) from None

    def _check_end(self, line: int) -> None:
        if self._openmetrics and not self._ended:
            raise ExpositionError("data does not end with # EOF", max(line - 1, 1))

    def _line(self, at: int, end: int, line: int) -> int:
        """Read the line from `at` to `end`; return where the next one starts."""
        if end - at > self._limits.line_bytes_max:
            raise Malformed(f"line longer than {self._limits.line_bytes_max} bytes", at)
        body = self._body
        if self._ended:
            raise Malformed("unexpected data after # EOF", at)
        first = body[at : at + 1]
        if not self._openmetrics:
            first = body[at:end].lstrip(_BLANKS)[:1]
        if first == b"#" or (not self._openmetrics and not first):
            self._other(body[at:end], at, end)
            self.line_is_sample.append(0)
            return end + 1
        return self._sample(at, end, line)

    def _other(self, text: bytes, at: int, end: int) -> None:
        """Read a line that starts with `#` or is blank."""
        pattern = _OPENMETRICS_METADATA if self._openmetrics else _TEXT_METADATA
        match = pattern.match(text)
        try:
            if match is not None:
                self._metadata(match[1], text, match.end(), at + len(text) == len(self._body))
            elif self._openmetrics:
                if text.startswith(b"# EOF") and len(text) > 5:
                    raise Malformed("unexpected data after # EOF", 5)
                if text != b"# EOF":
                    raise Malformed(f"expected a valid start token, got {printable(text)}", 0)
                self._ended = True
        except Malformed as e:
            raise Malformed(e.reason, at + e.at) from None

    def _metadata(self, what: bytes, line: bytes, at: int, cut: bool) -> None:
        """Read a HELP, TYPE or UNIT line; `cut` tells that no line end follows it."""
        name, text = read_metadata(line, at, self._dialect)
        if self._openmetrics and (text is None or cut):
            raise Malformed(f"expected text in {what.decode()}", len(line))
        text = text or b""
        family = self._families.get(name)
        if family is None:
            family = self._families[name] = _Family()
        if what == b"TYPE":
            type_ = (TYPES if self._openmetrics else TEXT_TYPES).get(text)
            if type_ is None:
                raise Malformed(f"invalid metric type {printable(text)}", at)
            family.type = type_
            self._mode = _MODE.get(type_, 0)
        elif what == b"HELP":
            family.help = read_help(text, self._dialect)
        else:
            family.unit = text.decode("utf-8", "replace")
            if family.unit and not name.endswith("_" + family.unit):
                raise Malformed(f"unit {printable(text)} not a suffix of metric {printable(name.encode())}", at)

    def _sample(self, at: int, end: int, line: int) -> int:
        body = self._body
        pairs, cut = read_series(body, at, self._dialect)
        if self._openmetrics:
            if body[cut : cut + 1] != b" ":
                raise Malformed(f"expected value after metric, got {printable(body[cut : cut + 1])}", cut)
            cut += 1
        else:
            while body[cut : cut + 1] in (b" ", b"\t"):
                cut += 1
        key = self._key(body[at:cut])
        if key not in self._known:
            number = self._next_number(at)
            self.new[number] = to_labels(pairs, TYPE_OF_MODE[key[1]], at)
            self._known[key] = number
        if cut > end:
            self.folded = True
            line += body.count(b"\n", end, cut)
            start = body.rfind(b"\n", at, cut) + 1
            end = body.find(b"\n", cut)
            end = len(body) if end < 0 else end
            at = start
        self._add(key, body[cut:end], line, cut - at + 1)
        if self._openmetrics and end == len(body):
            self._read_tails()
            raise Malformed("data does not end with # EOF", end)
        return end + 1

    def _add(self, key: Key, tail: bytes, line: int, column: int) -> None:
        self.keys.append(key)
        self._tails.append(tail)
        self._tail_lines.append((line, column))
        self.line_is_sample.append(1)

    def _key(self, prefix: bytes) -> Key:
        return prefix, self._mode if self._mode and _BOUND[self._mode] in prefix else 0

    def _next_number(self, at: int) -> int:
        if len(self._known) >= self._limits.series_max:
            raise Malformed(f"more than {self._limits.series_max} series", at)
        number = next(self._free, None)
        if number is None:
            number = self.number_end
            self.number_end += 1
        return number
