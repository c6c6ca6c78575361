"""Random queries: every step of a range query is the instant query of that moment, whatever the way it is computed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyobs.errors import QueryError
from tinyobs.model.labels import Labels
from tinyobs.promql import evaluate, matching
from tinyobs.promql.engine import PromqlEngine
from tinyobs.promql.limits import EngineOptions
from tinyobs.promql.result import Result

from .random_queries import store, vectors
from .running import FEATURES

EARLY = PromqlEngine(EngineOptions(features=FEATURES))
LATE = PromqlEngine(EngineOptions(features=FEATURES, delayed_name_removal=True))
START, STEP, STEPS = 240_000, 45_000, 7
END = START + STEP * (STEPS - 1)
Points = dict[tuple[Labels, int], float]


def points(result: Result) -> Points:
    """Return (labels, time) -> value."""
    found: Points = {}
    for i in range(len(result.columns)):
        labels, times, values = result.columns.one(i)
        for t, v in zip(times.tolist(), values.tolist(), strict=True):
            assert (labels, t) not in found
            found[labels, t] = v
    return found


def ranged(engine: PromqlEngine, seed: int, query: str) -> Points | str:
    """Return the points of the range query, or its error."""
    try:
        return points(engine.range(store(seed), query, START, END, STEP))
    except QueryError as e:
        return str(e)


def assert_same(a: Points, b: Points) -> None:
    """Assert equality within rounding."""
    assert a.keys() == b.keys()
    for key in a:
        assert np.isclose(a[key], b[key], rtol=1e-9, atol=1e-9, equal_nan=True), (key, a[key], b[key])


@pytest.mark.parametrize("engine", [EARLY, LATE], ids=["early names", "late names"])
@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 5), query=vectors())
def test_a_range_is_its_instants(engine: PromqlEngine, seed: int, query: str) -> None:
    """The value at a step does not depend on the other steps; an error at one moment is an error of the range."""
    data = store(seed)
    whole = ranged(engine, seed, query)
    # The bounds of the query's own time range show in start() and end() only.
    query = query.replace("end()", f"{END / 1000}").replace("start()", f"{START / 1000}")
    found: Points = {}
    try:
        for t in range(START, END + 1, STEP):
            found.update(points(engine.instant(data, query, t)))
    except QueryError:
        assert isinstance(whole, str)
        return
    if isinstance(whole, str):
        # Two series may become one in a range although they never meet, which upstream refuses for range functions.
        assert "same labelset" in whole
        return
    assert_same(whole, found)


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 5), query=vectors())
def test_blocks_and_streams_do_not_show(seed: int, query: str) -> None:
    """Evaluating series by series, and checking every match step by step, changes nothing."""
    expected = ranged(EARLY, seed, query)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate, "_BLOCK_ROWS_MIN", 1)
        patch.setattr(evaluate, "_BLOCK_ROWS_MAX", 1)
        patch.setattr(matching, "_streamed", lambda *_: None)
        got = ranged(EARLY, seed, query)
    if isinstance(expected, str) or isinstance(got, str):
        assert got == expected
    else:
        assert_same(expected, got)
