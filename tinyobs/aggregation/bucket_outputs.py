"""The output `histogram_bucket`: all samples since the group began, counted in buckets.

As native histograms (schema 3: each bucket is 9 % wider than the one before), as ranges of VictoriaMetrics (18 to a
decade, only those that have samples; source: github.com/VictoriaMetrics/metrics histogram.go), or cumulative, as classic
Prometheus histograms have them.  Counts are kept for those pairs of group and bucket that there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from ..model.growing import grown
from ..model.histograms import Histogram, handles, histograms_of
from .arrays import F64, I64
from .output import Column, OfSamples, Samples
from .rule import BucketFormat

SCHEMA: Final = 3
ZERO_THRESHOLD: Final = 2.0**-128
"""Of the bucket around zero, as Prometheus' client libraries have it."""
_PER_DECADE: Final = 18
_DECADES: Final = (-9, 18)
_RANGES: Final = _PER_DECADE * (_DECADES[1] - _DECADES[0])
_HALF: Final = 1 << 20
"""Number of the zero bucket of native histograms; above are positive ones, below negative ones."""
_SPAN: Final = 1 << 21
_MERGE_MIN: Final = 1 << 18
"""Samples that wait before they are counted."""


class HistogramBuckets(OfSamples):
    """Counts in one of the formats; buckets: upper bounds of classic ones, ascending, without +Inf."""

    def __init__(self, form: BucketFormat, buckets: Sequence[float] = ()) -> None:
        self._form = form
        self._bounds: F64 = np.array(buckets)
        self._keys: I64 = np.zeros(0, np.int64)
        self._counts: I64 = np.zeros(0, np.int64)
        self._waiting: list[I64] = []
        self._waiting_count = 0
        self._sums: F64 = np.zeros(0)

    def grow(self, groups: int, inputs: int) -> None:
        """Make room."""
        self._sums = grown(self._sums, groups)

    def add(self, samples: Samples) -> None:
        """Find the buckets of samples."""
        numbers, counted = _NUMBERS[self._form](samples.values, self._bounds)
        groups, values = samples.groups, samples.values
        if not counted.all():
            groups, numbers, values = groups[counted], numbers[counted], values[counted]
        np.add.at(self._sums, groups, values)
        self._waiting.append(groups * _SPAN + numbers)
        self._waiting_count += len(groups)
        if self._waiting_count > _MERGE_MIN:
            self._merge()

    def columns(self, groups: I64, group_of_input: I64) -> Iterator[Column]:
        """Yield the counts."""
        self._merge()
        of, numbers = np.divmod(self._keys, _SPAN)
        alive = np.zeros(int(max(of.max(initial=-1), groups.max(initial=-1))) + 1, np.bool_)
        alive[groups] = True
        chosen = alive[of]
        of, numbers, counts = of[chosen], numbers[chosen], self._counts[chosen]
        if self._form is BucketFormat.VMRANGE:
            yield from _ranges(of, numbers, counts)
        elif self._form is BucketFormat.CLASSIC:
            yield from self._classic(of, numbers, counts)
        else:
            yield self._native(of, numbers, counts)

    def forget(self, groups: I64) -> None:
        """Reset groups."""
        self._merge()
        kept = ~np.isin(self._keys // _SPAN, groups)
        self._keys, self._counts = self._keys[kept], self._counts[kept]
        self._sums[groups] = 0.0

    def keep(self, groups: I64, inputs: I64) -> None:
        """Keep groups."""
        self._merge()
        of, numbers = np.divmod(self._keys, _SPAN)
        new = np.full(len(self._sums), -1, np.int64)
        new[groups] = np.arange(len(groups))
        kept = new[of] >= 0
        self._keys, self._counts = new[of[kept]] * _SPAN + numbers[kept], self._counts[kept]
        self._sums = self._sums[groups]

    def _merge(self) -> None:
        """Count what waits."""
        if not self._waiting:
            return
        keys, counts = np.unique(np.concatenate(self._waiting), return_counts=True)
        self._waiting, self._waiting_count = [], 0
        both = np.concatenate((self._keys, keys))
        self._keys, places = np.unique(both, return_inverse=True)
        together = np.zeros(len(self._keys), np.int64)
        np.add.at(together, places, np.concatenate((self._counts, counts)))
        self._counts = together

    def _classic(self, of: I64, numbers: I64, counts: I64) -> Iterator[Column]:
        groups, places = np.unique(of, return_inverse=True)
        table = np.zeros((len(groups), len(self._bounds) + 1), np.int64)
        np.add.at(table, (places, numbers), counts)
        table = np.cumsum(table, axis=1)
        for i, bound in enumerate([*self._bounds.tolist(), np.inf]):
            text = "+Inf" if bound == np.inf else f"{bound:g}"
            yield Column("histogram_bucket", groups, table[:, i].astype(np.float64), ("le", text))
        yield Column("histogram_sum", groups, self._sums[groups])
        yield Column("histogram_count", groups, table[:, -1].astype(np.float64))

    def _native(self, of: I64, numbers: I64, counts: I64) -> Column:
        groups, starts = np.unique(of, return_index=True)
        ends = np.append(starts, len(of))[1:]
        found = [
            _histogram(numbers[a:b] - _HALF, counts[a:b], float(self._sums[group]))
            for group, a, b in zip(groups.tolist(), starts.tolist(), ends.tolist(), strict=True)
        ]
        return Column("histogram_bucket", groups, handles(0, len(found)), None, histograms_of(found))


def _histogram(numbers: I64, counts: I64, total: float) -> Histogram:
    """Return a histogram; numbers: 0 for the zero bucket, i + 1 for bucket i + `_LOWEST`, negative ones likewise."""
    zero = int(counts[numbers == 0].sum())
    positive, negative = numbers > 0, numbers < 0
    spans, buckets = _spans(numbers[positive] - 1 + _LOWEST, counts[positive])
    negative_spans, negative_buckets = _spans((-numbers[negative] - 1 + _LOWEST)[::-1], counts[negative][::-1])
    return Histogram(
        SCHEMA,
        ZERO_THRESHOLD,
        zero,
        int(counts.sum()),
        total,
        spans,
        buckets,
        negative_spans,
        negative_buckets,
        is_integer=True,
    )


_LOWEST: Final = -128 << SCHEMA
"""The index of the bucket that ends at the zero threshold."""


def _spans(indexes: I64, counts: I64) -> tuple[tuple[tuple[int, int], ...], tuple[int, ...]]:
    """Return (spans, buckets) of ascending indexes."""
    if not len(indexes):
        return (), ()
    starts = np.flatnonzero(np.append(True, indexes[1:] != indexes[:-1] + 1))
    ends = np.append(starts[1:], len(indexes))
    gaps = indexes[starts] - np.append(0, indexes[ends[:-1] - 1] + 1)
    return tuple(zip(gaps.tolist(), (ends - starts).tolist(), strict=True)), tuple(counts.tolist())


def _ranges(of: I64, numbers: I64, counts: I64) -> Iterator[Column]:
    for number in np.unique(numbers).tolist():
        at = numbers == number
        yield Column("histogram_bucket", of[at], counts[at].astype(np.float64), ("vmrange", _range_text(number)))


def _range_text(number: int) -> str:
    """Return the label of a range: 0 is below all, `_RANGES + 1` above."""
    low, high = (f"{10 ** (_DECADES[0] + (number - 1 + i) / _PER_DECADE):.3e}" for i in range(2))
    if number == 0:
        return f"0...{high}"
    return f"{low}...+Inf" if number > _RANGES else f"{low}...{high}"


def _range_numbers(values: F64, bounds: F64) -> tuple[I64, np.ndarray]:
    """Return the ranges of values, and which count: negative ones do not."""
    counted = values >= 0
    with np.errstate(divide="ignore", invalid="ignore"):
        places = (np.log10(values) - _DECADES[0]) * _PER_DECADE
    inside = np.clip(np.where(counted, places, 0.0), -1, _RANGES)
    whole = np.floor(inside)
    numbers = whole.astype(np.int64) + 1
    numbers[(whole == inside) & (whole > 0) & (whole < _RANGES)] -= 1  # upper bounds belong to their range
    numbers[inside < 0] = 0
    return numbers, counted


def _classic_numbers(values: F64, bounds: F64) -> tuple[I64, np.ndarray]:
    return np.searchsorted(bounds, values, "left"), np.ones(len(values), np.bool_)


def _native_numbers(values: F64, bounds: F64) -> tuple[I64, np.ndarray]:
    """Return the native buckets of values: a power of two and all up to it from the bucket before."""
    sizes = np.minimum(np.abs(values), np.finfo(np.float64).max)
    fractions, exponents = np.frexp(sizes)
    inside = np.searchsorted(_FRACTIONS, fractions, "left")
    indexes = (exponents.astype(np.int64) - 1) * len(_FRACTIONS) + inside
    numbers = np.where(sizes <= ZERO_THRESHOLD, 0, np.sign(values).astype(np.int64) * (indexes - _LOWEST + 1))
    return numbers + _HALF, np.ones(len(values), np.bool_)


_FRACTIONS: Final = 0.5 * 2.0 ** (np.arange(1 << SCHEMA) / (1 << SCHEMA))
"""Lower bounds of the buckets of one doubling, as `frexp` counts; a fraction equal to one is in the bucket that ends there."""
_NUMBERS: Final = {
    BucketFormat.NATIVE: _native_numbers,
    BucketFormat.VMRANGE: _range_numbers,
    BucketFormat.CLASSIC: _classic_numbers,
}
