"""What a query may cost, and the meter that stops it.

`EngineOptions` are the settings; a `Budget` belongs to one running query and is polled per block.  Not here: limits
of the HTTP layer (points per series, concurrency).  The wording of the errors is that of Prometheus.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from threading import Lock, get_ident
from typing import Final

from attrs import Factory, define, evolve, frozen

from ..errors import LimitExceeded, QueryError, QueryExecutionError, QueryTimeout

LOOKBACK_MS: Final = 300_000
"""How far back an instant selector looks for a sample."""
SUBQUERY_STEP_MS: Final = 60_000
"""Resolution of a subquery that names none: the global evaluation interval."""
SAMPLES_MAX: Final = 50_000_000
SAMPLE_BYTES: Final = 16
"""Memory of a sample in the estimate: its time and its value."""
SERIES_BYTES: Final = 200
"""Memory of a selected series in the estimate: its labels and what is worked out of them."""
POOL_STEP_BYTES: Final = 8 << 20
"""A query takes memory of the pool in such steps; one that needs less than a step takes none."""
PARSED_QUERIES_MAX: Final = 512
"""Parsed queries remembered."""


@frozen
class EngineOptions:
    """Settings of an engine; 0 switches a limit off.

    delayed_name_removal: names are dropped at the very end of the evaluation (a feature flag of Prometheus).
    type_and_unit_labels: judge counters by the label `__type__` instead of the suffix of the name.
    use_start_timestamps: let functions of counters see since when samples count.
    memory_max: bytes that a query may hold, estimated by `SAMPLE_BYTES` and `SERIES_BYTES`.
    """

    lookback_ms: int = LOOKBACK_MS
    subquery_step_ms: int = SUBQUERY_STEP_MS
    timeout_seconds: float = 120.0
    samples_max: int = SAMPLES_MAX
    series_max: int = 0
    points_max: int = 0
    memory_max: int = 0
    features: frozenset[str] = frozenset()
    delayed_name_removal: bool = False
    type_and_unit_labels: bool = False
    use_start_timestamps: bool = False

    def with_features(self, features: Iterable[str]) -> EngineOptions:
        """Return the options with features switched on, by the names of `--enable-feature`; others change nothing."""
        names = frozenset(features)
        return evolve(
            self,
            features=names,
            delayed_name_removal="promql-delayed-name-removal" in names,
            type_and_unit_labels="type-and-unit-labels" in names,
            use_start_timestamps="use-start-timestamps" in names,
        )


class QueryLimitExceeded(QueryExecutionError, LimitExceeded):
    """A query would cost more than a setting allows; `limit` names the setting."""

    def __init__(self, limit: str, message: str) -> None:
        LimitExceeded.__init__(self, limit, message)


class QueryMemoryExhausted(QueryError, LimitExceeded):
    """All running queries together would hold more than a setting allows; trying again later may succeed."""

    kind = "unavailable"


class MemoryPool:
    """What all running queries together may hold, in bytes; 0 for no limit.  Thread-safe."""

    def __init__(self, bytes_max: int = 0) -> None:
        self.bytes_max = bytes_max
        self.used = 0
        self._lock = Lock()

    def take(self, size: int) -> None:
        """Take some bytes; raises `QueryMemoryExhausted` when there are not so many left."""
        with self._lock:
            if self.bytes_max and self.used + size > self.bytes_max:
                raise QueryMemoryExhausted(
                    "query_memory_total_max",
                    f"running queries hold {self.used} bytes and this one needs {size} more, which is beyond the limit "
                    f"of {self.bytes_max} (query_memory_total_max)",
                )
            self.used += size

    def hold(self, size: int) -> None:
        """Count bytes that are there already, such as those of a result that is being sent."""
        with self._lock:
            self.used += size

    def give(self, size: int) -> None:
        """Give bytes back."""
        with self._lock:
            self.used -= size


@define
class Budget:
    """The meter of one query: samples read, samples held, series touched, time.

    `check` is the caller's: it raises to cancel.  `deadline` is in seconds of `time.monotonic()`, 0 for none.
    `pool` is shared with other queries; what was taken of it is given back by `close`.
    """

    options: EngineOptions
    deadline: float = 0.0
    check: Callable[[], None] | None = None
    pool: MemoryPool | None = None
    samples_read: int = 0
    series: int = 0
    held: int = 0
    peak: int = 0
    _pooled: int = 0
    _noted: int = POOL_STEP_BYTES
    _owner: int = Factory(get_ident)
    _lock: Lock = Factory(Lock)

    def __attrs_post_init__(self) -> None:
        self._noted = min(POOL_STEP_BYTES, self.options.memory_max or POOL_STEP_BYTES)

    def poll(self) -> None:
        """Raise when the query is cancelled or late; called once per block.

        `check` is called in the thread that began the query only: it may not know others.
        """
        if self.check is not None and get_ident() == self._owner:
            self.check()
        if self.deadline and time.monotonic() > self.deadline:
            raise QueryTimeout("query timed out in expression evaluation")

    def read(self, samples: int) -> None:
        """Count samples that were just loaded and are held until the block is done."""
        with self._lock:
            self.samples_read += samples
            self._see(self.held + samples)

    def hold(self, points: int) -> None:
        """Count points that stay in memory until the query ends."""
        with self._lock:
            self.held += points
            self._see(self.held)

    def touch(self, series: int) -> None:
        """Count selected series."""
        self.series += series
        limit = self.options.series_max
        if limit and self.series > limit:
            raise QueryLimitExceeded(
                "query_series_max",
                f"query touches {self.series} series, more than the limit of {limit} (query_series_max)",
            )
        self._see(self.held)

    def give(self, points: int) -> None:
        """Count the points of the result."""
        limit = self.options.points_max
        if limit and points > limit:
            raise QueryLimitExceeded(
                "query_points_max",
                f"query returns {points} points, more than the limit of {limit} (query_points_max)",
            )

    def _see(self, samples: int) -> None:
        self.peak = max(self.peak, samples)
        limit = self.options.samples_max
        if limit and samples > limit:
            raise QueryLimitExceeded(
                "query_samples_max", "query processing would load too many samples into memory in query execution"
            )
        size = samples * SAMPLE_BYTES + self.series * SERIES_BYTES
        if size > self._noted:
            self._reserve(size)

    def _reserve(self, size: int) -> None:
        """Take memory; called once for each step only, so that small queries take none."""
        limit = self.options.memory_max
        if limit and size > limit:
            raise QueryLimitExceeded(
                "query_memory_max",
                f"query would hold about {size} bytes in memory, more than the limit of {limit} (query_memory_max)",
            )
        taken = size // POOL_STEP_BYTES * POOL_STEP_BYTES
        if self.pool is not None:
            self.pool.take(taken - self._pooled)
        self._pooled = taken
        self._noted = min(taken + POOL_STEP_BYTES, limit or taken + POOL_STEP_BYTES)

    def close(self) -> None:
        """Give back what was taken of the pool."""
        if self.pool is not None and self._pooled:
            self.pool.give(self._pooled)
        self._pooled = 0


def canceled(error: BaseException) -> bool:
    """Tell whether an error is one that a `check` raised on purpose, to be passed on unchanged."""
    return isinstance(error, QueryError)
