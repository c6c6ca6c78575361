"""OpenMetrics text with a timestamp on every sample -> samples, as `promtool tsdb create-blocks-from openmetrics` reads.

Lines are read in bulk: what stands before the last two blanks names the series and is looked up as it is; only a line
whose beginning is new, or odd, is looked at (`exposition/lexing.py`).  Unlike a scrape, times are rounded to the nearest
millisecond, so that what was written is what is read.  Exemplars and the texts of HELP and UNIT are not kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import BinaryIO, Final

import numpy as np
from attrs import define, field, frozen
from numpy.typing import NDArray

from ..exposition.lexing import (
    OPENMETRICS,
    TYPES,
    Malformed,
    read_metadata,
    read_openmetrics_tail,
    read_series,
    to_labels,
)
from ..model.batch import Batch
from ..model.metadata import MetricType
from ..model.registry import SeriesRegistry
from .chunks import START, Chunk, Position, Refusals, floats_batch
from .numbers import read_seconds, read_values
from .streams import LineBlocks, skip_to

LINE_BYTES_MAX: Final = 1 << 20
"""Longest line."""
KNOWN_MAX: Final = 4_000_000
"""Beginnings of lines that are remembered, for each kind of family; beyond it all are forgotten."""

_MODES: Final = (MetricType.UNKNOWN, MetricType.HISTOGRAM, MetricType.SUMMARY)
"""Families whose bound label is brought to one spelling; the first stands for all others."""
_EOF: Final = b"# EOF"
_ENDED: Final = "ended"

Refs = NDArray[np.uint32]
Times = NDArray[np.int64]
Values = NDArray[np.float64]


@frozen
class OpenMetricsReader:
    """Reads OpenMetrics text."""

    def read(
        self, stream: BinaryIO, registry: SeriesRegistry, refusals: Refusals, start: Position = START
    ) -> Iterator[Chunk]:
        """Yield the samples of the lines."""
        skip_to(stream, start.offset)
        work = _Work(registry, refusals, start.state or "0")
        end = start
        for block in LineBlocks(stream, refusals, LINE_BYTES_MAX, start):
            batch = work.lines(block.data.split(b"\n"), block.start.line + 1)
            end = block.end(work.state)
            yield Chunk(batch, end)
        if work.state != _ENDED:
            refusals.refuse(end.line, 0, "the text does not end with # EOF: was it cut short?")


@define
class _Work:
    """What lines mean depends on those before: the type of the family, and whether the text has ended."""

    registry: SeriesRegistry
    refusals: Refusals
    state: str
    """The index of the family's kind in `_MODES`, or `_ENDED`."""
    known: tuple[dict[bytes, int], ...] = field(factory=lambda: tuple({} for _ in _MODES))
    refs: list[Refs] = field(factory=list)
    times: list[Times] = field(factory=list)
    values: list[Values] = field(factory=list)

    def lines(self, lines: Sequence[bytes], number: int) -> Batch:
        """Return the samples of lines; `number` is that of the first."""
        self.refs, self.times, self.values = [], [], []
        at = 0
        for i, line in enumerate(lines):
            if line[:1] == b"#":
                self._samples(lines[at:i], number + at)
                self._other(line, number + i)
                at = i + 1
        self._samples(lines[at:], number + at)
        empty = floats_batch(np.empty(0, np.uint32), np.empty(0, np.int64), np.empty(0))
        if not self.refs:
            return empty
        return floats_batch(np.concatenate(self.refs), np.concatenate(self.times), np.concatenate(self.values))

    def _other(self, line: bytes, number: int) -> None:
        if self.state == _ENDED:
            self.refusals.refuse(number, 1, "unexpected data after # EOF")
        elif line == _EOF:
            self.state = _ENDED
        elif line.startswith(b"# TYPE "):
            try:
                _, text = read_metadata(line, 7, OPENMETRICS)
                kind = TYPES[text or b""]
            except Malformed as e:
                self.refusals.refuse(number, e.at + 1, e.reason)
            except KeyError:
                self.refusals.refuse(number, 8, "a type that does not exist")
            else:
                self.state = str(_MODES.index(kind)) if kind in _MODES else "0"

    def _samples(self, lines: Sequence[bytes], number: int) -> None:
        """Read the samples between two lines that are none."""
        if not any(lines):
            return
        if self.state == _ENDED:
            self.refusals.refuse(number, 1, "unexpected data after # EOF")
            return
        known = self.known[int(self.state)]
        if len(known) > KNOWN_MAX:
            known.clear()
        parts = [line.rsplit(b" ", 2) for line in lines]
        slow = [i for i, p in enumerate(parts) if len(p) != 3]
        at = range(len(lines))
        if slow:
            odd = set(slow)
            at = [i for i in at if i not in odd]  # type: ignore[assignment]
            parts = [parts[i] for i in at]
        prefixes = [p[0] for p in parts]
        refs = list(map(known.get, prefixes))
        if None in refs:
            unusual = {}
            for j, prefix in enumerate(prefixes):
                if refs[j] is None and prefix not in known and prefix not in unusual:
                    unusual.update(self._learn(lines[at[j]], prefix, known))
            refs = list(map(known.get, prefixes, repeat(-1)))
            slow += [at[j] for j, ref in enumerate(refs) if ref == -1]
        self._quick(np.array(refs, np.int64), parts, at, number)
        for i in sorted(slow):
            if lines[i]:
                self._slow(lines[i], number + i)

    def _quick(self, refs: Times, parts: Sequence[Sequence[bytes]], at: Sequence[int], number: int) -> None:
        """Take lines of the usual form whose series are known; those with ref -1 are left out."""
        if (refs < 0).any():
            kept = np.flatnonzero(refs >= 0)
            refs = refs[kept]
            chosen = kept.tolist()
            parts, at = [parts[i] for i in chosen], [at[i] for i in chosen]
        if not len(refs):
            return
        values, faults = read_values([p[1] for p in parts])
        times, time_faults = read_seconds([p[2] for p in parts])
        faults = {**time_faults, **faults}
        for i in sorted(faults):
            self.refusals.refuse(number + at[i], len(parts[i][0]) + 2, faults[i])
        good: slice | Times = slice(None)
        if faults:
            good = np.setdiff1d(np.arange(len(refs)), np.array(list(faults), np.int64))
        self.refs.append(refs[good].astype(np.uint32))
        self.times.append(times[good])
        self.values.append(values[good])

    def _learn(self, line: bytes, prefix: bytes, known: dict[bytes, int]) -> dict[bytes, bool]:
        """Remember the series that a line begins with; return the beginning where it is not of the usual form."""
        try:
            pairs, end = read_series(line, 0, OPENMETRICS)
            if end == len(prefix):
                known[prefix] = self.registry.intern(to_labels(pairs, _MODES[int(self.state)], 0))
                return {}
        except Malformed:
            pass  # read once more by itself, which tells what is wrong
        return {prefix: True}

    def _slow(self, line: bytes, number: int) -> None:
        """Read one odd line: it has an exemplar, or a fault."""
        at = 0
        try:
            pairs, at = read_series(line, 0, OPENMETRICS)
            labels = to_labels(pairs, _MODES[int(self.state)], 0)
            if line[at : at + 1] != b" ":
                raise Malformed("expected a blank before the value", 0)
            value, time, _ = read_openmetrics_tail(line[at + 1 :])
            if time is None:
                raise Malformed("a sample needs a timestamp to be imported", 0)
        except Malformed as e:
            self.refusals.refuse(number, at + e.at + 1 + bool(at), e.reason)
            return
        times, _ = read_seconds([line[at + 1 :].split(b" ")[1]])
        self.refs.append(np.array([self.registry.intern(labels)], np.uint32))
        self.times.append(times)
        self.values.append(np.array([value]))
