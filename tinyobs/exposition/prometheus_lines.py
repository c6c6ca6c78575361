"""Prometheus text and OpenMetrics that somebody pushes: line by line, so that a bad line costs none of the good ones.

The lines are those that targets expose (`lexing.py`), with or without times; unlike in a scrape a series may have many samples.
What a line begins with is looked up as it is, and looked at once; values and times are read in bulk.  A fault is told with the
number of its line and the byte in it.

Not here: bodies that are taken as a whole or not at all (`scrape_parser.py`, `group_body.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from attrs import define, field
from numpy.typing import NDArray

from ..model.batch import Batch
from ..model.exemplars import Exemplar
from ..model.gate import STAND_INS
from ..model.labels import Labels, from_mapping
from ..model.metadata import MetricMetadata, MetricType
from ..model.registry import SeriesRegistry
from .floats import printable
from .lexing import (
    OPENMETRICS,
    TEXT,
    TEXT_TYPES,
    TYPES,
    ExemplarText,
    Malformed,
    read_help,
    read_metadata,
    read_openmetrics_tail,
    read_series,
    to_labels,
)
from .pushed import Faults, Pushed
from .pushed_tail import read_pushed_tail, to_milliseconds
from .tails import NO_TIMESTAMP, MalformedTail, read_tails

MALFORMED: Final = "malformed"
LINE_BYTES_MAX: Final = 1 << 20
"""Longest line."""
BEGINNINGS_MAX: Final = 1_000_000
"""Beginnings of lines remembered with their series, for all senders; beyond it all are forgotten and come back."""
FAMILIES_MAX: Final = 100_000
"""Families of one body whose metadata is kept; that of further ones is left out."""
PIECE_BYTES: Final = 1 << 20

_METADATA = re.compile(rb"[ \t]*#[ \t]+(HELP|TYPE|UNIT)[ \t]+")
_MODES: Final = {MetricType.HISTOGRAM: 1, MetricType.SUMMARY: 2}
_TYPE_OF_MODE: Final = (MetricType.UNKNOWN, MetricType.HISTOGRAM, MetricType.SUMMARY)
_BOUND: Final = (b"", b"le", b"quantile")
_HASH: Final = 0x23
_BLANKS: Final = b" \t"
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


class LineMemory:
    """What beginnings of lines mean; shared by all bodies.  Any thread: each step is one of the dictionary's own."""

    def __init__(self, beginnings_max: int = BEGINNINGS_MAX) -> None:
        self._max = beginnings_max
        self._known: dict[tuple[Labels, Labels, bool], dict[tuple[bytes, int], int]] = {}
        self._count = 0

    def of(self, forced: Labels, added: Labels, openmetrics: bool) -> dict[tuple[bytes, int], int]:
        """Return what is known of lines that get these labels: (beginning, mode) -> ref."""
        return self._known.setdefault((forced, added, openmetrics), {})

    def note(self, more: int) -> None:
        """Note that so many were added to one of them; forget all where they are too many."""
        self._count += more
        if self._count > self._max:
            self._known.clear()
            self._count = 0


@define
class _Column:
    """Sample lines of one stretch: refs, what stands behind the series, and where."""

    refs: list[int] = field(factory=list)
    """Below zero: `~ref` is a place in `unknown`."""
    tails: list[bytes] = field(factory=list)
    places: list[tuple[int, int]] = field(factory=list)
    """Line number and column of the tails."""
    unknown: list[Labels] = field(factory=list)
    """Series that are numbered together at the end: one by one takes several times as long."""
    beginnings: dict[tuple[bytes, int], int] = field(factory=dict)
    """What is to be remembered of them, in the form of `refs`."""


class LineReader:
    """Reads one body, whole or in pieces of whole lines, in order."""

    def __init__(
        self,
        registry: SeriesRegistry,
        memory: LineMemory,
        *,
        openmetrics: bool = False,
        now_ms: int = 0,
        forced: Labels = (),
        added: Labels = (),
        origin: str = "prometheus",
    ) -> None:
        """now_ms: the time of samples without one.  forced, added: labels of all series, which replace those of the same names; the first win."""
        self._registry, self._memory, self._openmetrics = registry, memory, openmetrics
        self._now_ms, self._forced, self._added, self._origin = now_ms, dict(forced), dict(added), origin
        self._dialect = OPENMETRICS if openmetrics else TEXT
        self._known = memory.of(forced, added, openmetrics)
        self._families: dict[str, MetricMetadata] = {}
        self._mode = 0
        self._line = 0
        self._has_ended = False

    def read(self, lines: bytes) -> Pushed:
        """Return the samples of some lines; those that cannot be read are counted and named."""
        faults, column = Faults(), _Column()
        known, found = self._known, column.beginnings
        changed: dict[str, MetricMetadata] = {}
        for line in _lines(lines if self._line else lines.removeprefix(_BYTE_ORDER_MARK)):
            self._line += 1
            cut = 0 if line[:1] == b"#" else line.rfind(b" ") + 1
            if cut and not self._has_ended and len(line) <= LINE_BYTES_MAX:
                key = line[:cut], self._mode_of(line[:cut])
                ref = known.get(key, found.get(key))
                if ref is None:  # with a timestamp the value ends one blank earlier
                    cut = line.rfind(b" ", 0, cut - 1) + 1
                    key = line[:cut], self._mode_of(line[:cut])
                    ref = known.get(key, found.get(key))
                if ref is not None:
                    column.refs.append(ref)
                    column.tails.append(line[cut:])
                    column.places.append((self._line, cut + 1))
                    continue
            try:
                self._other(line, column, changed)
            except Malformed as e:
                faults.add(MALFORMED, f"line {self._line}, column {e.at + 1}: {e.reason}")
        return faults.pushed(self._batch(column, faults, changed))

    def end(self) -> Pushed:
        """Say that there is no more; returns what is missing then."""
        faults = Faults()
        if self._openmetrics and self._line and not self._has_ended:
            faults.add(MALFORMED, f"line {self._line}: the text does not end with # EOF: was it cut short?")
        return faults.pushed(self._batch(_Column(), faults, {}))

    # -- private -----------------------------------------------------------------------------------------------

    def _mode_of(self, beginning: bytes) -> int:
        return self._mode if self._mode and _BOUND[self._mode] in beginning else 0

    def _other(self, line: bytes, column: _Column, changed: dict[str, MetricMetadata]) -> None:
        """Read a line that is not known; raises `Malformed`."""
        if len(line) > LINE_BYTES_MAX:
            raise Malformed(f"line longer than {LINE_BYTES_MAX} bytes", 0)
        bare = line.lstrip(_BLANKS)
        if not bare or (not self._openmetrics and bare == b"\r"):
            return
        if self._has_ended:
            raise Malformed("unexpected data after # EOF", 0)
        if bare[0] == _HASH:
            self._comment(line, changed)
            return
        pairs, end = read_series(line, 0, self._dialect)
        if line[end : end + 1].strip(_BLANKS) and line[end - 1 : end] != b"}":
            got = printable(line[end:].decode("utf-8", "ignore")[:1].encode() or line[end : end + 1])
            raise Malformed(
                f'expected a blank or a brace behind the metric name, got {got}; others are written {{"a.b"}}', end
            )
        while line[end : end + 1] in (b" ", b"\t"):
            end += 1
        beginning = line[:end]
        labels = dict(to_labels(pairs, _TYPE_OF_MODE[self._mode_of(beginning)], 0))
        ref = ~len(column.unknown)
        column.unknown.append(from_mapping({**labels, **self._added, **self._forced}))
        if beginning[-1:] in (b" ", b"\t", b"}"):  # else it would fit a longer name as well
            column.beginnings[beginning, self._mode_of(beginning)] = ref
        column.refs.append(ref)
        column.tails.append(line[end:])
        column.places.append((self._line, end + 1))

    def _comment(self, line: bytes, changed: dict[str, MetricMetadata]) -> None:
        if self._openmetrics and line == b"# EOF":
            self._has_ended = True
            return
        match = _METADATA.match(line)
        if match is None:
            return
        name, text = read_metadata(line, match.end(), self._dialect)
        known = self._families.get(name, MetricMetadata())
        text = (text or b"").rstrip(b"\r")
        if match[1] == b"TYPE":
            type_ = (TYPES if self._openmetrics else TEXT_TYPES).get(text)
            if type_ is None:
                raise Malformed("a type that does not exist", match.end())
            self._mode = _MODES.get(type_, 0)
            known = MetricMetadata(type_, known.help, known.unit)
        elif match[1] == b"HELP":
            known = MetricMetadata(known.type, read_help(text, self._dialect), known.unit)
        elif self._openmetrics:
            known = MetricMetadata(known.type, known.help, text.decode("utf-8", "replace"))
        if name in self._families or len(self._families) < FAMILIES_MAX:
            self._families[name] = changed[name] = known

    def _batch(self, column: _Column, faults: Faults, metadata: dict[str, MetricMetadata]) -> Batch:
        refs = numbers = self._number(column)
        values, times, exemplars, bad = self._tails(column, faults)
        if bad:
            good = np.setdiff1d(np.arange(len(refs)), np.array(bad, np.int64))
            refs, values = refs[good], values[good]
            times = times if times is None else times[good]
        if times is None:
            times = np.full(len(refs), self._now_ms, np.int64)
        else:
            times = np.where(times == NO_TIMESTAMP, self._now_ms, times)
        found = tuple(
            Exemplar(int(numbers[i]), labels, value, self._now_ms if time is None else time, time is not None)
            for i, (labels, value, time) in exemplars
        )
        return Batch(refs, times, values, self._origin, metadata, exemplars=found)

    def _number(self, column: _Column) -> NDArray[np.uint32]:
        """Return the refs of all lines, giving some to new series, and remember what they begin with."""
        refs = np.array(column.refs, np.int64)
        if column.unknown:
            given = self._registry.intern_many(column.unknown)
            fresh = np.flatnonzero(refs < 0)
            refs[fresh] = given[~refs[fresh]]
            before = len(self._known)
            for key, place in column.beginnings.items():
                if (ref := int(given[~place])) < STAND_INS:
                    self._known[key] = ref
            self._memory.note(len(self._known) - before)
        return refs.astype(np.uint32)

    def _tails(
        self, column: _Column, faults: Faults
    ) -> tuple[NDArray[np.float64], NDArray[np.int64] | None, Sequence[tuple[int, ExemplarText]], list[int]]:
        """Return values, times, exemplars, and the places of tails that cannot be read."""
        try:
            read = read_tails(column.tails, self._openmetrics)
        except MalformedTail:
            return self._each_tail(column, faults)
        times = read.timestamps_ms
        if times is not None and not self._openmetrics:
            times = to_milliseconds(times)
        return read.values, times, read.exemplars, []

    def _each_tail(
        self, column: _Column, faults: Faults
    ) -> tuple[NDArray[np.float64], NDArray[np.int64], Sequence[tuple[int, ExemplarText]], list[int]]:
        count = len(column.tails)
        values, times = np.zeros(count), np.full(count, NO_TIMESTAMP, np.int64)
        exemplars: list[tuple[int, ExemplarText]] = []
        bad: list[int] = []
        for i, tail in enumerate(column.tails):
            try:
                value, time, exemplar = (
                    read_openmetrics_tail(tail) if self._openmetrics else read_pushed_tail(tail.rstrip(b"\r"))
                )
            except Malformed as e:
                line, at = column.places[i]
                faults.add(MALFORMED, f"line {line}, column {at + e.at}: {e.reason}")
                bad.append(i)
                continue
            values[i] = value
            if time is not None:
                times[i] = time
            if exemplar is not None:
                exemplars.append((i, exemplar))
        return values, times, exemplars, bad


def _lines(data: bytes) -> Sequence[bytes]:
    lines = data.split(b"\n")
    if not lines[-1]:
        lines.pop()
    return lines


def pieces(body: bytes, piece_bytes: int = PIECE_BYTES) -> Iterator[bytes]:
    """Yield a body in pieces of whole lines of about that size."""
    at = 0
    while at < len(body):
        end = body.find(b"\n", min(at + piece_bytes, len(body)))
        end = len(body) if end < 0 else end + 1
        yield body[at:end]
        at = end
