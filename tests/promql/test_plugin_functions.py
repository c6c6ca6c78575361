"""Functions that plugins declare: what may be declared, what they are called with, and what happens when they fail."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tinyobs.errors import PluginError, QueryExecutionError, QueryParseError
from tinyobs.model.functions import Argument, PromqlFunction, Shape
from tinyobs.model.labels import Labels, from_mapping
from tinyobs.promql.blocks import Floats, Indexes, Mask
from tinyobs.promql.engine import PromqlEngine
from tinyobs.promql.plugin_functions import function_set

from .memory import MemoryStore

V, M, S, T = Argument.VECTOR, Argument.RANGE, Argument.SCALAR, Argument.STRING
A, B = from_mapping({"__name__": "m", "i": "a"}), from_mapping({"__name__": "m", "i": "b"})
STORE = MemoryStore.of(
    {A: [(t * 60_000, float(t)) for t in range(11)], B: [(t * 60_000, 10.0 * t) for t in range(0, 11, 2)]}
)


def twice(values: Floats) -> Floats:
    """Return double values."""
    return values * 2


def engine(*declared: PromqlFunction) -> PromqlEngine:
    """Return an engine with functions of a plugin."""
    return PromqlEngine(functions=function_set(("p", d) for d in declared))


def answer(declared: PromqlFunction, text: str, at: int = 600_000) -> dict[str, float]:
    """Return label `i` -> value of an instant query."""
    columns = engine(declared).instant(STORE, text, at).columns
    return {dict(x).get("i", ""): v for x, v in zip(columns.labels, columns.values.tolist(), strict=True)}


def test_an_elementwise_function_gets_blocks_and_scalars_of_each_step() -> None:
    """The name goes as with functions of the language; scalars change with the step."""

    def swapped(v: Floats, s: Floats, word: str) -> Floats:
        return v * s + len(word)

    scaled = PromqlFunction("scaled", swapped, Shape.ELEMENTWISE, (S, V, T))
    result = engine(scaled).range(STORE, 'scaled(time() / 60, m{i="a"}, "abc")', 0, 180_000, 60_000)
    assert result.columns.labels == [(("i", "a"),)]
    assert result.columns.values.tolist() == [3.0, 4.0, 7.0, 12.0]


def test_a_window_function_gets_windows_of_equal_length() -> None:
    """Times and values stand in rows; too short windows give nothing; scalars come one for each row."""
    seen = []

    def last_plus(times: Indexes, values: Floats, more: Floats) -> Floats:
        seen.append(values.shape)
        assert times.shape == values.shape
        assert (np.diff(times, axis=1) > 0).all()
        return values[:, -1] + more

    declared = PromqlFunction("last_plus", last_plus, Shape.WINDOW, (M, S), samples_min=2)
    assert answer(declared, "last_plus(m[3m], 100)") == {"a": 110.0, "b": 200.0}
    assert sorted(seen) == [(1, 2), (1, 3)]
    assert answer(declared, "last_plus(m[2m], 100)") == {"a": 110.0}
    inner = engine(declared).range(STORE, "last_plus(m[4m:2m], time())", 540_000, 600_000, 60_000)
    assert inner.columns.values.tolist() == [8.0 + 540, 10.0 + 600, 80.0 + 540, 100.0 + 600]


def test_a_vector_function_gets_all_series_and_may_return_others() -> None:
    """Labels may change, series may come and go, and equal ones without a common step become one."""

    def halves(labels: list[Labels], values: Floats, present: Mask) -> Any:
        out = [(("half", dict(x)["i"]),) for x in labels]
        return out, values / 2, present & (values > 10)

    declared = PromqlFunction("halves", halves, Shape.VECTOR, (V,), keeps_name=True)
    result = engine(declared).instant(STORE, "halves(m)", 600_000)
    assert result.columns.labels == [(("half", "b"),)]
    assert result.columns.values.tolist() == [50.0]


def test_arguments_may_be_optional_or_repeated() -> None:
    """Counts are checked with the words of the language."""

    def plus(values: Floats, *more: Any) -> Floats:
        return values + sum(more)

    optional = PromqlFunction("plus", plus, Shape.ELEMENTWISE, (V, S, S), optional=2)
    assert answer(optional, 'plus(m{i="a"})') == {"a": 10.0}
    assert answer(optional, 'plus(m{i="a"}, 1, 2)') == {"a": 13.0}
    with pytest.raises(QueryParseError, match=r'expected at most 3 argument\(s\) in call to "plus", got 4'):
        answer(optional, "plus(m, 1, 2, 3)")
    with pytest.raises(QueryParseError, match='expected type scalar in call to function "plus", got string'):
        answer(optional, 'plus(m, "x")')
    repeated = PromqlFunction("plus", plus, Shape.ELEMENTWISE, (V, S), repeated=True)
    assert answer(repeated, 'plus(m{i="a"})') == {"a": 10.0}
    assert answer(repeated, 'plus(m{i="a"}, 1, 2, 3, 4)') == {"a": 20.0}
    with pytest.raises(QueryParseError, match="expected at least 1 argument"):
        answer(repeated, "plus()")


@pytest.mark.parametrize(
    ("declared", "fault"),
    [
        (PromqlFunction("rate", twice, Shape.ELEMENTWISE, (V,)), "Prometheus has a function of this name"),
        (PromqlFunction("sum", twice, Shape.ELEMENTWISE, (V,)), "it is a word of the language"),
        (PromqlFunction("Offset", twice, Shape.ELEMENTWISE, (V,)), "it is a word of the language"),
        (PromqlFunction("a:b", twice, Shape.ELEMENTWISE, (V,)), "a name is letters, digits and underscores"),
        (PromqlFunction("f", twice, Shape.ELEMENTWISE, (M,)), "exactly one argument of .* elementwise is a vector"),
        (PromqlFunction("f", twice, Shape.ELEMENTWISE, (V, V)), "exactly one argument"),
        (PromqlFunction("f", twice, Shape.WINDOW, (V,)), "exactly one argument of .* window is a range"),
        (PromqlFunction("f", twice, Shape.WINDOW, (M,)), "its call cannot take 2 arguments: too many positional"),
        (PromqlFunction("f", twice, Shape.ELEMENTWISE, (V, S), optional=1), "its call cannot take 2 arguments"),
        (PromqlFunction("f", twice, Shape.ELEMENTWISE, (V,), optional=1), "the vector cannot be left out"),
        (PromqlFunction("f", twice, Shape.ELEMENTWISE, (S, V), repeated=True), "the vector cannot be left out"),
        (PromqlFunction("f", print, Shape.ELEMENTWISE, (V, S), 1, True), "arguments are either optional or repeated"),
        (PromqlFunction("f", twice, Shape.ELEMENTWISE, (V,), samples_min=0), "samples_min is at least 1"),
        (PromqlFunction("f", 7, Shape.ELEMENTWISE, (V,)), "its call is not callable"),  # type: ignore[arg-type]
    ],
)
def test_a_declaration_that_cannot_be_stops_the_start(declared: PromqlFunction, fault: str) -> None:
    """The message names plugin and function."""
    with pytest.raises(PluginError, match=f"plugin 'p' cannot add the PromQL function '{declared.name}': {fault}"):
        function_set([("p", declared)])


def test_a_name_belongs_to_one_plugin() -> None:
    """The second one is told who has it; what is no declaration is named too."""
    declared = PromqlFunction("twice", twice, Shape.ELEMENTWISE, (V,))
    with pytest.raises(PluginError, match=r"plugin 'q' .* 'twice': plugin 'p' has one of this name"):
        function_set([("p", declared), ("q", declared)])
    with pytest.raises(PluginError, match="plugin 'p' gave 7 as a PromQL function"):
        function_set([("p", 7)])


def broken(*_: Any) -> Any:
    """Raise."""
    raise ValueError("no luck")


@pytest.mark.parametrize(
    ("declared", "text", "fault"),
    [
        (PromqlFunction("f", broken, Shape.ELEMENTWISE, (V,)), "f(m)", "ValueError: no luck"),
        (PromqlFunction("f", broken, Shape.WINDOW, (M,)), "f(m[5m])", "ValueError: no luck"),
        (PromqlFunction("f", broken, Shape.VECTOR, (V,)), "f(m)", "ValueError: no luck"),
        (
            PromqlFunction("f", lambda v: v[:1], Shape.ELEMENTWISE, (V,)),
            "f(m)",
            r"values must be float64 of shape \(2, 1\), not float64 of \(1, 1\)",
        ),
        (PromqlFunction("f", lambda v: v.astype(str), Shape.ELEMENTWISE, (V,)), "f(m)", "values must be float64"),
        (PromqlFunction("f", lambda t, v: v, Shape.WINDOW, (M,)), "f(m[5m])", "values must be float64 of shape"),
        (
            PromqlFunction("f", lambda n, v, p: v, Shape.VECTOR, (V,)),
            "f(m)",
            "it must return labels, values and present",
        ),
        (PromqlFunction("f", lambda n, v, p: (n, v, v), Shape.VECTOR, (V,)), "f(m)", "present must be bool of shape"),
    ],
)
def test_a_fault_while_a_query_runs_is_an_error_of_that_query(declared: PromqlFunction, text: str, fault: str) -> None:
    """It names function and plugin, and is an execution error as any other."""
    with pytest.raises(QueryExecutionError, match=f"function f of plugin 'p' failed: {fault}") as caught:
        engine(declared).instant(STORE, text, 600_000)
    assert caught.value.kind == "execution"


def test_functions_are_those_of_one_engine() -> None:
    """Another engine does not know them, and the language stays as it is."""
    own = engine(PromqlFunction("twice", twice, Shape.ELEMENTWISE, (V,)))
    assert own.instant(STORE, "sum(twice(m)) by (i)", 600_000).columns.values.tolist() == [20.0, 200.0]
    with pytest.raises(QueryParseError, match='unknown function with name "twice"'):
        PromqlEngine().parse("twice(m)")


def test_nothing_selected_gives_nothing() -> None:
    """A function of windows or of numbers is not called; one of vectors gets none."""
    assert answer(PromqlFunction("f", broken, Shape.WINDOW, (M,)), "f(none[5m])") == {}
    assert answer(PromqlFunction("f", lambda n, v, p: (n, v, p), Shape.VECTOR, (V,)), "f(none)") == {}
