"""What is counted for a destination, and the families that it becomes: the names that dashboards and alerts know.

Names, help and buckets: prometheus storage/remote/queue_manager.go `newQueueManagerMetrics`, tsdb/wlog/watcher.go.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from typing import Final

from attrs import define, field

from ...model.families import MetricFamily, Point
from ...model.labels import Labels, from_mapping
from ...model.metadata import MetricType

KINDS: Final = ("samples", "histograms", "exemplars", "metadata")
BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 60.0, 120.0, 300.0)
"""Upper bounds of the durations of requests, in seconds."""

TOO_OLD: Final = "too_old"
RELABELLED: Final = "dropped_series"
CUSTOM_BUCKETS: Final = "nhcb_in_rw1_not_supported"
SWITCHED_OFF: Final = "switched_off"
WITHOUT_SAMPLE: Final = "without_sample"
NO_ROOM: Final = "no_room"
AGGREGATED: Final = "aggregated"
"""Taken by a rule of stream aggregation."""

_PREFIX: Final = "prometheus_remote_storage_"
_SENT: Final = "Total number of {} sent to remote storage."
_FAILED: Final = "Total number of {} which failed on send to remote storage, non-recoverable errors."
_RETRIED: Final = "Total number of {} which failed on send but were retried because the error was recoverable."
_DROPPED: Final = "Total number of {} which were dropped after being read from the log before being sent."


def _zeros() -> dict[str, int]:
    return dict.fromkeys(KINDS, 0)


@define
class Durations:
    """A histogram of durations."""

    counts: list[int] = field(factory=lambda: [0] * (len(BUCKETS) + 1))
    total: float = 0.0

    def observe(self, seconds: float) -> None:
        """Add one."""
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.total += seconds


@define
class Counters:
    """Everything that counts since the start; a destination that a reload changes goes on with the same."""

    sent: dict[str, int] = field(factory=_zeros)
    """By kind, as are the next two."""
    failed: dict[str, int] = field(factory=_zeros)
    retried: dict[str, int] = field(factory=_zeros)
    dropped: dict[tuple[str, str], int] = field(factory=dict)
    """By (kind, reason)."""
    read: dict[str, int] = field(factory=_zeros)
    """Read from the log, by kind."""
    durations: Durations = field(factory=Durations)
    codes: dict[str, int] = field(factory=dict)
    """Answers by status, "" for none."""
    bytes: int = 0
    metadata_bytes: int = 0
    waits: int = 0
    halvings: int = 0
    lost: int = 0
    highest_ms: int = 0
    """The newest time that was put into a queue."""
    highest_sent_ms: int = 0

    def drop(self, kind: str, reason: str, count: int) -> None:
        """Count what is not sent."""
        if count:
            self.dropped[kind, reason] = self.dropped.get((kind, reason), 0) + count


@define
class Gauges:
    """What a destination says of itself now."""

    pending: Mapping[str, int]
    shards: int
    shards_min: int
    shards_max: int
    shards_desired: float
    capacity: int
    samples_per_send: int
    bytes_behind: int
    segment: int
    behind_ms: int
    """The newest time that is known to wait in the log; 0 when all has been read."""


def families_of(name: str, url: str, c: Counters, g: Gauges) -> Iterator[MetricFamily]:
    """Yield the families of one destination."""
    labels = from_mapping({"remote_name": name, "url": url})
    for kind in KINDS:
        what = "metadata entries" if kind == "metadata" else kind
        yield _family(f"{kind}_total", _SENT.format(what), c.sent[kind], labels)
        yield _family(f"{kind}_failed_total", _FAILED.format(what), c.failed[kind], labels)
        yield _family(f"{kind}_retried_total", _RETRIED.format(what), c.retried[kind], labels)
        if kind == "metadata":
            continue
        reasons = {RELABELLED, TOO_OLD} | {reason for dropped, reason in list(c.dropped) if dropped == kind}
        points = [
            Point(float(c.dropped.get((kind, r), 0)), from_mapping({"reason": r, **dict(labels)}))
            for r in sorted(reasons)
        ]
        yield MetricFamily(f"{_PREFIX}{kind}_dropped_total", MetricType.COUNTER, _DROPPED.format(what), points)
        yield _family(
            f"{kind}_pending",
            f"The number of {kind} pending in the queues shards to be sent to the remote storage.",
            g.pending[kind],
            labels,
        )
    yield _durations(c.durations, labels)
    for suffix, help, value in _gauges(c, g):
        yield _family(suffix, help, value, labels)
    yield from _own(name, labels, c, g)


def _gauges(c: Counters, g: Gauges) -> Iterator[tuple[str, str, float]]:
    yield "bytes_total", "The total number of bytes of data (not metadata) sent after compression.", c.bytes
    yield "metadata_bytes_total", "The total number of bytes of metadata sent after compression.", c.metadata_bytes
    yield "enqueue_retries_total", "Total number of times enqueue has failed because a shards queue was full.", c.waits
    newest = max(c.highest_ms, g.behind_ms) / 1000
    yield "queue_highest_timestamp_seconds", "Highest timestamp that was enqueued, or waits in the log.", newest
    yield (
        "queue_highest_sent_timestamp_seconds",
        "Highest timestamp successfully sent by this queue, in seconds since epoch.",
        c.highest_sent_ms / 1000,
    )
    yield "shards", "The number of shards used for parallel sending to the remote storage.", g.shards
    yield "shards_min", "The minimum number of shards that the queue is allowed to run.", g.shards_min
    yield "shards_max", "The maximum number of shards that the queue is allowed to run.", g.shards_max
    yield "shards_desired", "The number of shards that the shard calculation wants to run.", g.shards_desired
    yield "shard_capacity", "The capacity of each shard of the queue.", g.capacity
    yield "max_samples_per_send", "The maximum number of samples in a single request.", g.samples_per_send


def _own(name: str, labels: Labels, c: Counters, g: Gauges) -> Iterator[MetricFamily]:
    """Yield what Prometheus has no name for."""
    segment = "prometheus_wal_watcher_current_segment"
    point = Point(float(g.segment), from_mapping({"consumer": name}))
    yield MetricFamily(segment, MetricType.GAUGE, "Current file of the log that records are read from.", (point,))
    for suffix, help, value in (
        ("log_bytes_behind", "Bytes of the log that are still to be read.", g.bytes_behind),
        ("log_lost_samples_total", "Samples that the log dropped before they were read.", c.lost),
        ("halved_requests_total", "Requests that were refused as a whole and sent again in halves.", c.halvings),
    ):
        kind = MetricType.COUNTER if suffix.endswith("_total") else MetricType.GAUGE
        yield MetricFamily(f"tinyobs_remote_write_{suffix}", kind, help, (Point(float(value), labels),))
    yield MetricFamily(
        "tinyobs_remote_write_responses_total",
        MetricType.COUNTER,
        "Answers to requests by status code; none: no answer.",
        tuple(Point(float(n), from_mapping({"code": code, **dict(labels)})) for code, n in sorted(c.codes.items())),
    )


def _family(suffix: str, help: str, value: float, labels: Labels) -> MetricFamily:
    kind = MetricType.COUNTER if suffix.endswith("_total") else MetricType.GAUGE
    return MetricFamily(_PREFIX + suffix, kind, help, (Point(float(value), labels),))


def _durations(durations: Durations, labels: Labels) -> MetricFamily:
    points, count = [], 0
    for bound, more in zip((*BUCKETS, "+Inf"), durations.counts, strict=True):
        count += more
        points.append(
            Point(float(count), from_mapping({"le": str(bound).removesuffix(".0"), **dict(labels)}), "_bucket")
        )
    points += [Point(durations.total, labels, "_sum"), Point(float(count), labels, "_count")]
    return MetricFamily(
        _PREFIX + "sent_batch_duration_seconds",
        MetricType.HISTOGRAM,
        "Duration of send calls to the remote storage.",
        tuple(points),
    )
