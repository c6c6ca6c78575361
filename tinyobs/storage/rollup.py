"""Downsampling: the aggregates of samples in buckets of time, from samples or from a finer tier.

A bucket of width w is `(k*w, (k+1)*w]`.  Aggregates of floats (`min`, `max`, `sum`) and the `count` of all samples are
stamped with the end of their bucket.  `edges` are samples as they were: of each bucket the first and the last, both
samples around each fall of a counter, and the staleness marker where one is the very last.  What a coarser tier gets is
the same whether it is made from samples or from a finer tier.

Not here: files (`rollup_job.py`), choosing a tier (`tiers.py`).  Rules and bounds: docs/format/tiers.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from ..model.histograms import Histograms, is_handle, numbers_of
from ..model.ragged import offsets_of
from ..model.rollup import Aggregate
from ..model.staleness import STALE_BITS, is_stale
from .runs import Runs, empty_runs

I64 = NDArray[np.int64]
F64 = NDArray[np.float64]
Mask = NDArray[np.bool_]

Rollup = Mapping[Aggregate, Runs]
"""All aggregates of some series, each with one row per series."""

COUNTER_FALLS: Final = 8
"""A series that falls more often than at one of so many samples is no counter: samples around falls are not kept."""
_SUM_WORD: Final = 4

_REDUCED: Final = {Aggregate.MIN: np.fmin, Aggregate.MAX: np.fmax, Aggregate.SUM: np.add, Aggregate.COUNT: np.add}


@frozen(eq=False)
class Buckets:
    """The buckets that samples fall into, those of one row after those of another, empty ones left out.

    starts: int64[B], the first sample of each.  offsets: int64[R+1] of rows.  ends_ms: int64[B], where each ends.
    """

    starts: I64
    offsets: I64
    ends_ms: I64
    samples: int

    @property
    def lasts(self) -> I64:
        """The last sample of each bucket."""
        return np.append(self.starts[1:], self.samples)[: len(self.starts)] - 1

    @property
    def counts(self) -> I64:
        """The number of samples in each bucket."""
        return np.diff(self.starts, append=self.samples)


def buckets_of(runs: Runs, width_ms: int) -> Buckets:
    """Return the buckets of ascending samples."""
    times = runs.times_ms
    if not len(times):
        return Buckets(np.empty(0, np.int64), np.zeros(len(runs.offsets), np.int64), np.empty(0, np.int64), 0)
    number = (times - 1) // width_ms
    is_first = np.ones(len(times) + 1, np.bool_)
    is_first[1:-1] = number[1:] != number[:-1]
    is_first[runs.offsets] = True
    is_first = is_first[:-1]
    starts = np.flatnonzero(is_first)
    return Buckets(
        starts, offsets_of(is_first.astype(np.int64))[runs.offsets], (number[starts] + 1) * width_ms, len(times)
    )


def roll_up(samples: Runs, width_ms: int) -> dict[Aggregate, Runs]:
    """Return the aggregates of samples as they were stored."""
    real = without_stale(samples)
    floats = _kept(real, ~is_handle(real.values)) if real.histograms is not None else real
    buckets = buckets_of(real, width_ms)
    counts = Runs(buckets.offsets, buckets.ends_ms, buckets.counts.astype(np.float64))
    found = {Aggregate.EDGES: thinned(samples, width_ms), Aggregate.COUNT: counts}
    buckets = buckets if floats is real else buckets_of(floats, width_ms)
    for aggregate in (Aggregate.MIN, Aggregate.MAX, Aggregate.SUM):
        found[aggregate] = _reduced(aggregate, floats.values, buckets)
    return found


def roll_up_tier(finer: Rollup, width_ms: int) -> dict[Aggregate, Runs]:
    """Return the aggregates of a tier, made from those of a finer one whose width divides `width_ms`."""
    found = {Aggregate.EDGES: thinned(finer[Aggregate.EDGES], width_ms)}
    for aggregate in _REDUCED:
        # Points are stamped with the end of their bucket, which lies in the coarser bucket of its samples.
        found[aggregate] = _reduced(aggregate, finer[aggregate].values, buckets_of(finer[aggregate], width_ms))
    return found


def thinned(samples: Runs, width_ms: int) -> Runs:
    """Return the edges: what is left of samples so that instants, counters and first and last values stay right."""
    keep = np.zeros(len(samples.times_ms), np.bool_)
    stale = stale_at(samples)
    real = np.flatnonzero(~stale)
    runs = _kept(samples, ~stale) if len(real) < len(keep) else samples
    buckets = buckets_of(runs, width_ms)
    inner = _falls(runs, buckets)
    inner[buckets.lasts] = True
    if runs.histograms is None:
        inner[buckets.starts] = True
    else:  # a histogram is large: only the last of a bucket is kept
        floats = np.flatnonzero(~is_handle(runs.values))
        among = buckets_of(_kept(runs, ~is_handle(runs.values)), width_ms)
        inner[floats[among.starts]] = inner[floats[among.lasts]] = True
    keep[real[inner]] = True
    if len(real) < len(keep):
        lasts = buckets_of(samples, width_ms).lasts
        keep[lasts[stale[lasts]]] = True
    return _kept(samples, keep).compact()


def _falls(runs: Runs, buckets: Buckets) -> Mask:
    """Return the samples on both sides of each fall within a bucket, for rows that look like counters."""
    around = np.zeros(len(runs.values), np.bool_)
    if len(around) < 2:
        return around
    falls = np.zeros(len(around), np.bool_)
    with np.errstate(invalid="ignore"):
        falls[1:] = runs.values[1:] < runs.values[:-1]
    falls[buckets.starts] = False
    if not falls.any():
        return around
    lengths = np.diff(runs.offsets)
    per_row = np.diff(offsets_of(falls.astype(np.int64))[runs.offsets])
    falls &= np.repeat(per_row * COUNTER_FALLS <= lengths, lengths)
    around |= falls
    around[:-1] |= falls[1:]
    return around


def _reduced(aggregate: Aggregate, values: F64, buckets: Buckets) -> Runs:
    if not len(values):
        return empty_runs(len(buckets.offsets) - 1)
    with np.errstate(all="ignore"):
        return Runs(buckets.offsets, buckets.ends_ms, _REDUCED[aggregate].reduceat(values, buckets.starts))


# -- what need not be written ------------------------------------------------------------------------------------


def implied(edges: Runs, aggregate: Aggregate, width_ms: int) -> Runs:
    """Return the minima or maxima of the edges of each bucket."""
    floats = _kept(edges, ~(is_stale(edges.values) | is_handle(edges.values)))
    return _reduced(aggregate, floats.values, buckets_of(floats, width_ms))


def without_implied(found: Rollup, width_ms: int) -> dict[Aggregate, Runs]:
    """Return a rollup without the minima and maxima of rows where those of the edges are the same: most counters."""
    out = dict(found)
    for aggregate in (Aggregate.MIN, Aggregate.MAX):
        full, guess = found[aggregate], implied(found[Aggregate.EDGES], aggregate, width_ms)
        wrong = full.values.view(np.uint64) != guess.values.view(np.uint64)
        needed = np.diff(offsets_of(wrong.astype(np.int64))[full.offsets]) > 0
        out[aggregate] = _kept(full, np.repeat(needed, np.diff(full.offsets)))
    return out


def with_implied(found: Rollup, width_ms: int) -> dict[Aggregate, Runs]:
    """Return a rollup with all minima and maxima."""
    out = dict(found)
    for aggregate in (Aggregate.MIN, Aggregate.MAX):
        out[aggregate] = completed(found[aggregate], found[Aggregate.EDGES], aggregate, width_ms)
    return out


def completed(written: Runs, edges: Runs, aggregate: Aggregate, width_ms: int) -> Runs:
    """Return minima or maxima with those rows added that were left out; rows of both are of the same series."""
    is_left_out = np.diff(written.offsets) == 0
    if not is_left_out.any():
        return written
    guess = implied(edges, aggregate, width_ms)
    guess = _kept(guess, np.repeat(is_left_out, np.diff(guess.offsets)))
    counts = np.diff(written.offsets) + np.diff(guess.offsets)
    from_guess = np.repeat(is_left_out, counts)
    times, values = np.empty(len(from_guess), np.int64), np.empty(len(from_guess))
    for at, part in ((from_guess, guess), (~from_guess, written)):
        times[at], values[at] = part.times_ms, part.values
    return Runs(offsets_of(counts), times, values)


def weights_of(edges: Runs, counts: Runs, width_ms: int) -> F64:
    """Return for how many samples each edge stands: one, and the last of a bucket for all that are not kept.

    Markers of staleness count nothing.  The rows of both are of the same series.
    """
    stale = stale_at(edges)
    weights = np.where(stale, 0.0, 1.0)
    real = np.flatnonzero(~stale)
    buckets = buckets_of(_kept(edges, ~stale), width_ms)
    rows = np.repeat(np.arange(len(edges.offsets) - 1), np.diff(buckets.offsets))
    at = positions_of(counts, rows, buckets.ends_ms)
    known = at >= 0
    weights[real[buckets.lasts[known]]] += counts.values[at[known]] - buckets.counts[known]
    return weights


def positions_of(runs: Runs, rows: I64, times_ms: I64) -> I64:
    """Return where samples with these rows and times stand, -1 for those that are not there; both ascend."""
    if not len(rows) or not len(runs.times_ms):
        return np.full(len(rows), -1, np.int64)
    low = min(int(times_ms.min()), int(runs.times_ms.min()))
    span = max(int(times_ms.max()), int(runs.times_ms.max())) - low + 1
    have = np.repeat(np.arange(len(runs.offsets) - 1), np.diff(runs.offsets)) * span + (runs.times_ms - low)
    want = rows * span + (times_ms - low)
    at = np.minimum(np.searchsorted(have, want), len(have) - 1)
    return np.where(have[at] == want, at, -1)


# -- samples -----------------------------------------------------------------------------------------------------


def stale_at(runs: Runs) -> Mask:
    """Return where a series ends: markers of floats, and of histograms."""
    stale = is_stale(runs.values)
    if runs.histograms is not None:
        at = np.flatnonzero(is_handle(runs.values))
        stale[at] = _stale_histograms(runs.histograms)[numbers_of(runs.values[at])]
    return stale


def without_stale(runs: Runs) -> Runs:
    """Return runs without markers of staleness."""
    stale = stale_at(runs)
    return _kept(runs, ~stale) if stale.any() else runs


def _stale_histograms(table: Histograms) -> Mask:
    found: Mask = table.words[table.offsets[:-1] + _SUM_WORD] == np.uint64(STALE_BITS)
    return found


def _kept(runs: Runs, keep: Mask) -> Runs:
    if keep.all():
        return runs
    return runs.take(offsets_of(keep.astype(np.int64))[runs.offsets], keep)
