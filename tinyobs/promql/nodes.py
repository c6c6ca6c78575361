"""The syntax tree of PromQL: frozen attrs classes, every node with its position in the text.

`start` and `end` are offsets in characters, `end` exclusive, and take no part in comparison: two trees are equal when
they mean the same.  Durations and offsets are int milliseconds; a duration that must be computed (`[5m * 2]`,
`offset step()`) is an `Expr` whose value is seconds.  The tree is what the parser read; `check.py` gives types,
`plan.py` decides how it is evaluated.  Source of the language: prometheus promql/parser (3.14).
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import TypeAlias

from attrs import field, frozen

from ..model.matchers import Matcher


class ValueType(StrEnum):
    """The types of PromQL, named as the HTTP API names them."""

    SCALAR = "scalar"
    VECTOR = "vector"
    MATRIX = "matrix"
    STRING = "string"

    def __str__(self) -> str:
        return self.value


@frozen
class Expr:
    """Any expression."""

    start: int = field(default=0, eq=False, repr=False, kw_only=True)
    end: int = field(default=0, eq=False, repr=False, kw_only=True)


Duration: TypeAlias = int | Expr
"""Milliseconds, or an expression that yields seconds."""


@frozen
class NumberLiteral(Expr):
    """`1`, `0x1f`, `1e3`, `Inf`, `NaN`; also a duration written where a number may stand (`5m` is 300).

    is_duration: it was written as a duration, which printing keeps.
    """

    value: float
    is_duration: bool = field(default=False, eq=False)


@frozen
class StringLiteral(Expr):
    """`"..."`, `'...'` or a raw string in back-ticks, unquoted."""

    value: str


class AtKind(StrEnum):
    """What stands behind `@`."""

    TIME = "time"
    START = "start"
    END = "end"


@frozen
class At:
    """The `@` modifier; `timestamp_ms` counts only for `AtKind.TIME`."""

    kind: AtKind
    timestamp_ms: int = 0


@frozen
class VectorSelector(Expr):
    """`name{matchers} offset d @ t`.  `name` is the metric name as written before the braces ("" without one);
    `matchers` includes the matcher for `__name__`."""

    name: str
    matchers: tuple[Matcher, ...]
    offset: Duration = 0
    at: At | None = None
    anchored: bool = False
    smoothed: bool = False


@frozen
class MatrixSelector(Expr):
    """`selector[range]`; offset and @ are on the selector inside."""

    selector: VectorSelector
    range: Duration


@frozen
class Subquery(Expr):
    """`expr[range:step] offset d @ t`; `step` None means the default resolution."""

    expr: Expr
    range: Duration
    step: Duration | None = None
    offset: Duration = 0
    at: At | None = None


@frozen
class Call(Expr):
    """A function call; `name` is as written."""

    name: str
    args: tuple[Expr, ...]


@frozen
class Aggregate(Expr):
    """`op by|without (grouping) (parameter, expr)`.  Without a clause: `grouping` empty, `without` False."""

    op: str
    expr: Expr
    parameter: Expr | None = None
    grouping: tuple[str, ...] = ()
    without: bool = False


class Cardinality(StrEnum):
    """How the two sides of a vector operation match."""

    ONE_TO_ONE = "one-to-one"
    MANY_TO_ONE = "many-to-one"
    ONE_TO_MANY = "one-to-many"
    MANY_TO_MANY = "many-to-many"


@frozen
class Matching:
    """The matching clause of a binary operation.

    on: `labels` are those matched on; else those ignored.  include: the labels in `group_left(...)`/`group_right(...)`.
    fill_left, fill_right: the value for a missing partner (`fill` modifiers).
    """

    cardinality: Cardinality = Cardinality.ONE_TO_ONE
    labels: tuple[str, ...] = ()
    on: bool = False
    include: tuple[str, ...] = ()
    fill_left: float | None = None
    fill_right: float | None = None


@frozen
class Binary(Expr):
    """`left op right`; op is one of `+ - * / % ^ atan2 == != > < >= <= and or unless </ >/`.

    matching is None when neither a clause nor the operator asks for one (both sides may then be scalars).
    """

    op: str
    left: Expr
    right: Expr
    bool_modifier: bool = False
    matching: Matching | None = None


@frozen
class Unary(Expr):
    """`+expr` or `-expr`."""

    op: str
    expr: Expr


@frozen
class Paren(Expr):
    """`(expr)`: kept because printing and the API show it."""

    expr: Expr


def children(node: Expr) -> Iterator[Expr]:
    """Yield the direct sub-expressions, left to right; computed durations are not among them."""
    if isinstance(node, MatrixSelector):
        yield node.selector
    elif isinstance(node, (Subquery, Unary, Paren)):
        yield node.expr
    elif isinstance(node, Call):
        yield from node.args
    elif isinstance(node, Aggregate):
        if node.parameter is not None:
            yield node.parameter
        yield node.expr
    elif isinstance(node, Binary):
        yield node.left
        yield node.right


def walk(node: Expr) -> Iterator[Expr]:
    """Yield the node and everything below it, parents first."""
    yield node
    for child in children(node):
        yield from walk(child)
