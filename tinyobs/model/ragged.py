"""Arithmetic of rows of different length that lie one after another in one array (compressed-row form)."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T", bound=np.generic)
I64 = NDArray[np.int64]
Places = slice | NDArray[np.intp]
"""Places in an array, as a slice where they follow one another."""


def run_of(places: NDArray[np.integer[Any]]) -> Places:
    """Return distinct places as a slice where they follow one another without a gap: that is a copy, not a gathering."""
    n = len(places)
    if n and int(places[-1]) - int(places[0]) == n - 1 and bool((places[1:] > places[:-1]).all()):
        return slice(int(places[0]), int(places[0]) + n)
    return places.astype(np.intp, copy=False)


def offsets_of(counts: I64) -> I64:
    """Return int64[R+1], the running sum of `counts` from 0."""
    out = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=out[1:])
    return out


def spread(starts: I64, counts: I64) -> I64:
    """Return the positions `starts[i] .. starts[i] + counts[i] - 1` of all rows, one row after another."""
    offsets = offsets_of(counts)
    out = np.arange(int(offsets[-1]))
    out += np.repeat(starts - offsets[:-1], counts)
    return out


def take_rows(values: NDArray[T], offsets: I64, rows: I64) -> NDArray[T]:
    """Return the rows `values[offsets[r]:offsets[r+1]]` for r in `rows`, one after another."""
    counts = np.diff(offsets)
    n = int(counts[0]) if len(counts) else 0
    if n and (counts == n).all():
        return values.reshape(-1, n)[rows].reshape(-1)
    return values[spread(offsets[:-1][rows], counts[rows])]


def cut_rows(values: NDArray[T], starts: I64, counts: I64) -> NDArray[T]:
    """Return `values[starts[i]:starts[i] + counts[i]]` for all i, one after another; quick where they lie evenly."""
    n = int(counts[0]) if len(counts) else 0
    if len(counts) > 1 and (counts == n).all():
        step = int(starts[1] - starts[0])
        if step >= 0 and (np.diff(starts) == step).all():
            size = values.itemsize
            rows = np.lib.stride_tricks.as_strided(values[int(starts[0]) :], (len(counts), n), (step * size, size))
            return rows.reshape(-1)
    return values[spread(starts, counts)]


def put_rows(out: NDArray[T], offsets: I64, rows: I64, values: NDArray[T]) -> None:
    """Write rows that lie one after another in `values` to the places `out[offsets[r]:offsets[r+1]]`."""
    counts = np.diff(offsets)
    n = int(counts[0]) if len(counts) else 0
    if n and (counts == n).all():
        out.reshape(-1, n)[rows] = values.reshape(-1, n)
    else:
        out[spread(offsets[:-1][rows], counts[rows])] = values
