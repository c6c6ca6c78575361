"""What a query may cost, and the meter that stops it.

`EngineOptions` are the settings; a `Budget` belongs to one running query and is polled per block.  Not here: limits
of the HTTP layer (points per series, concurrency).  The wording of the errors is that of Prometheus.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from attrs import define, field, frozen

from ..errors import LimitExceeded, QueryError, QueryExecutionError, QueryTimeout

LOOKBACK_MS: Final = 300_000
"""How far back an instant selector looks for a sample."""
SUBQUERY_STEP_MS: Final = 60_000
"""Resolution of a subquery that names none: the global evaluation interval."""
SAMPLES_MAX: Final = 50_000_000
PARSED_QUERIES_MAX: Final = 512
"""Parsed queries remembered."""


@frozen
class EngineOptions:
    """Settings of an engine; 0 switches a limit off.

    delayed_name_removal: names are dropped at the very end of the evaluation (a feature flag of Prometheus).
    type_and_unit_labels: judge counters by the label `__type__` instead of the suffix of the name.
    use_start_timestamps: let functions of counters see since when samples count.
    """

    lookback_ms: int = LOOKBACK_MS
    subquery_step_ms: int = SUBQUERY_STEP_MS
    timeout_seconds: float = 120.0
    samples_max: int = SAMPLES_MAX
    series_max: int = 0
    points_max: int = 0
    features: frozenset[str] = frozenset()
    delayed_name_removal: bool = False
    type_and_unit_labels: bool = False
    use_start_timestamps: bool = False


class QueryLimitExceeded(QueryExecutionError, LimitExceeded):
    """A query would cost more than a setting allows; `limit` names the setting."""

    def __init__(self, limit: str, message: str) -> None:
        LimitExceeded.__init__(self, limit, message)


@define
class Budget:
    """The meter of one query: samples read, samples held, series touched, time.

    `check` is the caller's: it raises to cancel.  `deadline` is in seconds of `time.monotonic()`, 0 for none.
    """

    options: EngineOptions
    deadline: float = 0.0
    check: Callable[[], None] | None = None
    samples_read: int = 0
    series: int = 0
    held: int = 0
    peak: int = 0
    _last_poll: float = field(default=0.0)

    def poll(self) -> None:
        """Raise when the query is cancelled or late; called once per block."""
        if self.check is not None:
            self.check()
        if self.deadline and time.monotonic() > self.deadline:
            raise QueryTimeout("query timed out in expression evaluation")

    def read(self, samples: int) -> None:
        """Count samples that were just loaded and are held until the block is done."""
        self.samples_read += samples
        self._see(self.held + samples)

    def hold(self, points: int) -> None:
        """Count points that stay in memory until the query ends."""
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


def canceled(error: BaseException) -> bool:
    """Tell whether an error is one that a `check` raised on purpose, to be passed on unchanged."""
    return isinstance(error, QueryError)
