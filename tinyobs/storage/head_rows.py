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

from ..model.ragged import offsets_of, spread
from .runs import Runs

SLOTS: Final = 12
"""Samples in a row: 144 bytes."""
_FIRST_OFFSET: Final = 1 << 31
"""Offset of a row's first sample from its base: rows reach 24.8 days to either side of their first sample."""
_OFFSET_MAX: Final = (1 << 32) - 1
_ROWS_MIN: Final = 1024


@define(eq=False)
class RowMatrix:
    """Rows 0 .. used-1.  refs: the series of each row.  births: grows with every allocation, orders a series' rows."""

    times: NDArray[np.uint32]
    values: NDArray[np.float64]
    bases_ms: NDArray[np.int64]
    births: NDArray[np.int64]
    refs: NDArray[np.uint32]
    counts: NDArray[np.uint8]
    used: int = 0
    _birth: int = 0
    _free: NDArray[np.int64] = field(factory=lambda: np.empty(0, np.int64))

    @property
    def nbytes(self) -> int:
        """Bytes of memory that rows in use occupy."""
        return self.used * (SLOTS * 12 + 21)

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

    def free(self, rows: NDArray[np.int64]) -> None:
        """Take rows back; nobody may read them any more."""
        self.counts[rows] = 0
        self._free = np.sort(np.concatenate((self._free, rows)))

    def fits(self, rows: NDArray[np.int64], times_ms: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return where a time can be held by a row."""
        fit: NDArray[np.bool_] = (times_ms - self.bases_ms[rows]).view(np.uint64) <= _OFFSET_MAX
        return fit

    def add(
        self, rows: NDArray[np.int64], times_ms: NDArray[np.int64], values: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """Add one sample to each of distinct rows; return which of them are full now."""
        counts = self.counts[rows]
        at = rows * SLOTS + counts
        self.times.reshape(-1)[at] = times_ms - self.bases_ms[rows]
        self.values.reshape(-1)[at] = values
        counts += 1
        self.counts[rows] = counts
        full: NDArray[np.bool_] = counts == SLOTS
        return full

    def _grow(self) -> None:
        size = max(_ROWS_MIN, self.used, len(self.counts) * 2)
        old = len(self.counts)
        for name in ("times", "values", "bases_ms", "births", "refs", "counts"):
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
    return Runs(offsets, times, matrix.values.reshape(-1)[at])
