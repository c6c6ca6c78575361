"""Reads what is left of a damaged segment: every page and label set that is sound, and what the others cost.

Works through `SegmentReader`, which never passes damage on as data.  The sound pages of a group of series come in
*passes*: pass 0 has the samples before the group's first damaged page, pass 1 those up to the next, and so on, so that
each pass is a segment of its own and no samples have to be joined.

Not here: writing these segments (`repair.py`).  Format page: docs/format/segment.md.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from attrs import define, field, frozen

from ..errors import CorruptionError
from ..model.columns import SeriesColumns
from ..model.labels import Labels
from ..model.labels import to_text as labels_text
from ..model.matchers import equal
from .segment_reader import SegmentReader
from .time_text import range_text

NAMED_MAX = 3
"""Series that a message names."""


@frozen
class LostPage:
    """A damaged page: where, and what was in it.  Series are numbers within the segment."""

    offset: int
    reason: str
    first: int
    count: int
    mint_ms: int
    maxt_ms: int
    samples: int


@define(eq=False)
class Salvage:
    """What can be read.  index_damage: the first damage to labels and postings, None without any."""

    reader: SegmentReader
    lost_pages: list[LostPage] = field(factory=list)
    index_damage: CorruptionError | None = None
    nameless: set[int] = field(factory=set)
    """Numbers of series whose labels cannot be read, and so neither can their samples."""
    nameless_samples: int = 0
    passes: int = 1
    groups: list[list[int]] = field(init=False)
    """Pages of series that lie together, by first series; in each by time."""
    labels: dict[int, Labels] = field(init=False, factory=dict)
    """Number of a series -> its label set."""
    _lost_offsets: set[int] = field(init=False, factory=set)

    def __attrs_post_init__(self) -> None:
        """Look at everything; raises `CorruptionError` when the tables are damaged: then nothing can be read."""
        self.groups = _groups(self.reader)
        self._find_labels()
        table = self.reader.pages
        for group in self.groups:
            runs = 1
            for i in group:
                lost = self._lost_page(i)
                if lost is not None:
                    self.lost_pages.append(lost)
                    self._lost_offsets.add(lost.offset)
                    runs += 1
            self.passes = max(self.passes, runs)
        for i in range(len(table)):
            first, count, samples = int(table.firsts[i]), int(table.counts[i]), int(table.samples[i])
            missing = sum(n in self.nameless for n in range(first, first + count)) if self.nameless else 0
            self.nameless_samples += (
                samples * missing // count if int(table.offsets[i]) not in self._lost_offsets else 0
            )

    @property
    def is_sound(self) -> bool:
        """Whether nothing is damaged."""
        return not (self.lost_pages or self.nameless or self.index_damage)

    def lost_text(self) -> str:
        """Return in words what cannot be read, "" when every sample can."""
        parts = []
        if self.lost_pages:
            series = {n for p in self.lost_pages for n in range(p.first, p.first + p.count)}
            span = range_text(min(p.mint_ms for p in self.lost_pages), max(p.maxt_ms for p in self.lost_pages))
            samples = sum(p.samples for p in self.lost_pages)
            parts.append(f"{samples} samples of {len(series)} series {span}{self._names(sorted(series))}")
        if self.nameless:
            parts.append(
                f"the labels of {len(self.nameless)} series and with them about {self.nameless_samples} samples"
            )
        return " and ".join(parts)

    def read(self, number: int) -> Iterator[SeriesColumns]:
        """Yield what pass `number` has, in label order."""
        table, info = self.reader.pages, self.reader.info
        done = 0
        for group in self.groups:
            first, count = int(table.firsts[group[0]]), int(table.counts[group[0]])
            if number == 0:  # series without a sample belong to the first pass
                yield from self._columns(done, first - done, info.mint_ms, info.maxt_ms)
            done = first + count
            runs: list[list[int]] = [[]]
            for i in group:
                if int(table.offsets[i]) in self._lost_offsets:
                    runs.append([])
                else:
                    runs[-1].append(i)
            if number < len(runs) and runs[number]:
                run = runs[number]
                yield from self._columns(first, count, int(table.mint_ms[run[0]]), int(table.maxt_ms[run[-1]]))
        if number == 0:
            yield from self._columns(done, info.series_count - done, info.mint_ms, info.maxt_ms)

    # -- private -----------------------------------------------------------------------------------------------

    def _find_labels(self) -> None:
        try:
            self.reader.verify_index()
        except CorruptionError as e:
            self.index_damage = e
        todo = [(0, self.reader.info.series_count)]
        while todo:
            first, count = todo.pop()
            if not count:
                continue
            try:
                found = self.reader.labels(np.arange(first, first + count, dtype=np.uint32))
            except CorruptionError:
                if count == 1:
                    self.nameless.add(first)
                else:
                    todo += [(first, count // 2), (first + count // 2, count - count // 2)]
                continue
            self.labels.update(zip(range(first, first + count), found, strict=True))
        if self.nameless:
            self._from_postings()

    def _from_postings(self) -> None:
        """Put label sets together again from the other side of the index, if all of that is sound."""
        pairs: dict[int, list[tuple[str, str]]] = {n: [] for n in self.nameless}
        wanted = np.array(sorted(self.nameless), np.uint32)
        try:
            for name in self.reader.label_names():
                for value in self.reader.label_values(name):
                    for n in np.intersect1d(self.reader.select([equal(name, value)]), wanted).tolist():
                        pairs[n].append((name, value))
        except CorruptionError:
            return
        self.labels.update({n: tuple(found) for n, found in pairs.items()})
        self.nameless.clear()

    def _lost_page(self, i: int) -> LostPage | None:
        table = self.reader.pages
        first, count = int(table.firsts[i]), int(table.counts[i])
        mint, maxt = int(table.mint_ms[i]), int(table.maxt_ms[i])
        numbers = np.arange(first, first + count, dtype=np.uint32)
        try:
            self.reader.read(numbers, mint, maxt, [()] * count)
        except CorruptionError as e:
            return LostPage(e.offset, e.reason, first, count, mint, maxt, int(table.samples[i]))
        return None

    def _columns(self, first: int, count: int, mint_ms: int, maxt_ms: int) -> Iterator[SeriesColumns]:
        numbers = [n for n in range(first, first + count) if n in self.labels]
        if numbers:
            wanted = np.array(numbers, np.uint32)
            yield self.reader.read(wanted, mint_ms, maxt_ms, [self.labels[n] for n in numbers])

    def _names(self, series: list[int]) -> str:
        named = [labels_text(self.labels[n]) for n in series if n in self.labels][:NAMED_MAX]
        more = ", ..." if len(series) > NAMED_MAX else ""
        return f" ({', '.join(named)}{more})" if named else ""


def _groups(reader: SegmentReader) -> list[list[int]]:
    """Return the pages of each group of series, by first series, then time."""
    table = reader.pages
    groups: dict[int, list[int]] = {}
    for i in np.lexsort((table.mint_ms, table.firsts)).tolist():
        groups.setdefault(int(table.firsts[i]), []).append(i)
    return list(groups.values())
