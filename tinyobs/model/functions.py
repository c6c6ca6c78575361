"""A function of PromQL as a plugin declares it: names and types here, the arithmetic in a NumPy function.

What calls it is `tinyobs.promql.plugin_functions`.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any

from attrs import frozen


class Argument(StrEnum):
    """The type of an argument."""

    VECTOR = "vector"
    """An instant vector."""
    RANGE = "range"
    """A range vector: a selector or subquery with brackets."""
    SCALAR = "scalar"
    STRING = "string"


class Shape(StrEnum):
    """How a function is called.  S series, T steps; scalars come as one number for each row or step, strings as `str`.

    Values are float64 and must not be changed in place; series of native histograms are left out.
    """

    ELEMENTWISE = "elementwise"
    """`f(values[S, T], *scalars[T]) -> values[S, T]`: of each number alone; called for blocks of series."""
    WINDOW = "window"
    """`f(times[W, n], values[W, n], *scalars[W]) -> values[W]`: of the samples in each window, oldest first.

    times: int64 ms.  Called for many windows of n samples each at one time, n being any number from `samples_min` on;
    a window with fewer gives nothing.
    """
    VECTOR = "vector"
    """`f(labels, values[S, T], present[S, T], *scalars[T]) -> (labels, values[R, T], present[R, T])`: of all series.

    labels: S label sets, tuples of (name, value) sorted by name.  present: bool; values mean nothing where it is false.
    """


@frozen
class PromqlFunction:
    """A function that queries, rules and checks of expressions may use.

    name: as it is written; no name of the language.  call: see `Shape`.  arguments: their types; exactly one is a
    vector (or a range, for windows), the others are scalars and strings, in the order in which they are written.
    optional: how many of the last arguments may be left out; `call` must have defaults for them.  repeated: the last
    argument may be given any number of times, or not at all.  keeps_name: the result is still the same metric.
    doc: a sentence for people.
    """

    name: str
    call: Callable[..., Any]
    shape: Shape
    arguments: tuple[Argument, ...]
    optional: int = 0
    repeated: bool = False
    keeps_name: bool = False
    samples_min: int = 1
    doc: str = ""
