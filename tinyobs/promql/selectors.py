"""Selectors and what may follow an expression: `name{label="value"}`, `[5m]`, `[1h:5m]`, `offset`, `@`, `anchored`, `smoothed`.

Source of rules and wording: prometheus promql/parser/generated_parser.y and parse.go (addOffset, setTimestamp,
setAnchored, setSmoothed).
"""

from __future__ import annotations

import math
from typing import Final

from ..errors import QueryParseError
from ..model.labels import NAME
from ..model.matchers import Matcher, MatchType
from .cursor import Cursor
from .duration_syntax import bracket, number_literal, offset
from .lexer import CONTEXT_NAMES, DURATION, FILLS, IDENTIFIER, METRIC_IDENTIFIER, NUMBER, SET_OPERATORS, STRING
from .nodes import At, AtKind, Duration, Expr, MatrixSelector, Subquery, VectorSelector
from .signatures import AGGREGATORS
from .strings import is_broken, quote, unquote

METRIC_NAMES: Final = (
    AGGREGATORS
    | SET_OPERATORS
    | CONTEXT_NAMES
    | FILLS
    | {IDENTIFIER, METRIC_IDENTIFIER, "by", "without", "offset", "anchored", "smoothed"}
)
"""Kinds of tokens that may be the name of a metric."""
LABEL_NAMES: Final = (METRIC_NAMES - {"without"}) | {"on", "ignoring", "group_left", "group_right", "bool", "atan2"}
"""Kinds of tokens that may be a label in `by (...)` and its like."""
POSTFIXES: Final = frozenset(("[", "offset", "@", "anchored", "smoothed"))
"""Kinds of tokens that go on with the expression in front of them."""

FEATURE_EXTENDED_RANGE: Final = "promql-extended-range-selectors"
_NEEDS_SELECTOR: Final = (
    "modifier must be preceded by an instant vector selector or range vector selector or a subquery"
)
_TIMESTAMP_MAX: Final = 2.0**63
_MATCH_TYPES: Final = {str(t): t for t in MatchType}


def vector_selector(cursor: Cursor) -> VectorSelector:
    """Parse a selector, the cursor at its name or its `{`."""
    kind, name, start = cursor.token
    matchers: tuple[Matcher, ...] = ()
    if kind == "{":
        name = ""
    else:
        cursor.advance()
    if cursor.kind == "{":
        matchers = _matchers(cursor)
    if name:
        matchers = (*matchers, Matcher(MatchType.EQUAL, NAME, name))
    cursor.height = 1
    return VectorSelector(name, matchers, start=start, end=cursor.end)


def _matchers(cursor: Cursor) -> tuple[Matcher, ...]:
    cursor.advance()
    found: list[Matcher] = []
    while cursor.kind != "}":
        found.append(_matcher(cursor))
        if cursor.kind == ",":
            cursor.advance()
        elif cursor.kind != "}":
            raise cursor.unexpected("label matching", '"," or "}"')
    cursor.advance()
    return tuple(found)


def _matcher(cursor: Cursor) -> Matcher:
    kind, name, start = cursor.token
    if kind not in (IDENTIFIER, STRING):
        raise cursor.unexpected("label matching", 'identifier or "}"')
    cursor.advance()
    match_type = _MATCH_TYPES.get(cursor.kind)
    if kind == STRING:
        name = unquote(name)
        if match_type is None:
            return Matcher(MatchType.EQUAL, NAME, name)
    elif match_type is None:
        raise cursor.unexpected("label matching", "label matching operator")
    cursor.advance()
    if cursor.kind != STRING:
        raise cursor.unexpected("label matching", "string")
    value = unquote(cursor.lexeme)
    cursor.advance()
    try:
        return Matcher(match_type, name, value)
    except ValueError as e:
        raise cursor.fail(str(e), start, cursor.end) from None


def label_list(cursor: Cursor) -> tuple[str, ...]:
    """Parse `(a, "b.c", by,)` after `by`, `on` and their like."""
    context = "grouping opts"
    if cursor.kind != "(":
        raise cursor.unexpected(context, '"("')
    cursor.advance()
    labels: list[str] = []
    while cursor.kind != ")":
        label = cursor.lexeme
        if cursor.kind == STRING:
            label = unquote(label)
            if not label or any(map(is_broken, label)):
                message = f"invalid label name for grouping: {quote(label)}"
                raise cursor.fail(message, cursor.start, cursor.start + len(cursor.lexeme))
        elif cursor.kind not in LABEL_NAMES:
            raise cursor.unexpected(context, "label")
        labels.append(label)
        cursor.advance()
        if cursor.kind == ",":
            cursor.advance()
        elif cursor.kind != ")":
            raise cursor.unexpected(context, '"," or ")"')
    cursor.advance()
    return tuple(labels)


def postfix(cursor: Cursor, expr: Expr) -> Expr:
    """Parse one of POSTFIXES and return the expression with it."""
    kind = cursor.kind
    if kind == "[":
        return _bracketed(cursor, expr)
    if kind == "offset":
        cursor.advance()
        return _with_offset(cursor, expr, offset(cursor))
    if kind == "@":
        cursor.advance()
        return _with_at(cursor, expr, _at(cursor, expr))
    cursor.advance()
    return _extended(cursor, expr, kind)


def _bracketed(cursor: Cursor, expr: Expr) -> Expr:
    at, height = cursor.start, cursor.height
    length, step, is_subquery = bracket(cursor)
    cursor.grow(max(height, cursor.height) + 1)
    if is_subquery:
        return Subquery(expr, length, step, start=expr.start, end=cursor.end)
    if not isinstance(expr, VectorSelector):
        raise cursor.fail("ranges only allowed for vector selectors", at, cursor.end)
    if expr.offset != 0:
        raise cursor.fail("no offset modifiers allowed before range", at, cursor.end)
    if expr.at is not None:
        raise cursor.fail("no @ modifiers allowed before range", at, cursor.end)
    return MatrixSelector(expr, length, start=expr.start, end=cursor.end)


def _with_offset(cursor: Cursor, expr: Expr, duration: Duration) -> Expr:
    carrier = _carrier(expr)
    if carrier is None:
        raise cursor.fail(f"offset {_NEEDS_SELECTOR}", expr.start, expr.end)
    if carrier.offset != 0:
        raise cursor.fail("offset may not be set multiple times", expr.start, expr.end)
    return _rebuilt(expr, duration, carrier.at, cursor.end)


def _with_at(cursor: Cursor, expr: Expr, at: At) -> Expr:
    carrier = _carrier(expr)
    if carrier is None:
        raise cursor.fail(f"@ {_NEEDS_SELECTOR}", expr.start, expr.end)
    if carrier.at is not None:
        raise cursor.fail("@ <timestamp> may not be set multiple times", expr.start, expr.end)
    return _rebuilt(expr, carrier.offset, at, cursor.end)


def _carrier(expr: Expr) -> VectorSelector | Subquery | None:
    """Return the node that holds the offset and the `@` of an expression; None where it may have neither."""
    if isinstance(expr, MatrixSelector):
        return expr.selector
    return expr if isinstance(expr, (VectorSelector, Subquery)) else None


def _rebuilt(expr: Expr, duration: Duration, at: At | None, end: int) -> Expr:
    """Return the expression with another offset and `@`, reaching to `end`."""
    if isinstance(expr, VectorSelector):
        flags = expr.anchored, expr.smoothed
        return VectorSelector(expr.name, expr.matchers, duration, at, *flags, start=expr.start, end=end)
    if isinstance(expr, Subquery):
        return Subquery(expr.expr, expr.range, expr.step, duration, at, start=expr.start, end=end)
    assert isinstance(expr, MatrixSelector)
    inner = expr.selector
    selector = _rebuilt(inner, duration, at, inner.end)
    assert isinstance(selector, VectorSelector)
    return MatrixSelector(selector, expr.range, start=expr.start, end=end)


def _at(cursor: Cursor, expr: Expr) -> At:
    """Parse what stands behind `@`."""
    if cursor.kind in ("start", "end"):
        kind = AtKind(cursor.kind)
        cursor.advance()
        for wanted in "()":
            if cursor.kind != wanted:
                raise cursor.unexpected("@", "timestamp")
            cursor.advance()
        return At(kind)
    sign = cursor.kind
    if sign in ("+", "-"):
        cursor.advance()
    if cursor.kind not in (NUMBER, DURATION):
        raise cursor.unexpected("@", "timestamp")
    seconds = number_literal(cursor).value
    if sign == "-":
        seconds = -seconds
    if not abs(seconds) < _TIMESTAMP_MAX:
        raise _out_of_bounds(cursor, expr, seconds)
    rounded = math.floor(abs(seconds) * 1000 + 0.5)
    return At(AtKind.TIME, rounded if seconds >= 0 else -rounded)


def _out_of_bounds(cursor: Cursor, expr: Expr, seconds: float) -> QueryParseError:
    shown = f"{seconds:f}" if math.isfinite(seconds) else f"{seconds:+}".replace("inf", "Inf").replace("+nan", "NaN")
    return cursor.fail(f"timestamp out of bounds for @ modifier: {shown}", expr.start, expr.end)


def _extended(cursor: Cursor, expr: Expr, word: str) -> Expr:
    """Return the expression `anchored` or `smoothed`."""
    if FEATURE_EXTENDED_RANGE not in cursor.features:
        raise cursor.fail(f"{word} modifier is experimental and not enabled", expr.start, expr.end)
    selector = expr.selector if isinstance(expr, MatrixSelector) else expr
    if not isinstance(selector, VectorSelector):
        why = "is not supported for subqueries" if isinstance(expr, Subquery) else "not implemented"
        raise cursor.fail(f"{word} modifier {why}", expr.start, expr.end)
    anchored, smoothed = selector.anchored or word == "anchored", selector.smoothed or word == "smoothed"
    if anchored and smoothed:
        raise cursor.fail("anchored and smoothed modifiers cannot be used together", expr.start, expr.end)
    marked = VectorSelector(
        selector.name, selector.matchers, selector.offset, selector.at, anchored, smoothed,
        start=selector.start, end=selector.end,
    )  # fmt: skip
    if isinstance(expr, MatrixSelector):
        return MatrixSelector(marked, expr.range, start=expr.start, end=expr.end)
    return marked
