"""Points of delta temporality -> running totals, one for each stream.

The first point of a stream begins its total.  A later one is added where it begins no earlier than the total and ends after
what was added last; others are left out, so that what is sent again is not counted twice.  A gap between two points changes
nothing.  A stream that is silent for too long is forgotten: its next point begins anew.  Source: the processor
deltatocumulative of the OpenTelemetry Collector.

A `Conversion` adds up the points of one request without changing the totals; they move on when it is settled, which is to
happen when the samples are stored, and before the next conversion begins.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import zip_longest
from typing import Any, Final

from attrs import define, evolve, field, frozen

from ...model.labels import Labels, from_mapping
from .histograms import ZERO_THRESHOLD, refuse_odd
from .rules import MetricContext

BUCKETS_MAX: Final = 160
"""Buckets of one sign of an exponential total; beyond that it becomes coarser."""
EXPIRE_EVERY_MS: Final = 60_000
"""How often silent streams are looked for."""

_EXPONENT_MAX: Final = 1023.0
"""Of a float."""

Key = tuple[str, str, Labels]
"""Name of the family, kind of metric, labels."""


@frozen
class Total:
    """What was added up.  Times in nanoseconds."""

    start_ns: int
    time_ns: int


@frozen
class NumberTotal(Total):
    """Of a sum."""

    value: float


@frozen
class HistogramTotal(Total):
    """Of an explicit histogram.  sum: None where some point had none."""

    count: int
    sum: float | None
    bounds: tuple[float, ...]
    buckets: tuple[int, ...]


@frozen
class ExponentialTotal(Total):
    """Of an exponential histogram.  positive, negative: index in the sense of OpenTelemetry -> count."""

    count: int
    sum: float | None
    scale: int
    zero_threshold: float
    zero_count: int
    positive: Mapping[int, int]
    negative: Mapping[int, int]


@define
class _Stream:
    total: Total
    seen_ms: int


class DeltaTotals:
    """The totals of all streams.  stale_ms: silence after which one is forgotten.  streams_max: more are refused."""

    def __init__(self, stale_ms: int, streams_max: int) -> None:
        self.stale_ms, self.streams_max = stale_ms, streams_max
        self._streams: dict[Key, _Stream] = {}
        self._expired_ms = 0

    def __len__(self) -> int:
        return len(self._streams)

    def total(self, key: Key) -> Total | None:
        """Return the total of a stream, None for a new one."""
        found = self._streams.get(key)
        return None if found is None else found.total

    def begin(self, now_ms: int) -> Conversion:
        """Return the conversion of one request; silent streams are forgotten."""
        if now_ms - self._expired_ms >= EXPIRE_EVERY_MS:
            self._expired_ms = now_ms
            old = [key for key, s in self._streams.items() if now_ms - s.seen_ms > self.stale_ms]
            for key in old:
                del self._streams[key]
        return Conversion(self, now_ms)

    def settle(self, totals: Mapping[Key, Total], now_ms: int) -> None:
        """Take over the totals of a request that was stored."""
        for key, total in totals.items():
            self._streams[key] = _Stream(total, now_ms)


@define
class Conversion:
    """The points of one request."""

    totals: DeltaTotals
    now_ms: int
    _changed: dict[Key, Total] = field(factory=dict)
    _new: int = 0

    def settle(self) -> None:
        """Let the totals move on: the samples are stored."""
        self.totals.settle(self._changed, self.now_ms)

    def total(self, context: MetricContext, labels: Mapping[str, str], point: Any) -> tuple[Any, Key, Total]:
        """Return a data point with the running total, and what to `keep` once there are samples of it.

        Raises `ValueError` where it cannot be added.
        """
        key = context.family, context.kind, from_mapping(labels)
        before = self._changed.get(key) or self.totals.total(key)
        read, add, write = _WAYS[context.kind]
        given = read(point)
        if before is None:
            if len(self.totals) + self._new >= self.totals.streams_max:
                raise ValueError("delta_streams", f"there are {self.totals.streams_max} streams of deltas already")
            now = given
        else:
            if given.start_ns < before.start_ns:
                raise ValueError("delta_order", "the delta begins before the total that it belongs to")
            if given.time_ns <= before.time_ns:
                raise ValueError("delta_order", "a delta of this time or a later one was added already")
            now = add(before, given)
        return write(now, point), key, now

    def keep(self, key: Key, total: Total) -> None:
        """Go on from a total: one that no sample can be made of would spoil all that is added to it."""
        if key not in self._changed and self.totals.total(key) is None:
            self._new += 1
        self._changed[key] = total


# -- numbers -----------------------------------------------------------------------------------------------------------


def _read_number(point: Any) -> NumberTotal:
    kind = point.WhichOneof("value")
    if kind is None:
        raise ValueError("no_value", "it has no value")
    return NumberTotal(point.start_time_unix_nano, point.time_unix_nano, getattr(point, kind))


def _add_number(before: NumberTotal, given: NumberTotal) -> NumberTotal:
    return NumberTotal(before.start_ns, given.time_ns, before.value + given.value)


def _write_number(total: NumberTotal, point: Any) -> Any:
    made = _copy(total, point)
    if isinstance(total.value, int):
        made.as_int = total.value
    else:
        made.as_double = total.value
    return made


def _copy(total: Total, point: Any) -> Any:
    made = type(point)()
    made.CopyFrom(point)
    made.start_time_unix_nano = total.start_ns
    return made


# -- explicit histograms -----------------------------------------------------------------------------------------------


def _read_histogram(point: Any) -> HistogramTotal:
    return HistogramTotal(
        point.start_time_unix_nano,
        point.time_unix_nano,
        point.count,
        _sum(point),
        tuple(point.explicit_bounds),
        tuple(point.bucket_counts),
    )


def _add_histogram(before: HistogramTotal, given: HistogramTotal) -> HistogramTotal:
    if given.bounds != before.bounds:  # nothing can be added to other buckets: the total begins anew
        return given
    return evolve(
        before,
        time_ns=given.time_ns,
        count=before.count + given.count,
        sum=_added(before.sum, given.sum),
        buckets=tuple(a + b for a, b in zip_longest(before.buckets, given.buckets, fillvalue=0)),
    )


def _write_histogram(total: HistogramTotal, point: Any) -> Any:
    made = _copy(total, point)
    made.count = total.count
    _write_sum(made, total.sum)
    made.bucket_counts[:] = total.buckets
    return made


def _sum(point: Any) -> float | None:
    return point.sum if point.HasField("sum") else None


def _added(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a + b


def _write_sum(made: Any, value: float | None) -> None:
    if value is None:
        made.ClearField("sum")
    else:
        made.sum = value


# -- exponential histograms --------------------------------------------------------------------------------------------


def _read_exponential(point: Any) -> ExponentialTotal:
    refuse_odd(point)
    return ExponentialTotal(
        point.start_time_unix_nano,
        point.time_unix_nano,
        point.count,
        _sum(point),
        point.scale,
        point.zero_threshold if point.zero_threshold > 0 else 0.0,
        point.zero_count,
        _counts(point.positive),
        _counts(point.negative),
    )


def _counts(buckets: Any) -> dict[int, int]:
    return {buckets.offset + i: n for i, n in enumerate(buckets.bucket_counts) if n}


def _add_exponential(before: ExponentialTotal, given: ExponentialTotal) -> ExponentialTotal:
    scale = min(before.scale, given.scale)
    before, given = _coarser(before, scale), _coarser(given, scale)
    finer = max(_surplus(before.positive, given.positive), _surplus(before.negative, given.negative))
    if finer:
        before, given = _coarser(before, scale - finer), _coarser(given, scale - finer)
    threshold = max(before.zero_threshold, given.zero_threshold)
    if before.zero_threshold != given.zero_threshold:
        before, given = _widened(before, threshold), _widened(given, threshold)
    return evolve(
        before,
        time_ns=given.time_ns,
        count=before.count + given.count,
        sum=_added(before.sum, given.sum),
        zero_threshold=max(before.zero_threshold, given.zero_threshold),
        zero_count=before.zero_count + given.zero_count,
        positive=_together(before.positive, given.positive),
        negative=_together(before.negative, given.negative),
    )


def _coarser(total: ExponentialTotal, scale: int) -> ExponentialTotal:
    steps = total.scale - scale
    if not steps:
        return total
    positive, negative = (_merged((i >> steps, n) for i, n in s.items()) for s in (total.positive, total.negative))
    return evolve(total, scale=scale, positive=positive, negative=negative)


def _surplus(a: Mapping[int, int], b: Mapping[int, int]) -> int:
    """Return by how many steps buckets have to become coarser, so that they are not too many."""
    if not (a or b):
        return 0
    low, high, steps = min((*a, *b)), max((*a, *b)) + 1, 0
    while high - low > BUCKETS_MAX:
        low, high, steps = low >> 1, high >> 1, steps + 1
    return steps


def _widened(total: ExponentialTotal, threshold: float) -> ExponentialTotal:
    """Return a total whose zero bucket reaches to the end of the bucket with that threshold."""
    if threshold <= total.zero_threshold:
        return total
    last = math.ceil(math.ldexp(math.log2(threshold), total.scale)) - 1
    inside = sum(n for side in (total.positive, total.negative) for i, n in side.items() if i <= last)
    positive, negative = ({i: n for i, n in side.items() if i > last} for side in (total.positive, total.negative))
    end = 2.0 ** min(math.ldexp(last + 1, -total.scale), _EXPONENT_MAX)
    return evolve(
        total,
        zero_threshold=max(end, threshold),
        zero_count=total.zero_count + inside,
        positive=positive,
        negative=negative,
    )


def _together(a: Mapping[int, int], b: Mapping[int, int]) -> dict[int, int]:
    return _merged((*a.items(), *b.items()))


def _merged(pairs: Iterable[tuple[int, int]]) -> dict[int, int]:
    found: dict[int, int] = {}
    for index, count in pairs:
        found[index] = found.get(index, 0) + count
    return found


def _write_exponential(total: ExponentialTotal, point: Any) -> Any:
    made = _copy(total, point)
    made.count, made.scale, made.zero_count = total.count, total.scale, total.zero_count
    made.zero_threshold = total.zero_threshold or ZERO_THRESHOLD
    _write_sum(made, total.sum)
    for buckets, counts in ((made.positive, total.positive), (made.negative, total.negative)):
        first, last = min(counts, default=0), max(counts, default=-1)
        buckets.offset = first
        buckets.bucket_counts[:] = [counts.get(i, 0) for i in range(first, last + 1)]
    return made


_WAYS: Final[Mapping[str, tuple[Any, Any, Any]]] = {
    "sum": (_read_number, _add_number, _write_number),
    "histogram": (_read_histogram, _add_histogram, _write_histogram),
    "exponential_histogram": (_read_exponential, _add_exponential, _write_exponential),
}
"""How a point is read, added to a total, and written with it."""
