"""Whatever parses can be evaluated: the answer is a result or an error of the query, never another exception."""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tinyobs.errors import QueryError
from tinyobs.model.histograms import Histogram
from tinyobs.model.labels import from_mapping
from tinyobs.model.staleness import STALE_NAN
from tinyobs.promql.engine import PromqlEngine
from tinyobs.promql.limits import EngineOptions
from tinyobs.promql.nodes import Expr, ValueType
from tinyobs.promql.printer import to_text

from .memory import MemoryStore
from .running import FEATURES
from .test_parser_fuzz import expressions

ODD = (0.0, -0.0, 1.0, -2.5, np.nan, np.inf, -np.inf, 1e308, 5e-324, STALE_NAN)
HISTOGRAMS = (
    Histogram(0, 0.001, 1.0, 6.0, 3.0, ((0, 2),), (2.0, 3.0), ((1, 1),), (0.0,)),
    Histogram(3, 0.001, 0.0, 0.0, np.nan, (), ()),
    Histogram(-53, 0.0, 0.0, 3.0, 1.0, ((0, 3),), (1.0, 2.0, 0.0), custom_values=(0.1, 2.0)),
)


def store() -> MemoryStore:
    """Return series with the names and labels of the drawn expressions, and samples of every odd kind."""
    made = MemoryStore({})
    for i, name in enumerate(("a", "foo:bar", "sum", "by", "start", "fill", "_x1")):
        for j, more in enumerate(({}, {"a": "a|b"}, {"by": "a", "on": "b", "le": "0.5"}, {"x.y": "1", "le": "+Inf"})):
            kinds = (*ODD, *HISTOGRAMS) if (i + j) % 3 else ODD
            samples = [(t * 15_000, kinds[(t + i + j) % len(kinds)]) for t in range(-40, 40) if (t + j) % 5]
            made.add(from_mapping({"__name__": name, "z": "needed", **more}), samples)
    return made


STORE = store()
EARLY = PromqlEngine(
    EngineOptions(features=FEATURES, samples_max=2_000_000, timeout_seconds=5.0, use_start_timestamps=True)
)
DELAYED = PromqlEngine(
    EngineOptions(
        features=FEATURES,
        samples_max=2_000_000,
        timeout_seconds=5.0,
        delayed_name_removal=True,
        type_and_unit_labels=True,
    )
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from([ValueType.VECTOR, ValueType.VECTOR, ValueType.SCALAR, ValueType.MATRIX]).flatmap(expressions),
    st.booleans(),
    st.integers(-(10**6), 10**6),
    st.sampled_from([1, 250, 15_000, 60_000]),
)
def test_what_parses_gives_a_result_or_an_error_of_the_query(
    expr: Expr, delayed: bool, at_ms: int, step_ms: int
) -> None:
    """At one moment and over a range; results keep to their contract."""
    text, engine = to_text(expr), DELAYED if delayed else EARLY
    assume(len(text) < 2000)
    for ask in (
        lambda: engine.instant(STORE, text, at_ms),
        lambda: engine.range(STORE, text, at_ms, at_ms + 5 * step_ms, step_ms),
    ):
        try:
            columns = ask().columns
        except QueryError:
            continue
        assert len(set(columns.labels)) == len(columns.labels)
        assert int(columns.offsets[-1]) == len(columns.values) == len(columns.timestamps_ms)
        for i in range(len(columns)):
            assert (np.diff(columns.one(i)[1]) > 0).all()
