"""Where functions register themselves: `@function("name", kind)`.

Names, argument types and gates are in `promql.signatures`; here is what runs.  An implementation is one of three
kinds, and says whether its result keeps the metric name and whether it depends on the moment of evaluation.
Functions of plugins are in no module: an engine gets them in a `FunctionSet` of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from types import MappingProxyType
from typing import Any, Final, TypeVar

from attrs import frozen

from ..signatures import FUNCTIONS, Signature

F = TypeVar("F", bound=Callable[..., Any])


class Kind(Enum):
    """How a function is called.

    ELEMENTWISE: `f(values float64[s, T], *scalars float64[T]) -> float64[s, T]`; the vector is the first vector
    argument, wherever it stands.  WINDOW: `f(windows, *scalars) -> (float64[s, T], bool[s, T])`.
    GENERAL: `f(evaluation, call) -> Value`; it evaluates its arguments itself.
    """

    ELEMENTWISE = "elementwise"
    WINDOW = "window"
    GENERAL = "general"


@frozen
class Implementation:
    """A function as it runs.

    keeps_name: the result is still the same metric.  timed: it gives another result at another moment even for the
    same arguments.  extended: the range modifiers that it takes (`anchored`, `smoothed`).
    """

    name: str
    kind: Kind
    call: Callable[..., Any]
    keeps_name: bool = False
    timed: bool = False
    extended: frozenset[str] = frozenset()


_FUNCTIONS: dict[str, Implementation] = {}


def function(
    name: str,
    kind: Kind,
    *,
    keeps_name: bool = False,
    timed: bool = False,
    extended: frozenset[str] = frozenset(),
) -> Callable[[F], F]:
    """Register the decorated function under `name`."""

    def register(call: F) -> F:
        _FUNCTIONS[name] = Implementation(name, kind, call, keeps_name, timed, extended)
        return call

    return register


def implementation(name: str) -> Implementation | None:
    """Return what runs a function, None when there is nothing of that name."""
    return _FUNCTIONS.get(name)


@frozen(eq=False)
class FunctionSet:
    """The functions that an engine knows: those of the language and those of plugins.

    signatures: all of them, by name.  added: what runs those of plugins.
    """

    signatures: Mapping[str, Signature] = FUNCTIONS
    added: Mapping[str, Implementation] = MappingProxyType({})

    def implementation(self, name: str) -> Implementation | None:
        """Return what runs a function."""
        return self.added.get(name) or implementation(name)


BUILT_IN: Final = FunctionSet()
"""The functions of the language."""


def extended_names(modifier: str) -> list[str]:
    """Return the sorted names of functions that take a range modifier."""
    return sorted(name for name, f in _FUNCTIONS.items() if modifier in f.extended)
