"""The general way: one data point of any form -> samples, by messages of the protobuf library.

What is wrong with a point is counted and said, and costs no other.  Samples are numbered by the place of their point in the
request, so that they can be brought into its order with those of the fast way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from attrs import define, field
from numpy.typing import NDArray

from ...model.exemplars import LABEL_CHARACTERS_MAX, Exemplar
from ...model.histograms import Histogram, Histograms, from_blobs, handles, pack, stale_histogram, without_handles
from ...model.labels import NAME, Labels, from_mapping
from ...model.staleness import STALE_NAN
from ..pushed import Faults
from .deltas import Conversion
from .histograms import exponential, refuse_many, with_custom_buckets
from .rules import MetricContext
from .schema import NO_RECORDED_VALUE
from .values import attributes_of, positional

NANOS_MAX: Final = 1 << 63
"""Times are below this, in nanoseconds since 1970."""
EXEMPLAR: Final = "exemplar"
"""The reason that exemplars are counted under; they are no data points."""

_HANDLE: Final = 0.0
"""Stands for a native histogram until it has its number."""


@define
class Rows:
    """Samples of points that came the general way.  point: the number of the point that a sample is of."""

    point: list[int] = field(factory=list)
    labels: list[Labels] = field(factory=list)
    times_ms: list[int] = field(factory=list)
    starts_ms: list[int] = field(factory=list)
    values: list[float] = field(factory=list)
    blobs: list[bytes] = field(factory=list)
    blob_at: list[int] = field(factory=list)
    exemplars: list[tuple[int, Exemplar]] = field(factory=list)
    """(row of its sample, the exemplar without its series)."""

    def __len__(self) -> int:
        return len(self.labels)

    def columns(self) -> tuple[NDArray[np.float64], Histograms | None]:
        """Return the values, and what the handles among them stand for."""
        values = without_handles(np.array(self.values, np.float64))
        if not self.blobs:
            return values, None
        table = from_blobs(self.blobs)
        values[self.blob_at] = handles(0, len(table))
        return values, table

    def exemplars_of(self, refs: NDArray[np.uint32]) -> list[Exemplar]:
        """Return the exemplars with the series of their rows, in order of time."""
        found = [Exemplar(int(refs[row]), e.labels, e.value, e.timestamp_ms, e.has_time) for row, e in self.exemplars]
        return sorted(found, key=lambda e: e.timestamp_ms)


class NeedsTotals(Exception):
    """There are deltas that have to be added up, and no totals were given."""


class PointReader:
    """Takes points one by one.  custom_buckets: explicit histograms become native ones.  totals: of deltas."""

    def __init__(self, faults: Faults, rows: Rows, custom_buckets: bool, totals: Conversion | None) -> None:
        self.faults, self.rows, self.custom_buckets, self.totals = faults, rows, custom_buckets, totals

    def take(self, number: int, context: MetricContext, point: Any) -> bool:
        """Take the point of that number in the request; False: it was left out and counted."""
        first = len(self.rows)
        try:
            self._take(number, context, point)
        except ValueError as e:
            self._undo(first)
            reason, text = e.args if len(e.args) == 2 else ("invalid", str(e))
            self.faults.add(reason, f'metric "{context.name}", data point {number + 1} of the request: {text}')
            return False
        return True

    def _undo(self, first: int) -> None:
        rows = self.rows
        for column in (rows.point, rows.labels, rows.times_ms, rows.starts_ms, rows.values):
            del column[first:]
        while rows.blob_at and rows.blob_at[-1] >= first:
            rows.blob_at.pop()
            rows.blobs.pop()
        while rows.exemplars and rows.exemplars[-1][0] >= first:
            rows.exemplars.pop()

    def _take(self, number: int, context: MetricContext, point: Any) -> None:
        time_ns = point.time_unix_nano
        if not 0 < time_ns < NANOS_MAX:
            raise ValueError("timestamp", "it has no time" if not time_ns else "its time is out of range")
        try:
            labels = context.labels(attributes_of(point.attributes))
        except ValueError as e:
            raise ValueError("labels", str(e)) from None
        is_stale = bool(point.flags & NO_RECORDED_VALUE)
        if context.converts and not is_stale:
            if self.totals is None:
                raise NeedsTotals
            point, key, total = self.totals.total(context, labels, point)
            self._take_kind(number, context, labels, point, is_stale)
            self.totals.keep(key, total)
        else:
            self._take_kind(number, context, labels, point, is_stale)

    def _take_kind(
        self, number: int, context: MetricContext, labels: dict[str, str], point: Any, is_stale: bool
    ) -> None:
        start_ms = point.start_time_unix_nano // 1_000_000 if context.counts else 0
        made = _Point(number, labels, point.time_unix_nano // 1_000_000, start_ms, is_stale)
        if context.kind in ("gauge", "sum"):
            self._number(context, made, point)
        elif context.kind == "summary":
            self._summary(context, made, point)
        elif context.kind == "histogram" and not self.custom_buckets:
            self._classic(context, made, point)
        else:
            make = exponential if context.kind == "exponential_histogram" else with_custom_buckets
            histogram = stale_histogram() if is_stale else make(point, context.is_delta)
            row = self._add_histogram(context, made, histogram)
            self._exemplars([(math.inf, row)], point.exemplars)

    def _number(self, context: MetricContext, made: _Point, point: Any) -> None:
        kind = point.WhichOneof("value")
        if kind is None and not made.is_stale:
            raise ValueError("no_value", "it has no value")
        row = self._add(context.family, made, float(getattr(point, kind)) if kind else 0.0)
        if context.kind == "sum":
            self._exemplars([(math.inf, row)], point.exemplars)

    def _summary(self, context: MetricContext, made: _Point, point: Any) -> None:
        self._add(f"{context.family}_sum", made, point.sum)
        self._add(f"{context.family}_count", made, float(point.count))
        refuse_many(point.quantile_values)
        for q in point.quantile_values:
            self._add(context.family, made, q.value, ("quantile", positional(q.quantile)))

    def _classic(self, context: MetricContext, made: _Point, point: Any) -> None:
        """Add the samples `_sum`, `_count` and `_bucket`, in this order."""
        refuse_many(point.explicit_bounds)
        if point.HasField("sum"):
            self._add(f"{context.family}_sum", made, point.sum)
        self._add(f"{context.family}_count", made, float(point.count))
        bucket, total, rows = f"{context.family}_bucket", 0, []
        for bound, count in zip(point.explicit_bounds, point.bucket_counts, strict=False):
            total = (total + count) & (1 << 64) - 1
            if bound < math.inf:
                rows.append((bound, self._add(bucket, made, float(total), ("le", positional(bound)))))
        rows.append((math.inf, self._add(bucket, made, float(point.count), ("le", "+Inf"))))
        self._exemplars(rows, point.exemplars)

    def _add(self, name: str, made: _Point, value: float, more: tuple[str, str] | None = None) -> int:
        """Add a sample and return its row."""
        labels = {**made.labels, NAME: name}
        if more is not None:
            labels[more[0]] = more[1]
        rows = self.rows
        rows.point.append(made.number)
        rows.labels.append(from_mapping(labels))
        rows.times_ms.append(made.time_ms)
        rows.starts_ms.append(made.start_ms)
        rows.values.append(STALE_NAN if made.is_stale else value)
        return len(rows.values) - 1

    def _add_histogram(self, context: MetricContext, made: _Point, histogram: Histogram) -> int:
        blob = pack(histogram)
        made.is_stale = False
        row = self._add(context.family, made, _HANDLE)
        self.rows.blobs.append(blob)
        self.rows.blob_at.append(row)
        return row

    def _exemplars(self, rows: Sequence[tuple[float, int]], messages: Sequence[Any]) -> None:
        """Add exemplars, each to the first row whose bound it is not above."""
        for message in messages:
            kind = message.WhichOneof("value")
            try:
                labels = _exemplar_labels(message)
            except ValueError:
                kind = None
            if kind is None:
                self.faults.add(EXEMPLAR, "an exemplar has no value, or labels that cannot be")
                continue
            value = float(getattr(message, kind))
            row = next((row for bound, row in sorted(rows) if value <= bound), rows[-1][1])
            time_ms = message.time_unix_nano // 1_000_000
            if time_ms >= NANOS_MAX // 1_000_000:
                time_ms = 0
            has_time = time_ms != 0
            stands = time_ms if has_time else self.rows.times_ms[row]
            self.rows.exemplars.append((row, Exemplar(0, labels, value, stands, has_time)))


@define
class _Point:
    number: int
    labels: dict[str, str]
    time_ms: int
    start_ms: int
    is_stale: bool


def _exemplar_labels(message: Any) -> Labels:
    """Return the ids of trace and span, and the attributes where they do not make it too long."""
    labels = {}
    if any(message.trace_id):
        labels["trace_id"] = message.trace_id.hex()
    if any(message.span_id):
        labels["span_id"] = message.span_id.hex()
    attributes = dict(attributes_of(message.filtered_attributes))
    if sum(len(n) + len(v) for n, v in (*labels.items(), *attributes.items())) <= LABEL_CHARACTERS_MAX:
        labels = {**attributes, **labels}
    return from_mapping(labels)
