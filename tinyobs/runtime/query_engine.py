"""The query engine of an agent: follows the configuration, and counts what queries cost.

A new configuration takes effect with the next query.  Not here: the limit on queries at one time, which is the desk's
(`tinyobs.web.queries`).  The names of the metrics are those of prometheus promql/engine.go, where the figure is the same.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from ..abc import Queryable
from ..errors import QueryCanceled
from ..model.families import MetricFamily, Point
from ..model.labels import from_mapping
from ..model.metadata import MetricType
from ..promql.engine import PromqlEngine
from ..promql.functions.registry import BUILT_IN, FunctionSet
from ..promql.limits import EngineOptions, MemoryPool
from ..promql.nodes import Expr
from ..promql.result import QueryStatistics, Result
from ..promql.result_cache import ResultCache

if TYPE_CHECKING:
    from ..config.schema import Config
    from .settings import AgentSettings


@frozen
class QueryEngineStatistics:
    """How the engine fares."""

    queries: int = field(metadata={"metric": "prometheus_engine_queries"})
    """Queries being evaluated or waiting for that."""
    queries_concurrent_max: int = field(metadata={"metric": "prometheus_engine_queries_concurrent_max"})
    """Queries that may be evaluated at one time (--query.max-concurrency)."""
    samples_read_total: int = field(metadata={"metric": "prometheus_engine_query_samples_total"})
    """Samples loaded from storage by queries that succeeded."""
    failures_total: int
    """Queries that ended with an error."""
    memory_bytes: int
    """Memory that running queries hold, estimated; those that need less than 8 MiB are not counted."""
    results_bytes: int
    """Memory taken by results of range queries that are remembered."""
    results_steps_reused_total: int
    """Steps of range queries that were remembered."""
    results_steps_evaluated_total: int
    """Steps of range queries that were not remembered, though they might have been."""
    duration: MetricFamily
    """Seconds that queries took, by stage."""


class ConfiguredEngine:
    """A `PromqlEngine` whose limits are those of the running configuration.  Thread-safe, as the engine is."""

    def __init__(
        self, settings: AgentSettings, config: Callable[[], Config], functions: FunctionSet = BUILT_IN
    ) -> None:
        self._settings, self._config = settings, config
        self._lock = Lock()
        self.memory = MemoryPool(config().tinyobs.query.memory_total_max_bytes)
        results = ResultCache(config().tinyobs.query.result_cache_size_bytes)
        self._engine = PromqlEngine(engine_options(settings, config()), functions, self.memory, results=results)
        self._running = self._count = self._failures = self._samples = 0
        self._prepare_seconds = self._evaluate_seconds = 0.0

    def instant(self, queryable: Queryable, text: str, time_ms: int, **given: Any) -> Result:
        """Evaluate at one moment; see `PromqlEngine.instant`."""
        return self._counted(lambda engine: engine.instant(queryable, text, time_ms, **given))

    def range(self, queryable: Queryable, text: str, start_ms: int, end_ms: int, step_ms: int, **given: Any) -> Result:
        """Evaluate over a range; see `PromqlEngine.range`."""
        return self._counted(lambda engine: engine.range(queryable, text, start_ms, end_ms, step_ms, **given))

    @property
    def functions(self) -> FunctionSet:
        """The functions that queries may call."""
        return self._engine.functions

    def parse(self, text: str) -> Expr:
        """Return the checked tree of a query; `QueryParseError` when it is none."""
        return self._current().parse(text)

    def statistics(self, queue: tuple[int, float] = (0, 0.0)) -> QueryEngineStatistics:
        """Return the counters; queue: how many queries wait now, and the seconds that queries have waited."""
        results = self._engine.results or ResultCache()
        with self._lock:
            stages = {
                "queue_time": queue[1],
                "prepare_time": self._prepare_seconds,
                "inner_eval": self._evaluate_seconds,
                "result_sort": 0.0,  # results are put in order while they are made
            }
            duration = MetricFamily(
                "prometheus_engine_query_duration_seconds",
                MetricType.SUMMARY,
                "Query timings, by stage.",
                tuple(
                    Point(float(value), from_mapping({"slice": stage}), suffix)
                    for stage, seconds in stages.items()
                    for suffix, value in (("_sum", seconds), ("_count", self._count))
                ),
            )
            return QueryEngineStatistics(
                self._running + queue[0],
                self._settings.queries_max,
                self._samples,
                self._failures,
                self.memory.used,
                results.bytes,
                results.hits,
                results.misses,
                duration,
            )

    def _counted(self, evaluate: Callable[[PromqlEngine], Result]) -> Result:
        engine = self._current()
        with self._lock:
            self._running += 1
        began = monotonic()
        cost = QueryStatistics()
        failed = False
        try:
            result = evaluate(engine)
        except BaseException as e:
            # A cancelled query is no failure: its client is gone, or it starts again in another thread.
            failed = not isinstance(e, QueryCanceled)
            cost = QueryStatistics(evaluate_seconds=monotonic() - began)
            raise
        else:
            cost = result.statistics
            return result
        finally:
            with self._lock:
                self._running -= 1
                self._count += 1
                self._failures += failed
                self._samples += cost.samples_read
                self._prepare_seconds += cost.prepare_seconds
                self._evaluate_seconds += cost.evaluate_seconds

    def _current(self) -> PromqlEngine:
        config = self._config()
        self.memory.bytes_max = config.tinyobs.query.memory_total_max_bytes
        options = engine_options(self._settings, config)
        if options != self._engine.options:  # other options may have other results
            self._engine = PromqlEngine(options, self._engine.functions, self.memory, results=ResultCache())
        assert self._engine.results is not None
        self._engine.results.bytes_max = config.tinyobs.query.result_cache_size_bytes
        return self._engine


def engine_options(settings: AgentSettings, config: Config) -> EngineOptions:
    """Return the limits of a query: what flags and the section `tinyobs.query` say."""
    return EngineOptions(
        lookback_ms=settings.lookback_ms,
        subquery_step_ms=config.global_config.evaluation_interval_ms,
        timeout_seconds=settings.query_seconds,
        samples_max=settings.query_samples_max,
        series_max=config.tinyobs.query.series_max,
        points_max=config.tinyobs.query.points_max,
        memory_max=config.tinyobs.query.memory_max_bytes,
    ).with_features(config.features)
