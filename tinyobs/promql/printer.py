"""Syntax tree -> text: on one line as messages, rules and the API show it, or broken into lines for people.

The text parses to an equal tree when the tree came from the parser: parentheses are nodes, none are added.  Source:
prometheus promql/parser/printer.go and prettier.go (3.14).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

from ..model.labels import NAME, is_legacy_label_name
from ..model.matchers import Matcher, MatchType
from .nodes import (
    Aggregate,
    At,
    AtKind,
    Binary,
    Call,
    Cardinality,
    Duration,
    Expr,
    Matching,
    MatrixSelector,
    NumberLiteral,
    Paren,
    StringLiteral,
    Subquery,
    Unary,
    VectorSelector,
)
from .numbers_text import format_g
from .numerals import format_duration, format_number, seconds_to_ms
from .strings import quote

LINE_LENGTH_MAX: Final = 100
"""`pretty` breaks what is longer, in characters."""

_SIDES: Final = {Cardinality.MANY_TO_ONE: "left", Cardinality.ONE_TO_MANY: "right"}


def to_text(expr: Expr) -> str:
    """Return an expression on one line, in the form that Prometheus prints."""
    if isinstance(expr, VectorSelector):
        return _selector(expr) + _at(expr.at) + _extension(expr) + _offset(expr.offset)
    if isinstance(expr, MatrixSelector):
        inner = expr.selector
        behind = _extension(inner) + _at(inner.at) + _offset(inner.offset)
        return f"{_selector(inner)}[{_duration(expr.range)}]{behind}"
    if isinstance(expr, Subquery):
        return to_text(expr.expr) + _subquery_suffix(expr)
    if isinstance(expr, Call):
        return f"{expr.name}({', '.join(map(to_text, expr.args))})"
    if isinstance(expr, Aggregate):
        parameter = "" if expr.parameter is None else f"{to_text(expr.parameter)}, "
        return f"{_aggregation(expr)}({parameter}{to_text(expr.expr)})"
    if isinstance(expr, Binary):
        return f"{to_text(expr.left)} {_operation(expr)} {to_text(expr.right)}"
    if isinstance(expr, Unary):
        return expr.op + to_text(expr.expr)
    if isinstance(expr, Paren):
        return f"({to_text(expr.expr)})"
    if isinstance(expr, StringLiteral):
        return quote(expr.value)
    assert isinstance(expr, NumberLiteral)
    return format_duration(seconds_to_ms(expr.value)) if expr.is_duration else format_number(expr.value)


def pretty(expr: Expr, level: int = 0) -> str:
    """Return an expression broken into lines of LINE_LENGTH_MAX characters where it is longer, indented by `level`."""
    text, indent = to_text(expr), "  " * level
    if isinstance(expr, Unary):
        return indent + expr.op + pretty(expr.expr, level).strip()
    if len(text) <= LINE_LENGTH_MAX:
        return indent + text
    if isinstance(expr, Aggregate):
        arguments = (expr.expr,) if expr.parameter is None else (expr.parameter, expr.expr)
        return f"{indent}{_aggregation(expr)}(\n{_lines(arguments, level)}\n{indent})"
    if isinstance(expr, Call):
        return f"{indent}{expr.name}(\n{_lines(expr.args, level)}\n{indent})"
    if isinstance(expr, Paren):
        return f"{indent}(\n{pretty(expr.expr, level + 1)}\n{indent})"
    if isinstance(expr, Binary):
        return f"{pretty(expr.left, level + 1)}\n{indent}{_operation(expr)}\n{pretty(expr.right, level + 1)}"
    if isinstance(expr, Subquery):
        return pretty(expr.expr, level) + _subquery_suffix(expr)
    return indent + text


def _lines(arguments: Iterable[Expr], level: int) -> str:
    return ",\n".join(pretty(argument, level + 1) for argument in arguments)


def matcher_text(matcher: Matcher) -> str:
    """Return a matcher as it stands in braces."""
    return f"{_label(matcher.name)}{matcher.type}{quote(matcher.value)}"


def _selector(expr: VectorSelector) -> str:
    """Return the name and the matchers, these sorted by their text."""
    shown = [matcher_text(m) for m in expr.matchers if not _is_said_by_name(m, expr.name)]
    if not shown and expr.name:
        return expr.name
    return expr.name + "{" + ",".join(sorted(shown)) + "}"


def _is_said_by_name(matcher: Matcher, name: str) -> bool:
    return bool(name) and matcher.name == NAME and matcher.type is MatchType.EQUAL and matcher.value == name


def _label(name: str) -> str:
    return name if is_legacy_label_name(name) else quote(name)


def _labels(names: Iterable[str]) -> str:
    return ", ".join(map(_label, names))


def _extension(expr: VectorSelector) -> str:
    if expr.anchored:
        return " anchored"
    return " smoothed" if expr.smoothed else ""


def _at(at: At | None) -> str:
    if at is None:
        return ""
    if at.kind is AtKind.TIME:
        return f" @ {at.timestamp_ms / 1000:.3f}"
    return f" @ {at.kind}()"


def _offset(offset: Duration) -> str:
    return "" if offset == 0 else f" offset {_duration(offset)}"


def _duration(duration: Duration) -> str:
    return format_duration(duration) if isinstance(duration, int) else to_text(duration)


def _subquery_suffix(expr: Subquery) -> str:
    step = "" if expr.step is None else _duration(expr.step)
    return f"[{_duration(expr.range)}:{step}]{_at(expr.at)}{_offset(expr.offset)}"


def _aggregation(expr: Aggregate) -> str:
    if expr.without:
        return f"{expr.op} without ({_labels(expr.grouping)}) "
    return f"{expr.op} by ({_labels(expr.grouping)}) " if expr.grouping else expr.op


def _operation(expr: Binary) -> str:
    """Return an operator with its clauses."""
    text = f"{expr.op} bool" if expr.bool_modifier else expr.op
    return text if expr.matching is None else text + _clauses(expr.matching)


def _clauses(matching: Matching) -> str:
    text, side = "", _SIDES.get(matching.cardinality)
    if matching.labels or matching.on or side:
        text += f" {'on' if matching.on else 'ignoring'} ({_labels(matching.labels)})"
    if side:
        text += f" group_{side} ({_labels(matching.include)})"
    left, right = matching.fill_left, matching.fill_right
    if left is not None and right is not None and _same(left, right):
        return f"{text} fill ({format_g(left)})"
    text += "" if left is None else f" fill_left ({format_g(left)})"
    return text if right is None else f"{text} fill_right ({format_g(right)})"


def _same(left: float, right: float) -> bool:
    if left != left:
        return right != right
    return left == right and math.copysign(1, left) == math.copysign(1, right)
