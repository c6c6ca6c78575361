"""Histogram with histogram: sums, differences, counter resets and equality, each for many pairs at once.

Pairs are grouped by the layouts that meet.  Where they differ, the finer schema is merged into the coarser one, custom
bounds are cut down to those that both have, and zero buckets widened to the wider.  Source: prometheus
model/histogram/float_histogram.go (Add, Sub, KahanAdd, DetectReset, Equals, reconcileZeroBuckets; 3.14).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from attrs import evolve, frozen

from ...model.histogram_bounds import coarser
from ...model.histograms import ResetHint
from ..arrays import Floats, Indexes, Mask
from ..sums import two_sum
from .batch import COUNT, FIXED, SUM, ZERO, Batch, common
from .table import Table, assembled

_UNKNOWN, _YES, _NO, _GAUGE = (int(x) for x in (ResetHint.UNKNOWN, ResetHint.YES, ResetHint.NO, ResetHint.GAUGE))


@frozen(eq=False)
class Sums:
    """What became of pairs.

    table: the results; of pairs that do not go together (`incompatible`: exponential with custom buckets) the first.
    collision: one histogram follows a counter reset, the other one surely not.  reconciled: custom bounds differed.
    """

    table: Table
    incompatible: Mask
    collision: Mask
    reconciled: Mask


def _meetings(a: Table, b: Table) -> Iterator[tuple[Indexes, Batch, Batch]]:
    """Yield (pairs, first histograms, second histograms) of each two layouts that meet."""
    codes = a.batch * max(len(b.batches), 1) + b.batch
    for code in np.unique(codes).tolist():
        pairs = np.flatnonzero(codes == code)
        i, j = divmod(code, len(b.batches))
        yield pairs, a.batches[i].take(a.row[pairs]), b.batches[j].take(b.row[pairs])


def added(a: Table, b: Table, *, sign: float = 1.0, compensated: bool = False) -> Sums:
    """Return `a + sign * b`, pair by pair, not compacted; `compensated` sums keep what rounding lost."""
    n = len(a)
    incompatible, collision, reconciled = (np.zeros(n, np.bool_) for _ in range(3))
    parts = []
    for pairs, x, y in _meetings(a, b):
        if x.custom != y.custom:
            incompatible[pairs] = True
            parts.append((pairs, x))
            continue
        hints, clash = _hints(x.hints, y.hints)
        collision[pairs] = clash
        x, y, differ = matched(x, y)
        reconciled[pairs] = differ
        made = _combined(x, unmasked(y), sign, compensated=compensated)
        parts.append((pairs, evolve(made, hints=hints, sides=x.sides | y.sides)))
    return Sums(assembled(n, parts), incompatible, collision, reconciled)


def _combined(x: Batch, y: Batch, sign: float, *, compensated: bool) -> Batch:
    more = y.data if sign == 1.0 else y.data * sign
    if not compensated and x.rest is None and y.rest is None:
        return evolve(x, data=x.data + more)
    total, rest = two_sum(x.data, more)
    if x.rest is not None:
        rest = rest + x.rest
    if y.rest is not None:
        rest = rest + sign * y.rest
    return evolve(x, data=total, rest=np.where(np.isinf(total), 0.0, rest))


def _hints(a: Indexes, b: Indexes) -> tuple[Indexes, Mask]:
    """Return (the hints of sums, where a reset meets the lack of one)."""
    same = a == b
    gauge = (a == _GAUGE) | (b == _GAUGE)
    clash = ~same & ~gauge & (a != _UNKNOWN) & (b != _UNKNOWN)
    return np.where(same, a, np.where(gauge, _GAUGE, _UNKNOWN)), clash


def matched(x: Batch, y: Batch) -> tuple[Batch, Batch, bool]:
    """Return histograms of compatible layouts with one layout, and whether their custom bounds differed."""
    differ = False
    if x.custom:
        differ = not np.array_equal(x.bounds, y.bounds)
        if differ:
            bounds = np.intersect1d(x.bounds, y.bounds)
            x, y = onto_bounds(x, bounds), onto_bounds(y, bounds)
    else:
        x, y = _same_zero_buckets(x, y)
        schema = min(x.schema, y.schema)
        x, y = reduced(x, schema), reduced(y, schema)
    negative, positive = common((x.negative, y.negative)), common((x.positive, y.positive))
    return x.aligned(negative, positive), y.aligned(negative, positive), differ


def reduced(b: Batch, schema: int) -> Batch:
    """Return histograms of a coarser schema."""
    by = b.schema - schema
    if not by:
        return b
    return b.regrouped(schema, b.bounds, coarser(b.negative, by), coarser(b.positive, by))


def onto_bounds(b: Batch, bounds: Floats) -> Batch:
    """Return histograms with fewer custom bounds, all of which they have."""
    ends = np.append(b.bounds, np.inf)[b.positive]
    moved = b.regrouped(b.schema, bounds, b.negative, np.searchsorted(bounds, ends))
    return moved.compacted()


def _same_zero_buckets(x: Batch, y: Batch) -> tuple[Batch, Batch]:
    while (x.thresholds != y.thresholds).any():
        wider = np.maximum(x.thresholds, y.thresholds)
        if (y.thresholds < wider).any():
            y = widened(y, wider)
        wider = np.maximum(x.thresholds, y.thresholds)
        if (x.thresholds < wider).any():
            x = widened(x, wider)
    return x, y


def widened(b: Batch, thresholds: Floats) -> Batch:
    """Return histograms with zero buckets at least that wide; a populated bucket is swallowed whole or not at all."""
    change = thresholds > b.thresholds
    sides = (b.negatives(), np.abs(np.stack(b.negative_limits()))[::-1]), (b.positives(), np.stack(b.positive_limits()))
    wide = np.where(change, thresholds, b.thresholds)
    while True:
        before = wide
        for counts, (lower, upper) in sides:
            across = (lower < wide[:, None]) & (upper > wide[:, None]) & (counts != 0) & change[:, None]
            if across.any():
                wide = np.maximum(wide, np.where(across, upper, 0.0).max(axis=1))
        if (wide == before).all():
            break
    inside = np.zeros(b.data.shape, np.bool_)
    ends = FIXED + len(b.negative)
    inside[:, FIXED:ends] = (sides[0][1][0] < wide[:, None]) & change[:, None]
    inside[:, ends:] = (sides[1][1][0] < wide[:, None]) & change[:, None]
    made = evolve(b, data=_swallowed(b.data, inside), thresholds=wide)
    return made if b.rest is None else evolve(made, rest=_swallowed(b.rest, inside))


def _swallowed(values: Floats, inside: Mask) -> Floats:
    out = np.where(inside, 0.0, values)
    out[:, ZERO] += np.where(inside, values, 0.0).sum(axis=1)
    return out


def unmasked(b: Batch) -> Batch:
    """Return histograms without the buckets that lie wholly in their zero bucket: such are not added to others."""
    if b.custom or not len(b.thresholds):
        return b
    uppers = np.concatenate((np.zeros(FIXED), -b.negative_limits()[0], b.positive_limits()[1]))
    inside = uppers <= b.thresholds.max()
    inside[:FIXED] = False
    if not inside.any():
        return b
    gone = inside & (uppers <= b.thresholds[:, None])
    return evolve(b, data=np.where(gone, 0.0, b.data))


def are_resets(now: Table, before: Table) -> Mask:
    """Return where a counter was reset between two samples: a hint says so, or any count fell."""
    out = np.zeros(len(now), np.bool_)
    for pairs, x, y in _meetings(now, before):
        found = x.data[:, COUNT] < y.data[:, COUNT]
        if x.custom != y.custom or (not x.custom and x.schema > y.schema):
            found = np.ones(len(pairs), np.bool_)
        elif x.custom:
            x_on, y_on, _ = matched(x, y)
            found |= (x_on.data[:, FIXED:] < y_on.data[:, FIXED:]).any(axis=1)
        else:
            found |= _fell(x, y)
        out[pairs] = np.where(x.hints == _YES, True, np.where(x.hints == _NO, False, found))
    return out


def _fell(x: Batch, y: Batch) -> Mask:
    """Return where a bucket of an exponential histogram is below the one before, its schema being no finer."""
    found = x.thresholds < y.thresholds
    if (x.thresholds != y.thresholds).any():
        y = widened(y, np.maximum(x.thresholds, y.thresholds))
        found |= ~found & (y.thresholds != x.thresholds)
    y = reduced(y, x.schema)
    negative, positive = common((x.negative, y.negative)), common((x.positive, y.positive))
    x, y = unmasked(x.aligned(negative, positive)), unmasked(y.aligned(negative, positive))
    fell: Mask = found | (x.data[:, ZERO:] < y.data[:, ZERO:]).any(axis=1)
    return fell


def are_equal(a: Table, b: Table) -> Mask:
    """Return where two histograms are the same, bit for bit; empty buckets are as good as none."""
    out = np.zeros(len(a), np.bool_)
    for pairs, x, y in _meetings(a, b):
        if x.key != y.key:
            continue
        negative, positive = common((x.negative, y.negative)), common((x.positive, y.positive))
        x, y = x.aligned(negative, positive), y.aligned(negative, positive)
        same = (x.data == y.data) | (np.isnan(x.data) & np.isnan(y.data))
        same[:, [COUNT, SUM, ZERO]] &= np.signbit(x.data[:, :FIXED]) == np.signbit(y.data[:, :FIXED])
        out[pairs] = same.all(axis=1) & (x.thresholds == y.thresholds)
    return out


def scaled(table: Table, factors: Floats) -> Table:
    """Return histograms times float64[H]; a negative factor makes gauges."""
    parts = []
    for numbers, batch in table.parts():
        f = factors[numbers][:, None]
        data = batch.data * f
        data[:, FIXED:] = np.where(batch.data[:, FIXED:] == 0, 0.0, data[:, FIXED:])
        rest = None if batch.rest is None else np.where(batch.rest == 0, 0.0, batch.rest * f)
        hints = np.where(f[:, 0] < 0, _GAUGE, batch.hints)
        parts.append((numbers, evolve(batch, data=data, hints=hints, rest=rest)))
    return assembled(len(table), parts)


def divided(table: Table, divisors: Floats) -> Table:
    """Return histograms over float64[H]; division by 0 leaves no buckets, a negative divisor makes gauges."""
    parts = []
    for numbers, batch in table.parts():
        d = divisors[numbers][:, None]
        data = batch.data / d
        data[:, FIXED:] = np.where((batch.data[:, FIXED:] == 0) | (d == 0), 0.0, data[:, FIXED:])
        rest = None if batch.rest is None else np.where((batch.rest == 0) | (d == 0), 0.0, batch.rest / d)
        hints = np.where(d[:, 0] < 0, _GAUGE, batch.hints)
        sides = batch.sides & (d != 0)
        parts.append((numbers, evolve(batch, data=data, hints=hints, rest=rest, sides=sides)))
    return assembled(len(table), parts)


def finished(table: Table) -> Table:
    """Return sums with their compensation added."""
    parts = []
    for numbers, batch in table.parts():
        if batch.rest is not None:
            total = np.where(np.isinf(batch.data), batch.data, batch.data + batch.rest)
            batch = evolve(batch, data=total, rest=None)
        parts.append((numbers, batch))
    return assembled(len(table), parts)


def compacted(table: Table) -> Table:
    """Return histograms without empty buckets."""
    return Table(tuple(b.compacted() for b in table.batches), table.batch, table.row)


def with_hints(table: Table, hint: ResetHint) -> Table:
    """Return the histograms with another hint."""
    batches = tuple(evolve(b, hints=np.full(len(b), int(hint), np.int64)) for b in table.batches)
    return Table(batches, table.batch, table.row)
