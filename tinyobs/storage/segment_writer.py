"""Writes a segment: samples stream to the file page by page, the index follows at the end.

Held in memory are the samples of about one page and the index data, never the samples of the segment.  The file is
complete and durable after `finish`; giving it its place (folder sync, manifest) is the engine's matter.
"""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..codec.compression import FAST
from ..codec.pages import encode_page
from ..model.columns import SeriesColumns
from ..model.labels import Labels
from ..model.ragged import offsets_of, spread
from .disk import Disk
from .index import CHUNK_POSTINGS, count_ids, invert
from .index_blocks import cut_postings, encode_postings, encode_series, encode_strings
from .runs import Runs, concatenate_runs, runs_of
from .segment_format import (
    HEADER,
    PAGE_COST_MAX,
    PAGE_SAMPLES,
    PAGE_SERIES_MAX,
    ROW_SAMPLES,
    SERIES_PER_BLOCK,
    VALUES_PER_BLOCK,
    Section,
    SegmentInfo,
    encode_footer,
    encode_names,
    encode_table,
)

I64 = NDArray[np.int64]
U32 = NDArray[np.uint32]

INDEX_LEVEL: Final = 9
"""Least zstd level of the index: small, written once, read often."""
POSTINGS_AT_ONCE: Final = 1 << 21
"""Postings made in one pass over the series: 8 MB."""
PASSES_MAX: Final = 8
"""Passes over the series, about: where these are very many, more postings are made in each."""
HELD_BYTES_MAX: Final = 64 << 20
"""Bytes of samples held that are written even where their pages are not full: a few very long series."""


class SegmentWriter:
    """Series go in by ascending label set.  `OSError`s of the disk pass through; then call `abort`."""

    def __init__(self, disk: Disk, name: str, *, level: int, zstd_level: int = FAST) -> None:
        self._disk = disk
        self._name = name
        self._level = level
        self._zstd_level = zstd_level
        self._index_level = max(zstd_level, INDEX_LEVEL)
        self._file = disk.create(name)
        self._size = 0
        try:
            self._append(HEADER)
        except OSError:
            self.abort()
            raise
        self._pending: list[Runs] = []
        self._pending_series = self._pending_cost = 0
        self._pages = [array("q") for _ in range(7)]
        self._last: Labels | None = None
        self._pair_id: dict[tuple[str, str], int] = {}
        self._starts = array("Q", [0])
        self._ids = array("I")
        self._written = self._samples = 0
        self.info: SegmentInfo | None = None
        """What was written, once the file is complete."""

    def add(self, columns: SeriesColumns) -> None:
        """Append series in ascending label order, all behind those added before; series without samples as well."""
        for labels in columns.labels:
            assert self._last is None or self._last < labels, "series must ascend"
            self._last = labels
            self._ids.extend(self._pair_ids(labels))
            self._starts.append(len(self._ids))
        part = runs_of(columns).rows(0, len(columns))
        self._pending.append(part)
        self._pending_series += len(columns)
        self._pending_cost += int(_row_costs(part).sum())
        is_much = sum([p.nbytes for p in self._pending]) >= HELD_BYTES_MAX
        if self._pending_cost >= PAGE_SAMPLES or self._pending_series >= PAGE_SERIES_MAX or is_much:
            self._flush(all_=is_much)

    @property
    def sample_count(self) -> int:
        """Samples added so far."""
        return self._samples + self._held()

    def finish(self) -> SegmentInfo:
        """Write what is missing, make the file durable and close it."""
        for _ in self.finish_in_steps():
            pass
        assert self.info is not None
        return self.info

    def finish_in_steps(self) -> Iterator[None]:
        """Do what `finish` does, piece by piece: a few hundredths of a second each, but for the sync at the end.

        Afterwards `info` is set.
        """
        self._flush(all_=True)
        yield
        pairs = sorted(self._pair_id)
        ranks = np.empty(len(pairs), np.uint32)
        ranks[[self._pair_id[p] for p in pairs]] = np.arange(len(pairs), dtype=np.uint32)
        self._pair_id = {}
        series = np.frombuffer(self._ids, np.uint32) if self._ids else np.empty(0, np.uint32)
        for at in range(0, len(series), CHUNK_POSTINGS):
            part = series[at : at + CHUNK_POSTINGS]
            part[:] = ranks[part]  # ids become ranks in place: there may be a hundred million
        starts = np.frombuffer(self._starts, np.uint64).view(np.int64)
        yield
        tables: list[list[list[int]]] = [[[] for _ in range(5)] for _ in range(3)]
        yield from self._write_values(tables[0], [v for _, v in pairs])
        yield from self._write_postings(tables[1], starts, series, len(pairs))
        yield from self._write_series(tables[2], starts, series)
        names = [(name, len(list(values))) for name, values in groupby(pairs, itemgetter(0))]
        self._close(names, tables, len(starts) - 1)

    def _close(self, names: list[tuple[str, int]], tables: list[list[list[int]]], series_count: int) -> None:
        sections = {
            "names": self._section(encode_names(names, self._index_level)),
            "tables": self._section(b"".join([encode_table(t, self._index_level) for t in tables])),
            "pages": self._section(encode_table(self._pages, self._index_level)),
        }
        mint, maxt = min(self._pages[2], default=0), max(self._pages[3], default=0)
        info = SegmentInfo(self._name, self._level, mint, maxt, series_count, self._samples, 0)
        self._append(encode_footer(sections, info))
        self._file.sync()
        self._file.close()
        self.info = SegmentInfo(self._name, self._level, mint, maxt, series_count, self._samples, self._size)

    def abort(self) -> None:
        """Close and remove the file."""
        self._file.close()
        self._disk.remove(self._name)

    def _held(self) -> int:
        return sum([len(p.times_ms) for p in self._pending])

    # -- pages -------------------------------------------------------------------------------------------------

    def _flush(self, *, all_: bool) -> None:
        """Write the pending series that make full pages; all of them when `all_`."""
        if not self._pending:
            return
        runs = concatenate_runs(self._pending)
        total, offsets, costs = offsets_of(_row_costs(runs)), runs.offsets, runs.sample_costs()
        at, series = 0, len(offsets) - 1
        while at < series:
            end = int(np.searchsorted(total, total[at] + PAGE_SAMPLES))
            end = min(end, at + PAGE_SERIES_MAX)
            if end > series or (end == series and total[end] - total[at] < PAGE_SAMPLES and end - at < PAGE_SERIES_MAX):
                if not all_:
                    break
                end = series
            for lows, highs in cut_in_time(runs.times_ms, offsets[at:end], offsets[at + 1 : end + 1], costs):
                self._write_page(self._written + at, lows, highs, runs)
            at = end
        rest = runs.rows(at, series)
        self._pending = [rest.take(rest.offsets, np.arange(len(rest.times_ms))).compact()]  # not a view of all
        self._pending_series = series - at
        self._pending_cost = int(total[-1] - total[at])
        self._written += at

    def _write_page(self, first: int, lows: I64, highs: I64, runs: Runs) -> None:
        offsets = offsets_of(highs - lows)
        if not offsets[-1]:
            return
        adjacent = bool((lows[1:] == highs[:-1]).all())
        page = runs.take(offsets, slice(int(lows[0]), int(highs[-1])) if adjacent else spread(lows, highs - lows))
        times, values = page.times_ms, page.values
        data = encode_page(
            offsets, times, values, self._zstd_level, histograms=page.histograms, starts_ms=page.starts_ms
        )
        row = (first, len(lows), int(times.min()), int(times.max()), self._append(data), len(data), len(times))
        for column, n in zip(self._pages, row, strict=True):
            column.append(n)
        self._samples += len(times)

    # -- index -------------------------------------------------------------------------------------------------

    def _pair_ids(self, labels: Labels) -> list[int]:
        known = self._pair_id
        try:
            return [known[p] for p in labels]
        except KeyError:
            return [known.setdefault(p, len(known)) for p in labels]

    def _write_values(self, table: list[list[int]], values: list[str]) -> Iterator[None]:
        for at in range(0, len(values), VALUES_PER_BLOCK):
            data, size = encode_strings(values[at : at + VALUES_PER_BLOCK], self._index_level)
            self._block(table, at, data, size)
            yield

    def _write_postings(self, table: list[list[int]], starts: I64, series: U32, pair_count: int) -> Iterator[None]:
        """Write the posting lists, made for some ranks at a time, as all of them would take as much memory as `series`."""
        offsets = offsets_of(count_ids(series, pair_count))
        yield
        at_once = max(POSTINGS_AT_ONCE, len(series) // PASSES_MAX)
        blocks = list(cut_postings(offsets))
        while blocks:
            first = blocks[0][0]
            count = sum([int(offsets[b] - offsets[first]) <= at_once for _, b in blocks]) or 1
            mine, blocks = blocks[:count], blocks[count:]
            flat = invert(starts, series, offsets[first : mine[-1][1] + 1], first=first)
            yield
            for a, b in mine:
                part = flat[int(offsets[a] - offsets[first]) : int(offsets[b] - offsets[first])]
                self._block(table, a, encode_postings(offsets[a : b + 1] - offsets[a], part, self._index_level), 0)
                yield

    def _write_series(self, table: list[list[int]], starts: I64, series: U32) -> Iterator[None]:
        for at in range(0, len(starts) - 1, SERIES_PER_BLOCK):
            offsets = starts[at : at + SERIES_PER_BLOCK + 1]
            mine = series[int(offsets[0]) : int(offsets[-1])]
            self._block(table, at, encode_series(offsets - offsets[0], mine, self._index_level), 0)
            yield

    def _block(self, table: list[list[int]], first: int, data: bytes, size: int) -> None:
        for column, n in zip(table, (first, self._append(data), len(data), size, zlib.crc32(data)), strict=True):
            column.append(n)

    def _section(self, data: bytes) -> Section:
        return Section(self._append(data), len(data), zlib.crc32(data))

    def _append(self, data: bytes) -> int:
        at = self._size
        self._file.append(data)
        self._size += len(data)
        return at


def _row_costs(runs: Runs) -> I64:
    """Return what each row adds to a page, counted in samples: the cost of a piece where it will be cut."""
    counts = np.diff(runs.offsets)
    pieces = np.minimum(counts, ROW_SAMPLES)
    if runs.histograms is None:
        return pieces
    costs: I64 = np.diff(runs.costs()) * pieces // np.maximum(counts, 1)
    return costs


def cut_in_time(times: I64, lows: I64, highs: I64, costs: I64 | None = None) -> Iterator[tuple[I64, I64]]:
    """Yield the rows `times[lows[i]:highs[i]]` cut at common times where the longest is much longer than a row should be.

    costs: running sum over samples of what they cost; rows that cost too much together are cut as well.
    """
    todo = [(lows, highs)]
    while todo:
        lows, highs = todo.pop()
        counts = highs - lows
        longest = int(np.argmax(counts))
        n = int(counts[longest])
        pieces = (n + ROW_SAMPLES // 2) // ROW_SAMPLES
        if costs is not None:
            pieces = max(pieces, min(n, int((costs[highs] - costs[lows]).sum()) // PAGE_COST_MAX + 1))
        if pieces < 2:
            yield lows, highs
            continue
        at = times[int(lows[longest]) + n * (pieces // 2) // pieces]
        middles = np.array(
            [a + np.searchsorted(times[a:b], at) for a, b in zip(lows.tolist(), highs.tolist(), strict=True)]
        )
        todo += [(middles, highs), (lows, middles)]
