"""Counts of observations by series and exponential bucket, as two sorted columns; and native histograms made of them.

An entry is a count of one bucket of one series, its key (int64):

    series << 23 | 2^22 + code          code 0: about zero, i: positive bucket, -i: the negative one

where the bucket with index `n` has i = n + 2^20 + 1.  The order of keys is that of values.  Buckets are those of native
histograms: bucket `n` of schema `s` holds (2^((n-1)/2^s), 2^(n/2^s)].
"""

from __future__ import annotations

from typing import Final

import numpy as np
from attrs import define, frozen
from numpy.typing import NDArray

from ...model.histogram_bounds import SCHEMA_MAX, coarser, exponential
from ...model.histograms import Histograms
from ...model.ragged import offsets_of

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

ZERO_THRESHOLD: Final = 2.0**-128
"""What is nearer to zero is counted as zero; that of Prometheus' client libraries."""
SCHEMA_MIN: Final = -4

_SHIFT: Final = 23
_MIDDLE: Final = 1 << 22
_BIAS: Final = (1 << 20) + 1
_FRACTIONS: Final[F64] = exponential(SCHEMA_MAX, np.arange(-256, 0))
"""The bounds of the finest buckets from 0.5 up to 1."""
_NONE_I: Final[I64] = np.empty(0, np.int64)
_NONE_F: Final[F64] = np.empty(0, np.float64)


@frozen(eq=False)
class Entries:
    """Entries in order of their keys, each key once."""

    keys: I64
    counts: F64

    @property
    def series(self) -> I64:
        """The series of each entry."""
        return self.keys >> _SHIFT

    @property
    def codes(self) -> I64:
        """The code of each entry."""
        return (self.keys & ((1 << _SHIFT) - 1)) - _MIDDLE


@define(eq=False)
class BucketCounts:
    """Entries that grow."""

    keys: I64 = _NONE_I
    counts: F64 = _NONE_F

    def add(self, keys: I64, counts: F64) -> None:
        """Add counts; keys: in any order, several times as well."""
        found, place = np.unique(keys, return_inverse=True)
        sums = np.bincount(place, counts)
        at = np.searchsorted(self.keys, found)
        known = np.zeros(len(found), bool)
        inside = at < len(self.keys)
        known[inside] = self.keys[at[inside]] == found[inside]
        self.counts[at[known]] += sums[known]
        if not known.all():
            self.keys = np.insert(self.keys, at[~known], found[~known])
            self.counts = np.insert(self.counts, at[~known], sums[~known])

    def forget(self, series: I64) -> None:
        """Remove all entries of some series."""
        kept = ~np.isin(self.keys >> _SHIFT, series)
        self.keys, self.counts = self.keys[kept], self.counts[kept]

    def limit(self, schemas: NDArray[np.int8], buckets_max: NDArray[np.int32]) -> None:
        """Make buckets of series that have too many twice as wide, until they fit; `schemas` is changed accordingly."""
        while len(self.keys):
            series = self.keys >> _SHIFT
            first = np.flatnonzero(np.diff(series, prepend=-1))
            many, counts = series[first], np.diff(np.append(first, len(series)))
            many = many[(counts > buckets_max[many]) & (schemas[many] > SCHEMA_MIN)]
            if not len(many):
                return
            schemas[many] -= 1
            mine = np.isin(series, many)
            keys, counts_of = self.keys[mine], self.counts[mine]
            self.keys, self.counts = self.keys[~mine], self.counts[~mine]
            codes = (keys & ((1 << _SHIFT) - 1)) - _MIDDLE
            wider = np.sign(codes) * (coarser(np.abs(codes) - _BIAS, 1) + _BIAS)
            self.add((keys >> _SHIFT << _SHIFT) + wider + _MIDDLE, counts_of)

    def entries(self) -> Entries:
        """Return what there is now; it is not changed any more."""
        return Entries(self.keys, self.counts.copy())


def keys_of(series: I64, values: F64, schemas: NDArray[np.int8]) -> I64:
    """Return the keys of finite observations; schemas: that of each observation."""
    magnitudes = np.abs(values)
    fractions, exponents = np.frexp(magnitudes)
    finest = np.searchsorted(_FRACTIONS, fractions) + (exponents.astype(np.int64) - 1) * 256
    indexes = ((finest - 1) >> (SCHEMA_MAX - schemas.astype(np.int64))) + 1
    codes = np.where(magnitudes <= ZERO_THRESHOLD, 0, np.where(values < 0, -1, 1) * (indexes + _BIAS))
    return (series << _SHIFT) + codes + _MIDDLE


def middles(codes: I64, schema: int) -> F64:
    """Return a value for each code that is no farther from all of its bucket than need be, in proportion."""
    indexes = np.abs(codes) - _BIAS
    low, high = exponential(schema, indexes - 1), exponential(schema, indexes)
    with np.errstate(over="ignore", invalid="ignore"):
        found: F64 = np.sign(codes) * 2 * low * (high / (low + high))
    return np.where(codes == 0, 0.0, found)


def histograms_of(entries: Entries, series: I64, schemas: NDArray[np.int8], sums: F64) -> Histograms:
    """Return native histograms.  series: int64[H], ascending.  schemas, sums: of each of those.

    Every entry is of one of them.  Counts are rounded to whole ones: they may stand for samples of rates like 0.3.
    """
    rows = np.searchsorted(series, entries.series)
    codes, counts = entries.codes, np.rint(entries.counts).astype(np.uint64)
    is_zero = codes == 0
    zeros = np.zeros(len(series), np.uint64)
    zeros[rows[is_zero]] = counts[is_zero]
    totals = np.zeros(len(series), np.uint64)
    np.add.at(totals, rows, counts)
    rows, codes, counts = rows[~is_zero], codes[~is_zero], counts[~is_zero]
    negative, indexes = codes < 0, np.abs(codes) - _BIAS
    if negative.any():  # positive ones come first, both from zero outwards
        order = np.lexsort((indexes, negative, rows))
        rows, negative, indexes, counts = rows[order], negative[order], indexes[order], counts[order]
    groups = rows * 2 + negative
    begins = np.flatnonzero(np.diff(indexes, prepend=0) != 1) if len(rows) else _NONE_I
    begins = np.union1d(begins, np.flatnonzero(np.diff(groups, prepend=-1)))
    first_of_group = np.diff(groups[begins], prepend=-1) != 0
    gaps = np.where(first_of_group, indexes[begins], indexes[begins] - indexes[begins - 1] - 1)
    lengths = np.diff(np.append(begins, len(rows)))
    spans = np.bincount(groups[begins], minlength=2 * len(series)).reshape(-1, 2)
    buckets = np.bincount(rows, minlength=len(series))
    offsets = offsets_of(5 + spans.sum(axis=1) + buckets)
    words = np.zeros(int(offsets[-1]), np.uint64)
    heads = offsets[:-1]
    words[heads] = (schemas.view(np.uint8).astype(np.int64) | 1 << 8 | spans[:, 0] << 16 | spans[:, 1] << 32).view(
        np.uint64
    )
    words[heads + 1] = np.array([ZERO_THRESHOLD]).view(np.uint64)
    words[heads + 2], words[heads + 3] = zeros, totals
    words[heads + 4] = np.ascontiguousarray(sums).view(np.uint64)
    span_rows = rows[begins]
    words[heads[span_rows] + 5 + _ranks(span_rows)] = ((gaps & 0xFFFFFFFF) | lengths << 32).view(np.uint64)
    words[heads[rows] + 5 + spans.sum(axis=1)[rows] + _ranks(rows)] = counts
    return Histograms(offsets, words)


def quantiles_of(entries: Entries, schema: int, quantiles: tuple[float, ...]) -> tuple[I64, F64]:
    """Return (series int64[S], values float64[S, Q]) of all series that have entries."""
    if not len(entries.keys):
        return _NONE_I, np.empty((0, len(quantiles)))
    series, first = np.unique(entries.series, return_index=True)
    ends = np.append(first[1:], len(entries.keys))
    totals = np.cumsum(entries.counts)
    before = np.where(first > 0, totals[first - 1], 0.0)
    found = np.empty((len(series), len(quantiles)))
    for i, quantile in enumerate(quantiles):
        counts = totals[ends - 1] - before
        wanted = before + np.maximum(np.ceil(quantile * counts - 1e-9 * counts), np.minimum(counts, 1e-9))
        at = np.clip(np.searchsorted(totals, wanted), first, ends - 1)
        found[:, i] = middles(entries.codes[at], schema)
    return series, found


def _ranks(rows: I64) -> I64:
    """Return for each element of an ascending column how many equal ones stand before it."""
    if not len(rows):
        return rows
    first = np.flatnonzero(np.diff(rows, prepend=-1))
    ranks: I64 = np.arange(len(rows)) - np.repeat(first, np.diff(np.append(first, len(rows))))
    return ranks
