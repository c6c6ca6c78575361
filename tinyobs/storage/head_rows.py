"""The matrix of the head: fixed-length rows that series fill with their newest samples.

A row belongs to one series from `give` until `free`.  Samples are only ever added behind those that a row has, so
whoever knows a row's `count` at some moment can read its content of that moment later, without a lock, as long as
the row is not freed.  When the matrix grows, the old arrays stay valid for those who hold them.

Not here: which row a series writes to and when rows are compressed (`head.py`).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from attrs import define, field
from numpy.typing import NDArray

from ..model.histograms import is_handle, numbers_of, renumbered
from ..model.ragged import Places, offsets_of, spread
from .histogram_arena import HistogramArena
from .runs import Runs

SLOTS: Final = 12
"""Samples in a row: 144 bytes."""
_FIRST_OFFSET: Final = 1 << 31
"""Offset of a row's first sample from its base: rows reach 24.8 days to either side of their first sample."""
_OFFSET_MAX: Final = (1 << 32) - 1
_ROWS_MIN: Final = 1024
_COLUMNS: Final = ("times", "values", "bases_ms", "births", "refs", "counts")


@define(eq=False)
class RowMatrix:
    """Rows 0 .. used-1.  refs: the series of each row.  births: grows with every allocation, orders a series' rows.

    arena: what handles among the values stand for.  starts_ms: int64[rows, SLOTS], since when samples count; None
    until there is such a time, and pages of it in which there is none cost no memory.
    """

    times: NDArray[np.uint32]
    values: NDArray[np.float64]
    bases_ms: NDArray[np.int64]
    births: NDArray[np.int64]
    refs: NDArray[np.uint32]
    counts: NDArray[np.uint8]
    used: int = 0
    arena: HistogramArena = field(factory=HistogramArena)
    starts_ms: NDArray[np.int64] | None = None
    _birth: int = 0
    _free: NDArray[np.int64] = field(factory=lambda: np.empty(0, np.int64))

    @property
    def nbytes(self) -> int:
        """Bytes of memory that rows in use occupy, at most."""
        starts = 0 if self.starts_ms is None else SLOTS * 8
        return self.used * (SLOTS * 12 + 21 + starts) + self.arena.nbytes

    def seen_now(self) -> RowMatrix:
        """Return what a reader sees from now on: the same rows, with their counts of this moment."""
        counts = self.counts[: self.used].copy()
        rest = self.times, self.values, self.bases_ms, self.births, self.refs
        return RowMatrix(*rest, counts, self.used, self.arena, self.starts_ms)

    def give(self, refs: NDArray[np.uint32], times_ms: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return a fresh row for each series, based on the time of the first sample that will go into it."""
        n = len(refs)
        reused = self._free[:n]
        self._free = self._free[len(reused) :]
        fresh = n - len(reused)
        rows = np.concatenate((reused, np.arange(self.used, self.used + fresh, dtype=np.int64)))
        self.used += fresh
        if self.used > len(self.counts):
            self._grow()
        self._birth += 1
        self.refs[rows] = refs
        self.bases_ms[rows] = times_ms - _FIRST_OFFSET
        self.births[rows] = self._birth
        self.counts[rows] = 0
        return rows

    def retire(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Empty rows that none but open views will read; return the slots of the arena that they have, for `free`."""
        slots = np.empty(0, np.int64)
        if self.arena.is_used:
            at = spread(rows * SLOTS, self.counts[rows].astype(np.int64))
            slots = numbers_of(self.values.reshape(-1)[at])
            slots = slots[slots >= 0]
            self.arena.retire(slots)
        self.counts[rows] = 0
        return slots

    def free(self, rows: NDArray[np.int64], slots: NDArray[np.int64]) -> None:
        """Take retired rows back; nobody may read them any more."""
        self.arena.free(slots)
        self._free = np.sort(np.concatenate((self._free, rows)))

    def renew(self) -> None:
        """Return the memory of all rows when none is in use; those who hold the old arrays keep them."""
        if len(self._free) < self.used:
            return
        for name in _COLUMNS:
            column = getattr(self, name)
            setattr(self, name, np.empty_like(column))  # pages not yet used cost no memory
        self.counts[:] = 0
        self.starts_ms, self.used, self._free = None, 0, np.empty(0, np.int64)

    @staticmethod
    def can_hold(offsets: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return where a row can hold a sample whose time is so far from its base, in ms."""
        fit: NDArray[np.bool_] = offsets.view(np.uint64) <= _OFFSET_MAX
        return fit

    def add_one_each(
        self,
        rows: NDArray[np.int64],
        where: Places,
        offsets: NDArray[np.int64],
        values: NDArray[np.float64],
        starts_ms: NDArray[np.int64] | None,
    ) -> NDArray[np.int64]:
        """Add a sample to each of distinct rows; return the rows that are full then.

        where: what `run_of` makes of rows.  offsets: of the times from the bases; `can_hold` of all.
        """
        counts = self.counts[where]
        number = int(counts[0])
        plain = starts_ms is None and self.starts_ms is None
        if plain and isinstance(where, slice) and bool((counts == number).all()):
            self.times[where, number] = offsets
            self.values[where, number] = values
            self.counts[where] = number + 1
            return rows if number + 1 == SLOTS else rows[:0]
        self.put(rows * SLOTS + counts, offsets, values, starts_ms)
        self.counts[where] = counts + np.uint8(1)
        full: NDArray[np.int64] = rows[self.counts[where] == SLOTS]
        return full

    def put(
        self,
        at: NDArray[np.int64],
        offsets: NDArray[np.int64],
        values: NDArray[np.float64],
        starts_ms: NDArray[np.int64] | None,
    ) -> None:
        """Write samples to places in rows, `row * SLOTS + number`; their counts are the caller's matter.

        offsets: of their times from the bases of the rows.
        """
        self.times.reshape(-1)[at] = offsets
        self.values.reshape(-1)[at] = values
        if starts_ms is not None and self.starts_ms is None:
            self.starts_ms = np.zeros((len(self.counts), SLOTS), np.int64)
        if self.starts_ms is not None:
            self.starts_ms.reshape(-1)[at] = 0 if starts_ms is None else starts_ms

    def holds_histograms(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which rows have one."""
        at = np.arange(SLOTS) < self.counts[rows][:, None]
        found: NDArray[np.bool_] = np.any(is_handle(self.values[rows]) & at, axis=1)
        return found

    def _grow(self) -> None:
        size = max(_ROWS_MIN, self.used, len(self.counts) * 2)
        old = len(self.counts)
        if self.starts_ms is not None:
            starts = np.zeros((size, SLOTS), np.int64)
            starts[:old] = self.starts_ms
            self.starts_ms = starts
        for name in _COLUMNS:
            column = getattr(self, name)
            longer = np.empty((size, *column.shape[1:]), column.dtype)  # pages not yet used cost no memory
            longer[:old] = column
            setattr(self, name, longer)
        self.counts[old:] = 0


def new_matrix() -> RowMatrix:
    """Return a matrix without rows."""
    return RowMatrix(
        np.empty((0, SLOTS), np.uint32),
        np.empty((0, SLOTS), np.float64),
        np.empty(0, np.int64),
        np.empty(0, np.int64),
        np.empty(0, np.uint32),
        np.empty(0, np.uint8),
    )


def read_rows(matrix: RowMatrix, rows: NDArray[np.int64], counts: NDArray[np.uint8]) -> Runs:
    """Return the first `counts[i]` samples of each row `rows[i]`."""
    lengths = counts.astype(np.int64)
    offsets = offsets_of(lengths)
    at = spread(rows * SLOTS, lengths)
    times = np.repeat(matrix.bases_ms[rows], lengths)
    times += matrix.times.reshape(-1)[at]
    values, histograms, starts = matrix.values.reshape(-1)[at], None, None
    if matrix.starts_ms is not None:
        starts = matrix.starts_ms.reshape(-1)[at]
        starts = starts if starts.any() else None
    if matrix.arena.is_used:
        values, slots = renumbered(values)
        histograms = matrix.arena.read(slots) if len(slots) else None
    return Runs(offsets, times, values, histograms, starts)
