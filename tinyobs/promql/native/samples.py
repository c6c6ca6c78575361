"""Histogram samples of series, as storage hands them over."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from attrs import evolve

from ...model.columns import SeriesColumns
from ...model.histograms import Histograms, ResetHint, handles, is_handle, numbers_of
from ...model.staleness import STALE_NAN, is_stale
from ..arrays import Floats, Indexes, Mask
from .arithmetic import are_resets
from .codec import decoded
from .table import Table

_PIECE_WORDS: Final = 1 << 22
"""Words of histograms that are worked on at one time, 32 MB; their matrices may be some times larger."""


def pieces(columns: SeriesColumns) -> Iterator[tuple[int, SeriesColumns]]:
    """Yield (first row, rows) of settled columns, few enough at a time that matrices of their buckets are not huge."""
    found = settled(columns)
    half = len(found) // 2
    if found.histograms is None or not half or len(found.histograms.words) <= _PIECE_WORDS:
        yield 0, found
        return
    yield from pieces(found.rows(0, half))
    yield from ((half + first, piece) for first, piece in pieces(found.rows(half, len(found))))


def settled(columns: SeriesColumns) -> SeriesColumns:
    """Return columns whose histograms are those in use, and whose staleness markers are all floats."""
    assert columns.histograms is not None
    at = np.flatnonzero(is_handle(columns.values))
    values = columns.values.copy()
    found = columns.histograms.take(numbers_of(values[at]))
    stale = is_stale(found.sums())
    values[at[stale]] = STALE_NAN
    if stale.all():
        return evolve(columns, values=values, histograms=None)
    values[at[~stale]] = handles(0, int((~stale).sum()))
    return evolve(columns, values=values, histograms=found.take(np.flatnonzero(~stale)))


def hinted(columns: SeriesColumns) -> SeriesColumns:
    """Return columns whose counters know of each sample but the first whether a reset precedes it.

    Upstream works that out where a query wants counts and sums alone (HistogramStatsIterator), and warns of a mix.
    """
    assert columns.histograms is not None
    before, now = neighbours(columns)
    table = decoded(columns.histograms)
    numbers = numbers_of(columns.values)
    hints = table.hints()
    later = numbers[now]
    found = np.where(are_resets(table.take(later), table.take(numbers[before])), int(ResetHint.YES), int(ResetHint.NO))
    hints[later] = np.where(hints[later] == int(ResetHint.UNKNOWN), found, hints[later])
    return evolve(columns, histograms=columns.histograms.with_reset_hints(hints))


def neighbours(columns: SeriesColumns) -> tuple[Indexes, Indexes]:
    """Return (before, now): indexes of samples that follow one another in a series, both histograms."""
    native = is_handle(columns.values)
    starts = np.zeros(len(native) + 1, np.bool_)
    starts[columns.offsets] = True
    now = np.flatnonzero(native[1:] & native[:-1] & ~starts[1:-1]) + 1
    return now - 1, now


def table_of(histograms: Histograms, values: Floats, present: Mask) -> tuple[Floats, Table | None]:
    """Return values with the table of just those histograms that are present among them."""
    at = np.flatnonzero(present & is_handle(values))
    if not len(at):
        return values, None
    numbers, places = np.unique(numbers_of(values.flat[at]), return_inverse=True)
    out = np.array(values)
    out.flat[at] = handles(0, len(numbers))[places]
    return out, decoded(histograms.take(numbers))
