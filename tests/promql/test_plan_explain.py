"""Plans, and how they are explained: what is shared, folded, evaluated once, and what running showed."""

from __future__ import annotations

from tinyobs.model.labels import from_mapping
from tinyobs.promql import plan as p
from tinyobs.promql.durations import TimeRange
from tinyobs.promql.engine import PromqlEngine
from tinyobs.promql.explain import Tracer, explanation
from tinyobs.promql.grid import Grid, between

from .memory import MemoryStore

TIMES = TimeRange(600_000, 1_200_000, 60_000)


def planned(query: str, times: TimeRange = TIMES) -> p.Plan:
    """Return the plan of a range query."""
    grid = between(times.start_ms, times.end_ms, times.step_ms)
    return PromqlEngine().start(query, grid, times).plan


def test_constants_are_folded() -> None:
    """Arithmetic of numbers happens once, while planning."""
    root = planned("-(1 + 2 * 3) ^ 2").root
    assert isinstance(root, p.Constant)
    assert root.value == -49


def test_equal_selectors_share_a_source() -> None:
    """The same matchers over the same time are selected once; another offset is another source."""
    assert len(planned("m / (m + m)").sources) == 1
    assert len(planned("m - m offset 1m").sources) == 2


def test_what_does_not_change_is_evaluated_once() -> None:
    """An expression with only fixed times is planned for one step, at the highest possible place."""
    root = planned("m + sum(m @ 0)").root
    assert isinstance(root, p.BinaryNode)
    assert isinstance(root.right, p.Repeat)
    assert root.right.inner.steps == 1
    assert isinstance(planned("sum(m @ 0)").root, p.Repeat)
    assert not isinstance(planned("hour(m @ 0)").root, p.Repeat)


def test_sources_know_the_time_they_need() -> None:
    """Lookback, ranges, offsets, @ and subqueries all widen or move the time that is read."""
    cases = {
        "m": (300_001, 1_200_000),
        "m offset 1m": (240_001, 1_140_000),
        "m @ 1000": (700_001, 1_000_000),
        "m @ start()": (300_001, 600_000),
        "rate(m[2m])": (480_001, 1_200_000),
        "rate(m[2m] @ end())": (1_080_001, 1_200_000),
        "max_over_time(rate(m[2m])[5m:1m])": (240_001, 1_200_000),
    }
    for query, expected in cases.items():
        (source,) = planned(query).sources
        assert (source.mint_ms, source.maxt_ms) == expected, query


def test_grids_of_subqueries() -> None:
    """The inside of a subquery is evaluated on aligned multiples of its step over all windows."""
    root = planned("sum_over_time(m[3m:70s])").root
    assert isinstance(root, p.CallNode)
    (inner,) = root.arguments
    assert isinstance(inner, p.Inner)
    assert inner.inner.grid == Grid(420_000 + 70_000, 70_000, 11)


def test_explained_without_running() -> None:
    """The tree shows kinds of work and expressions."""
    lines = list(explanation(planned("sum by (job) (rate(m_total[5m])) > 1")).lines())
    assert [line.split(":")[0].strip() for line in lines] == [
        "operator >",
        "aggregation sum",
        "function rate",
        "range selector",
        "constant",
    ]
    assert "(11 steps)" in lines[0]


def test_explained_with_what_running_showed() -> None:
    """A traced query tells series, points and time of its parts; the result is the same."""
    store = MemoryStore.of(
        {from_mapping({"__name__": "m_total", "i": str(i)}): [(15_000 * k, k) for k in range(80)] for i in range(3)}
    )
    engine, tracer = PromqlEngine(), Tracer()
    run = engine.start("sum(rate(m_total[5m]))", between(600_000, 1_200_000, 60_000), TIMES, observe=tracer)
    result = engine.finish(store, run)
    step = tracer.explanation(run.plan)
    assert (step.series, step.points) == (1, len(result.columns.values)) == (1, 11)
    (rate,) = step.parts
    assert (rate.series, rate.points) == (3, 33)
    assert rate.seconds > 0
    assert "3 series, 33 points" in "\n".join(step.lines())


def test_a_trace_tells_what_a_selection_took() -> None:
    """Samples of a selection stand at each part that reads it; a range at the top is not evaluated and still counted."""
    store = MemoryStore.of({from_mapping({"__name__": "m"}): [(15_000 * k, k) for k in range(80)]})
    tracer = Tracer()
    PromqlEngine().instant(store, "m[5m]", 600_000, observe=tracer)
    step = tracer.explanation()
    assert (step.what, step.series, step.points, step.samples) == ("range selector", 1, 20, 20)
    assert (step.pages, step.cache_hits) == (0, 0)  # a store without pages
    assert step.seconds > 0
    tracer = Tracer()
    result = PromqlEngine().instant(store, "m + on() m", 600_000, observe=tracer)
    parts = tracer.explanation().parts
    assert [part.samples for part in parts] == [result.statistics.samples_read] * 2
    tracer = Tracer()
    PromqlEngine().instant(store, "1 + 1", 600_000, observe=tracer)
    assert tracer.explanation().what == "constant"
