"""Strips: decoded pages whose rows share columns of timestamps, and how strips of many places become one block.

This is how queries over many series read.  A page is decoded once, as a whole, and stays decoded while the cache has
room; the series of a block then take their rows of each strip.  Timestamps are never spread: what they decide is
decided once for each column of them (`model.columns.SharedTimes`).  It works where the samples of each series ascend
from strip to strip, which is nearly always; where they do not, `combined` says so and `assemble.py` sorts.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from attrs import define, field, frozen
from numpy.typing import NDArray

from ..codec.pages import Page
from ..codec.timestamps import share
from ..model.columns import SeriesColumns, SharedTimes
from ..model.labels import Labels
from ..model.ragged import offsets_of, run_of, spread
from .runs import Runs

I64 = NDArray[np.int64]
F64 = NDArray[np.float64]

PART_READ_MAX: Final = 3
"""A page of which less than one in so many rows is wanted is not decoded as a whole."""
RECTANGLES_MAX: Final = 8
"""Kinds of rows, by length and place, up to which each kind is copied at once."""
_BEFORE_ALL: Final = np.iinfo(np.int64).min
_SINGLE: Final = np.zeros(1, np.int64)


@frozen(eq=False)
class Strip:
    """Samples of several rows, decoded: row `i` has `values[offsets[i]:offsets[i+1]]` at the times of its column."""

    shared: SharedTimes
    offsets: I64
    values: F64

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return int(self.values.nbytes + self.offsets.nbytes + self.shared.nbytes)

    @property
    def length(self) -> int:
        """The number of samples of every row, 0 where they differ."""
        rows = len(self.offsets) - 1
        n = len(self.values) // rows if rows else 0
        return n if len(self.shared) == 1 or bool((np.diff(self.offsets) == n).all()) else 0


Piece = tuple[I64, I64 | None, Strip]
"""(places int64[R], ascending rows of the strip or None for all of its R rows, strip): row for place."""


def strip_of_page(page: Page, rows: I64 | None = None) -> Strip | None:
    """Return some rows of a page, all by default; None where it holds more than floats, or rows out of order."""
    found = page.read_shared(rows)
    return None if found is None or not _ascends(found[0]) else Strip(*found)


def strip_of_runs(runs: Runs) -> Strip | None:
    """Return the same samples as a strip; None where they are more than floats, or rows out of order."""
    if runs.histograms is not None or runs.starts_ms is not None:
        return None
    if runs.shared is not None:
        return Strip(runs.shared, runs.offsets, runs.values)  # shared only where they ascend
    shared = SharedTimes(*share(runs.times_ms, runs.offsets))
    return Strip(shared, runs.offsets, runs.values) if _ascends(shared) else None


def _ascends(shared: SharedTimes) -> bool:
    """Tell whether the timestamps of each column ascend: in the head they may come in any order."""
    later = shared.times_ms[1:] > shared.times_ms[:-1]
    if len(shared) > 1:
        starts = shared.offsets[1:-1]
        later[starts[(starts > 0) & (starts <= len(later))] - 1] = True
    return bool(later.all())


@define(eq=False)
class _Placed:
    """A piece and where its samples go: `counts` samples from `low` on, to `at` within the row of each place."""

    places: I64
    rows: I64 | None
    strip: Strip
    low: I64
    counts: I64
    at: I64


@define(eq=False)
class _Layout:
    """Where the samples of each of `series` places go, and which columns of timestamps there are in the end.

    of_place: for each place the number of a column; columns: the columns of strips that each is made of.
    """

    series: int
    filled: I64 = field(init=False)
    last_ms: I64 = field(init=False)
    of_place: I64 = field(init=False)
    columns: list[list[I64]] = field(factory=lambda: [[]])
    placed: list[_Placed] = field(factory=list)
    _layer: list[I64] = field(factory=list)
    _layer_times: I64 | None = None

    def __attrs_post_init__(self) -> None:
        self.filled = np.zeros(self.series, np.int64)
        self.last_ms = np.full(self.series, _BEFORE_ALL)
        self.of_place = np.zeros(self.series, np.int64)

    def add(self, piece: Piece, mint_ms: int, maxt_ms: int) -> bool:
        """Add the samples of a piece within a range; tell whether they come after all that there are."""
        places, rows, strip = piece
        columns = _clipped(strip.shared, mint_ms, maxt_ms)
        lows, lengths, firsts, lasts, times = columns
        if not lengths.any():
            return True
        one = len(lengths) == 1
        of = _SINGLE if one else strip.shared.of_row if rows is None else strip.shared.of_row[rows]
        if not one and not lengths.all():
            some = lengths[of] > 0
            rows = np.arange(len(strip.offsets) - 1) if rows is None else rows
            places, rows, of = places[some], rows[some], of[some]
            if not len(places):  # those in the range are of rows that nobody asked for
                return True
        where = run_of(places)
        if not bool((firsts[of] > self.last_ms[where]).all()):
            return False
        self.last_ms[where] = lasts[of]
        counts = lengths[of]
        at = self.filled[where].copy()
        self.placed.append(_Placed(places, rows, strip, lows[of], counts, at))
        self.filled[where] = at + counts
        if one:
            self._add_to_layer(places, times[0])
        else:
            self._end_layer()
            self._split(places, of, times)
        return True

    def columns_of_places(self) -> SharedTimes:
        """Return the timestamps of all places."""
        self._end_layer()
        used = [np.concatenate(c) if len(c) > 1 else c[0] if c else np.empty(0, np.int64) for c in self.columns]
        # Pages may end at different samples for different series whose timestamps are the same in the end.
        number: dict[bytes, int] = {}
        same = np.array([number.setdefault(c.tobytes(), len(number)) for c in used], np.int64)
        if len(number) < len(used):
            used = [used[i] for i in np.unique(same, return_index=True)[1].tolist()]
            self.of_place = same[self.of_place]
        lengths = np.fromiter(map(len, used), np.int64, len(used))
        return SharedTimes(self.of_place, np.concatenate(used), offsets_of(lengths))

    def _add_to_layer(self, places: I64, times: I64) -> None:
        """Pages beside each other, of one column of timestamps, are one layer: most cover all places together."""
        if self._layer_times is None or not np.array_equal(self._layer_times, times):
            self._end_layer()
            self._layer_times = times
        self._layer.append(places)

    def _end_layer(self) -> None:
        if self._layer_times is None:
            return
        times, layer = self._layer_times, self._layer
        self._layer_times, self._layer = None, []
        if sum(map(len, layer)) == self.series:
            for column in self.columns:
                column.append(times)
            return
        places = np.concatenate(layer)
        self._split(places, np.zeros(len(places), np.int64), [times])

    def _split(self, places: I64, of: I64, times: Sequence[I64]) -> None:
        """Append column `of[i]` of `times` to the column of place `places[i]`, which may no longer be its neighbours'."""
        count = len(times) + 1
        keys = self.of_place * count
        keys[places] += of + 1
        distinct, self.of_place = _renumbered(keys, len(self.columns) * count)
        old = self.columns
        self.columns = [
            [*old[key // count], times[key % count - 1]] if key % count else list(old[key // count])
            for key in distinct.tolist()
        ]


def _renumbered(keys: I64, below: int) -> tuple[I64, I64]:
    """Return (the distinct keys, ascending, and for each key its place among them); all are less than `below`."""
    if below > 4 * len(keys):
        distinct, places = np.unique(keys, return_inverse=True)
        return distinct, places
    used = np.zeros(below, np.bool_)
    used[keys] = True
    number = np.cumsum(used) - 1
    return np.flatnonzero(used), number[keys]


def combined(pieces: Iterable[Piece], labels: Sequence[Labels], mint_ms: int, maxt_ms: int) -> SeriesColumns | None:
    """Return the samples of pieces within a range, as those of series with these label sets; pieces in order of age.

    None where the samples of a series do not ascend from piece to piece.
    """
    layout = _Layout(len(labels))
    for piece in pieces:
        if not layout.add(piece, mint_ms, maxt_ms):
            return None
    shared, offsets = layout.columns_of_places(), offsets_of(layout.filled)
    values = np.empty(int(offsets[-1]))
    n = int(layout.filled[0]) if len(labels) else 0
    even = bool((layout.filled == n).all())
    for p in layout.placed:
        _put(p, values.reshape(-1, n) if even and n else None, values, offsets)
    return SeriesColumns(labels, offsets, shared, values)


def _put(p: _Placed, matrix: F64 | None, values: F64, offsets: I64) -> None:
    """Copy the samples of a placed piece: as rectangles of alike rows, which is several times as quick."""
    n, length = int(p.counts[0]), p.strip.length
    if matrix is not None and length and _same(p.counts) and _same(p.at) and _same(p.low):
        at, low = int(p.at[0]), int(p.low[0])
        source = p.strip.values.reshape(-1, length)
        rows = slice(None) if p.rows is None else run_of(p.rows)
        if isinstance(rows, slice):
            matrix[run_of(p.places), at : at + n] = source[rows, low : low + n]
        elif n == length:
            matrix[run_of(p.places), at : at + n] = source.take(rows, axis=0)
        else:
            matrix[run_of(p.places), at : at + n] = source[:, low : low + n][rows]
        return
    counts = np.broadcast_to(p.counts, len(p.places))
    starts = (p.strip.offsets[:-1] if p.rows is None else p.strip.offsets[p.rows]) + p.low
    if matrix is not None:
        kinds, of_kind = np.unique(p.at * (1 << 32) + counts, return_inverse=True)
        if len(kinds) <= RECTANGLES_MAX:
            for i, kind in enumerate(kinds.tolist()):
                mine = np.flatnonzero(of_kind == i)
                at, n = kind >> 32, kind & 0xFFFFFFFF
                matrix[run_of(p.places[mine]), at : at + n] = _windows(p.strip.values, n)[starts[mine]]
            return
    values[spread(offsets[p.places] + p.at, counts)] = p.strip.values[spread(starts, counts)]


def _windows(values: F64, n: int) -> F64:
    """Return a view of all stretches of `n` values: row `i` begins at value `i`."""
    step = values.itemsize
    windows: F64 = np.lib.stride_tricks.as_strided(values, (len(values) - n + 1, n), (step, step), writeable=False)
    return windows


def _same(numbers: I64) -> bool:
    return len(numbers) == 1 or bool((numbers == numbers[0]).all())


def _clipped(shared: SharedTimes, mint_ms: int, maxt_ms: int) -> tuple[I64, I64, I64, I64, list[I64]]:
    """Return for each column (samples before the range, samples in it, first time, last time, times) of those in it."""
    lows, times = [], []
    offsets = shared.offsets.tolist()
    for a, b in itertools.pairwise(offsets):
        column = shared.times_ms[a:b]
        low, high = 0, b - a
        if high and (column[0] < mint_ms or column[-1] > maxt_ms):
            low = int(column.searchsorted(mint_ms))
            high = max(low, int(column.searchsorted(maxt_ms, "right")))
            column = column[low:high]
        lows.append(low)
        times.append(column)
    lengths = np.fromiter(map(len, times), np.int64, len(times))
    firsts = np.array([c[0] if len(c) else 0 for c in times], np.int64)
    lasts = np.array([c[-1] if len(c) else 0 for c in times], np.int64)
    return np.array(lows, np.int64), lengths, firsts, lasts, times
