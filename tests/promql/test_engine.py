"""The engine: kinds of results, their order, limits, cancellation, statistics, and what it says when it fails."""

from __future__ import annotations

import math
import sys
import threading

import pytest

from tinyobs.errors import LimitExceeded, QueryCanceled, QueryError, QueryExecutionError, QueryParseError, QueryTimeout
from tinyobs.model.labels import from_mapping
from tinyobs.promql import engine as engine_module
from tinyobs.promql.engine import PromqlEngine
from tinyobs.promql.limits import (
    PARSED_QUERIES_MAX,
    Budget,
    EngineOptions,
    MemoryPool,
    QueryLimitExceeded,
    QueryMemoryExhausted,
)
from tinyobs.promql.nodes import Expr, ValueType
from tinyobs.promql.result_cache import is_reusable

from .memory import MemoryStore
from .running import FEATURES


def store(series: int = 3, samples: int = 10) -> MemoryStore:
    """Return `m_total{i}` with a sample every 15 s from 0 on, growing by `i` each time."""
    data = {}
    for i in range(series):
        labels = from_mapping({"__name__": "m_total", "i": f"{i:04}"})
        data[labels] = [(15_000 * k, float(i * k)) for k in range(samples)]
    return MemoryStore.of(data)


def test_kinds_of_instant_results() -> None:
    """Each type of expression gives its type of result."""
    engine = PromqlEngine()
    vector = engine.instant(store(), "m_total", 60_000)
    assert vector.type is ValueType.VECTOR
    assert vector.columns.values.tolist() == [0, 4, 8]
    assert vector.columns.timestamps_ms.tolist() == [60_000] * 3
    scalar = engine.instant(store(), "1 + 2", 60_000)
    assert (scalar.type, scalar.columns.values.tolist()) == (ValueType.SCALAR, [3])
    text = engine.instant(store(), "'x'", 60_000)
    assert (text.type, text.text) == (ValueType.STRING, "x")
    matrix = engine.instant(store(), "m_total[30s]", 60_000)
    assert matrix.type is ValueType.MATRIX
    assert matrix.columns.one(2)[1].tolist() == [45_000, 60_000]


def test_range_results_are_matrices_sorted_by_labels() -> None:
    """A range query gives a matrix, also for a scalar; series are sorted and never empty."""
    engine = PromqlEngine()
    result = engine.range(store(), "sort_desc(m_total) > 2", 0, 60_000, 30_000)
    assert result.type is ValueType.MATRIX
    assert list(result.columns.labels) == sorted(result.columns.labels)
    assert len(result.columns) == 2
    assert engine.range(store(), "time()", 0, 60_000, 30_000).columns.values.tolist() == [0, 30, 60]


def test_results_do_not_depend_on_the_number_of_series() -> None:
    """More series than fit one block give the same as few."""
    engine = PromqlEngine()
    many = store(series=10_000, samples=3)
    assert engine.instant(many, "count(m_total)", 30_000).columns.values.tolist() == [10_000]
    total = engine.instant(many, "sum(m_total)", 30_000).columns.values[0]
    assert total == 2 * sum(range(10_000))


@pytest.mark.parametrize("query", ["m_total[1m]", "'text'"])
def test_range_query_of_another_type(query: str) -> None:
    """Only vectors and scalars have a range query; the error is the client's."""
    with pytest.raises(QueryError, match="invalid expression type") as caught:
        PromqlEngine().range(store(), query, 0, 60_000, 15_000)
    assert caught.value.kind == "bad_data"


def test_nonsense_ranges_are_refused() -> None:
    """A step of zero or an end before the start is an error."""
    for start, end, step in ((0, 10, 0), (10, 0, 5)):
        with pytest.raises(QueryExecutionError):
            PromqlEngine().range(store(), "m_total", start, end, step)


def test_parse_errors_pass_through() -> None:
    """A text that is no PromQL raises the parser's error."""
    with pytest.raises(QueryParseError):
        PromqlEngine().instant(store(), "sum(", 0)


@pytest.mark.parametrize(
    ("options", "limit", "words"),
    [
        (EngineOptions(samples_max=5), "query_samples_max", "too many samples into memory in query execution"),
        (EngineOptions(series_max=2), "query_series_max", "more than the limit of 2"),
        (EngineOptions(points_max=2), "query_points_max", "more than the limit of 2"),
        (EngineOptions(memory_max=500), "query_memory_max", "more than the limit of 500"),
    ],
)
def test_limits(options: EngineOptions, limit: str, words: str) -> None:
    """A query beyond a limit fails, and the error names the setting."""
    with pytest.raises(QueryExecutionError, match=words) as caught:
        PromqlEngine(options).instant(store(), "m_total", 60_000)
    assert isinstance(caught.value, LimitExceeded)
    assert caught.value.limit == limit


def test_memory_of_all_queries_together() -> None:
    """A query that would need more than is left fails for now, and gives back what it had."""
    pool = MemoryPool(40 << 20)
    engine = PromqlEngine(memory=pool)
    with pytest.raises(QueryMemoryExhausted, match="query_memory_total_max") as caught:
        engine.range(store(600, 10), "m_total * 2", 0, 60_000, 10)
    assert caught.value.kind == "unavailable"
    assert pool.used == 0
    pool.bytes_max = 0
    assert len(engine.range(store(600, 10), "m_total * 2", 0, 60_000, 10).columns) == 600
    assert pool.used == 0


def test_the_meter_can_be_watched() -> None:
    """Whoever asks gets the meter before the evaluation begins, and sees it run."""
    meters: list[Budget] = []
    PromqlEngine().instant(store(), "m_total", 60_000, watch=meters.append)
    assert meters[0].samples_read > 0
    assert meters[0].series > 0


def test_streaming_needs_no_room_for_the_whole() -> None:
    """An aggregation over more points than the limit works, since it never holds them at one time."""
    options = EngineOptions(samples_max=200_000)
    result = PromqlEngine(options).range(store(3000, 10), "sum(rate(m_total[1m]))", 60_000, 120_000, 100)
    assert len(result.columns.values) == 601


def test_timeout() -> None:
    """A query past its deadline stops with upstream's words."""
    with pytest.raises(QueryTimeout, match="query timed out in expression evaluation"):
        PromqlEngine().instant(store(), "m_total", 60_000, timeout_seconds=1e-9)


def test_cancellation() -> None:
    """The caller's check is called for every block, and what it raises ends the query."""
    calls = 0

    def check() -> None:
        nonlocal calls
        calls += 1
        if calls > 3:
            raise QueryCanceled("query was canceled in expression evaluation")

    with pytest.raises(QueryCanceled):
        PromqlEngine().instant(store(), "sum(m_total) + sum(m_total)", 60_000, check=check)


def test_statistics() -> None:
    """The result tells what was read."""
    statistics = PromqlEngine().instant(store(), "rate(m_total[1m])", 60_000).statistics
    assert (statistics.series, statistics.samples_read) == (3, 12)
    assert statistics.samples_peak >= 12
    assert statistics.evaluate_seconds > 0


def test_equal_selectors_are_selected_once() -> None:
    """A selector that occurs twice over the same time is asked of storage once."""
    assert PromqlEngine().instant(store(), "m_total / m_total", 60_000).statistics.series == 3


def test_parsed_queries_are_remembered() -> None:
    """The same text is parsed once."""
    engine = PromqlEngine()
    assert engine.parse("m_total + 1") is engine.parse("m_total + 1")


def test_queries_that_are_judged_in_several_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether steps may be used again is remembered of so many, however many threads find that out at the same time."""
    engine = PromqlEngine()
    others = iter(["b_total", "c_total"])

    def judged(expr: Expr) -> bool:
        for text in others:
            engine._is_reusable(text)  # by another thread
        return is_reusable(expr)

    monkeypatch.setattr(engine_module, "is_reusable", judged)
    engine._reusable = {f"m{i}": True for i in range(PARSED_QUERIES_MAX)}
    assert engine._is_reusable("a_total")
    assert len(engine._reusable) == PARSED_QUERIES_MAX
    assert {"a_total", "b_total", "c_total"} <= set(engine._reusable)


def test_lookback_of_one_query() -> None:
    """A query may bring its own lookback."""
    engine = PromqlEngine()
    assert len(engine.instant(store(), "m_total", 200_000).columns) == 3
    assert len(engine.instant(store(), "m_total", 200_000, lookback_ms=10_000).columns) == 0


def test_names_are_dropped_early_or_late() -> None:
    """With delayed removal a name survives until the end, where label_replace can still see it."""
    query = 'label_replace(rate(m_total[1m]), "was", "$1", "__name__", "(.+)")'
    early = PromqlEngine().instant(store(1), query, 60_000).columns.labels[0]
    late = PromqlEngine(EngineOptions(delayed_name_removal=True)).instant(store(1), query, 60_000).columns.labels[0]
    assert dict(early) == {"i": "0000"}
    assert dict(late) == {"i": "0000", "was": "m_total"}


def test_equal_labels_after_dropping_names() -> None:
    """Two metrics that become one series at a step are an error; at different steps they are merged."""
    a, b = from_mapping({"__name__": "a", "i": "1"}), from_mapping({"__name__": "b", "i": "1"})
    both = MemoryStore.of({a: [(0, 1.0)], b: [(0, 2.0)]})
    with pytest.raises(QueryExecutionError, match="vector cannot contain metrics with the same labelset"):
        PromqlEngine().instant(both, '-{__name__=~"a|b"}', 0)
    apart = MemoryStore.of({a: [(0, 1.0)], b: [(600_000, 2.0)]})
    result = PromqlEngine().range(apart, '-{__name__=~"a|b"}', 0, 600_000, 600_000)
    assert result.columns.values.tolist() == [-1, -2]
    with pytest.raises(QueryExecutionError, match="same labelset"):
        PromqlEngine().range(apart, 'count_over_time({__name__=~"a|b"}[1m])', 0, 600_000, 600_000)


def test_types_tell_counters_when_asked() -> None:
    """With type labels, `__type__` decides what is a counter, and goes with the name."""
    labels = from_mapping({"__name__": "m_total", "__type__": "gauge"})
    engine = PromqlEngine(EngineOptions(type_and_unit_labels=True))
    result = engine.instant(MemoryStore.of({labels: [(0, 1.0), (15_000, 2.0)]}), "rate(m_total[1m])", 20_000)
    assert result.columns.labels[0] == ()
    assert result.infos == (
        "PromQL info: metric might not be a counter, __type__ label is not set to "
        '"counter" or "histogram", got "gauge": "m_total" (1:6)',
    )


def test_computed_durations_that_make_no_sense() -> None:
    """A computed range must be positive; division by zero is named."""
    engine = PromqlEngine(EngineOptions(features=FEATURES))
    for query, words in (("m_total[1m-2m]", "greater than 0"), ("m_total[1m/(2-2)]", "division by zero")):
        with pytest.raises(QueryError, match=words) as caught:
            engine.instant(store(), f"rate({query})", 0)
        assert caught.value.kind == "bad_data"


def test_nothing_to_read() -> None:
    """Selectors without series, and queries without selectors, work."""
    engine = PromqlEngine()
    for query in ("none", "sum(none)", "rate(none[1m])", "none + none", "topk(1, none)", "sum_over_time(none[1m:1s])"):
        assert len(engine.instant(MemoryStore({}), query, 0).columns) == 0
    assert math.isnan(engine.instant(MemoryStore({}), "scalar(none)", 0).columns.values[0])


def test_threads_share_an_engine() -> None:
    """Queries from several threads do not disturb one another."""
    engine, data = PromqlEngine(), store(200, 20)
    results: list[float] = []

    def work() -> None:
        for k in range(20):
            found = engine.instant(data, f"sum(m_total) + {k}", 150_000)
            results.append(float(found.columns.values[0]) - k)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(results)) == 1
    assert len(results) == 80


def test_the_highest_trees_are_evaluated() -> None:
    """A chain of operators as long as the parser takes is no problem; called from deep inside it is an error."""
    engine, query = PromqlEngine(), "m_total" + " + m_total" * 240
    assert engine.instant(store(2), query, 60_000).columns.values.tolist() == [0, 241 * 4]

    def sink(depth: int) -> None:
        if depth:
            sink(depth - 1)
        else:
            engine.instant(store(2), query, 60_000)

    with pytest.raises(QueryExecutionError, match="nested too deeply"):
        sink(sys.getrecursionlimit() // 2)


@pytest.mark.parametrize(
    "text",
    [
        "sum_over_time(vector(1)[100y:1ms])",
        "sum_over_time(a[100y:1ms])",
        "count_over_time(max_over_time(a[10y:1s])[10y:1s])",
        "absent_over_time((a + 1)[200y:1ms])",
        "quantile_over_time(0.5, vector(time())[100y:1ms])",
    ],
)
def test_a_subquery_of_too_many_steps_is_refused_before_anything_is_made(text):
    """The limit on samples holds for the steps of subqueries, whatever they are about; no memory is asked for."""
    store = MemoryStore.of({(("__name__", "a"),): [(0, 1.0)]})
    with pytest.raises(QueryLimitExceeded, match="too many samples"):
        PromqlEngine().instant(store, text, 0)
