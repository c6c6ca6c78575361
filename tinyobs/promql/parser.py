"""Text of a query -> checked syntax tree.

A Pratt parser over the tokens of `lexer.py`: one loop joins operators by how tightly they bind, one function a construct
reads the rest.  Selectors and what follows an expression are in `selectors.py`, durations in `duration_syntax.py`, types in
`check.py`.  The first error ends parsing; it has the wording and the position that Prometheus shows first.  Source:
prometheus promql/parser/generated_parser.y, parse.go (3.14).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ..errors import QueryParseError
from ..model.matchers import Matcher
from .check import check, value_type
from .cursor import Cursor
from .duration_syntax import number_literal
from .lexer import CONTEXT_NAMES, DURATION, END, ERROR, FILLS, IDENTIFIER, NUMBER, SET_OPERATORS, STRING, lex
from .nodes import (
    Aggregate,
    Binary,
    Call,
    Cardinality,
    Expr,
    Matching,
    NumberLiteral,
    Paren,
    StringLiteral,
    Unary,
    ValueType,
)
from .selectors import METRIC_NAMES, POSTFIXES, label_list, postfix, vector_selector
from .signatures import AGGREGATORS, AGGREGATORS_WITH_PARAMETER, EXPERIMENTAL_AGGREGATORS, FUNCTIONS, Signature
from .strings import quote, unquote

FEATURE_FUNCTIONS: Final = "promql-experimental-functions"
FEATURE_FILL: Final = "promql-binop-fill-modifiers"

QUERY_LENGTH_MAX: Final = 1_000_000
"""Longest accepted query, in characters."""

_POWERS: Final = (
    {"or": 1, "and": 2, "unless": 2, "+": 4, "-": 4, "*": 5, "/": 5, "%": 5, "atan2": 5, "^": 6}
    | dict.fromkeys(("==", "!=", "<", "<=", ">", ">=", "</", ">/"), 3)
)  # fmt: skip
_POWER_OF_POWERS: Final = 6
_CLAUSES: Final = frozenset(("bool", "on", "ignoring")) | FILLS
_EXPRESSION_STARTS: Final = METRIC_NAMES | {"+", "-", "(", "{", NUMBER, DURATION, STRING}
_SIDES: Final = {"group_left": Cardinality.MANY_TO_ONE, "group_right": Cardinality.ONE_TO_MANY}


def parse(text: str, *, features: frozenset[str] = frozenset(), functions: Mapping[str, Signature] = FUNCTIONS) -> Expr:
    """Parse and check a query.

    features: names of upstream's gates that are open.  functions: every function that may be called, by name.  Raises
    `QueryParseError`, and nothing else whatever the text.
    """
    cursor = _cursor(text, features, functions)
    if cursor.kind == END:
        raise cursor.fail("no expression found in input", 0, 0)
    expr = _expression(cursor, 0)
    if cursor.kind != END:
        raise cursor.unexpected()
    check(expr, text, functions)
    return expr


def parse_selector(text: str) -> tuple[Matcher, ...]:
    """Parse a series selector, `name{label="value"}` and nothing more, as `match[]` has it.

    An empty or all-matching selector is accepted: whether it is wanted is for the caller to say.
    """
    cursor = _cursor(text, frozenset(), FUNCTIONS)
    if cursor.kind != "{" and cursor.kind not in METRIC_NAMES:
        raise cursor.unexpected()
    selector = vector_selector(cursor)
    if cursor.kind != END:
        raise cursor.unexpected()
    return selector.matchers


def _cursor(text: str, features: frozenset[str], functions: Mapping[str, Signature]) -> Cursor:
    if len(text) > QUERY_LENGTH_MAX:
        raise QueryParseError(f"query is longer than {QUERY_LENGTH_MAX} characters", 0, 0, text)
    return Cursor(text, lex(text), features, functions)


def _expression(cursor: Cursor, minimum: int) -> Expr:
    """Parse an expression of operators that bind at least as tightly as `minimum`."""
    cursor.descend()
    left = _operand(cursor)
    while (power := _POWERS.get(cursor.kind, -1)) >= minimum:
        op, height = cursor.kind, cursor.height
        cursor.advance()
        bool_modifier, matching = _clauses(cursor) if cursor.kind in _CLAUSES else (False, None)
        right = _expression(cursor, power + (op != "^"))
        if matching is not None or op in SET_OPERATORS:
            matching = _settled(cursor, op, left, right, matching)
        cursor.grow(max(height, cursor.height) + 1)
        left = Binary(op, left, right, bool_modifier, matching, start=left.start, end=right.end)
    cursor.nesting -= 1
    return left


def _settled(cursor: Cursor, op: str, left: Expr, right: Expr, matching: Matching | None) -> Matching | None:
    """Return the matching of an operation whose sides are known."""
    filled = matching is not None and (matching.fill_left is not None or matching.fill_right is not None)
    if filled and FEATURE_FILL not in cursor.features:
        raise cursor.fail("binop fill modifiers are experimental and not enabled", left.start, right.end)
    vector = ValueType.VECTOR
    if value_type(left, cursor.functions) is not vector or value_type(right, cursor.functions) is not vector:
        return matching if filled or (matching and matching.labels) else None  # the check rejects what is left
    if op not in SET_OPERATORS or (matching and matching.cardinality is not Cardinality.ONE_TO_ONE):
        return None if matching == Matching() else matching  # `ignoring ()` says nothing
    if matching is None:
        return Matching(Cardinality.MANY_TO_MANY)
    many = Cardinality.MANY_TO_MANY
    return Matching(many, matching.labels, matching.on, (), matching.fill_left, matching.fill_right)


def _clauses(cursor: Cursor) -> tuple[bool, Matching | None]:
    """Parse `bool on (...) group_left (...) fill (...)` behind an operator."""
    bool_modifier = cursor.kind == "bool"
    if bool_modifier:
        cursor.advance()
    word = cursor.kind
    labels: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    cardinality = Cardinality.ONE_TO_ONE
    if word in ("on", "ignoring"):
        cursor.advance()
        labels = label_list(cursor)
        if cursor.kind in _SIDES:
            cardinality = _SIDES[cursor.kind]
            cursor.advance()
            if cursor.kind == "(" or cursor.kind not in _EXPRESSION_STARTS:  # a parenthesis opens labels, not a side
                include = label_list(cursor)
    fill_left, fill_right = _fills(cursor)
    if word not in ("on", "ignoring") and fill_left is None and fill_right is None:
        return bool_modifier, None
    return bool_modifier, Matching(cardinality, labels, word == "on", include, fill_left, fill_right)


def _fills(cursor: Cursor) -> tuple[float | None, float | None]:
    """Parse `fill (n)`, or `fill_left (n)` and `fill_right (n)` in either order."""
    values: dict[str, float] = {}
    if cursor.kind == "fill":
        value = _fill_value(cursor)
        return value, value
    while cursor.kind in FILLS and cursor.kind != "fill" and cursor.kind not in values:
        kind = cursor.kind
        values[kind] = _fill_value(cursor)
    return values.get("fill_left"), values.get("fill_right")


def _fill_value(cursor: Cursor) -> float:
    cursor.advance()
    cursor.advance()  # the lexer saw the parenthesis
    sign = cursor.kind
    if sign in ("+", "-"):
        cursor.advance()
    if cursor.kind not in (NUMBER, DURATION):
        raise cursor.unexpected()
    value = number_literal(cursor).value
    if cursor.kind != ")":
        raise cursor.unexpected()
    cursor.advance()
    return -value if sign == "-" else value


def _operand(cursor: Cursor) -> Expr:
    """Parse one operand with its signs in front and its modifiers behind."""
    kind, _, start = cursor.token
    expr: Expr
    if kind in ("+", "-"):
        cursor.advance()
        return _signed(cursor, kind, start)
    if kind == IDENTIFIER or kind == "{":
        expr = _call(cursor) if cursor.next_kind() == "(" and kind != "{" else vector_selector(cursor)
    elif kind in (NUMBER, DURATION):
        expr = number_literal(cursor)
        cursor.height = 1
    elif kind in AGGREGATORS and cursor.next_kind() in ("(", "by", "without"):
        expr = _aggregate(cursor)
    elif kind in CONTEXT_NAMES and cursor.next_kind() == "(":
        expr = _call(cursor)
    elif kind == "(":
        cursor.advance()
        inside = _expression(cursor, 0)
        if cursor.kind != ")":
            raise cursor.unexpected()
        cursor.advance()
        cursor.grow(cursor.height + 1)
        expr = Paren(inside, start=start, end=cursor.end)
    elif kind == STRING:
        expr = StringLiteral(unquote(cursor.lexeme), start=start, end=start + len(cursor.lexeme))
        cursor.advance()
        cursor.height = 1
    elif kind in METRIC_NAMES:
        expr = vector_selector(cursor)
    else:
        raise cursor.unexpected()
    while cursor.kind in POSTFIXES:
        expr = postfix(cursor, expr)
    return expr


def _signed(cursor: Cursor, sign: str, start: int) -> Expr:
    """Parse the operand of a sign, which binds like `*`; a sign in front of a literal becomes part of it."""
    inner = _expression(cursor, _POWER_OF_POWERS)
    if isinstance(inner, NumberLiteral):
        value = -inner.value if sign == "-" else inner.value
        return NumberLiteral(value, inner.is_duration, start=start, end=inner.end)
    cursor.grow(cursor.height + 1)
    return Unary(sign, inner, start=start, end=inner.end)


def _arguments(cursor: Cursor) -> tuple[Expr, ...]:
    """Parse `(a, b, ...)`, the cursor at the parenthesis."""
    cursor.advance()
    arguments: list[Expr] = []
    height = 0
    while cursor.kind != ")":
        arguments.append(_expression(cursor, 0))
        height = max(height, cursor.height)
        if cursor.kind == ",":
            comma = cursor.start
            cursor.advance()
            if cursor.kind not in _EXPRESSION_STARTS and cursor.kind != ERROR:
                raise cursor.fail("trailing commas not allowed in function call args", comma, comma + 1)
        elif cursor.kind != ")":
            raise cursor.unexpected()
    cursor.advance()
    cursor.grow(height + 1)
    return tuple(arguments)


def _call(cursor: Cursor) -> Call:
    _, name, start = cursor.token
    cursor.advance()
    arguments = _arguments(cursor)
    signature = cursor.functions.get(name)
    if signature is None:
        raise cursor.fail(f"unknown function with name {quote(name)}", start, start + len(name))
    if signature.experimental and FEATURE_FUNCTIONS not in cursor.features:
        raise cursor.fail(f"function {quote(name)} is not enabled", start, start + len(name))
    return Call(name, arguments, start=start, end=cursor.end)


def _aggregate(cursor: Cursor) -> Aggregate:
    op, start = cursor.kind, cursor.start
    cursor.advance()
    cursor.aggregations += 1
    clause, grouping = _grouping(cursor)
    if cursor.kind != "(":
        raise cursor.unexpected()
    arguments = _arguments(cursor)
    if not clause:
        clause, grouping = _grouping(cursor)
        if cursor.kind == ERROR:
            raise cursor.unexpected()
    cursor.aggregations -= 1
    if not arguments:
        raise cursor.fail("no arguments for aggregate expression provided", start, cursor.end)
    if op in EXPERIMENTAL_AGGREGATORS and FEATURE_FUNCTIONS not in cursor.features:
        message = f"{op}() is experimental and must be enabled with --enable-feature={FEATURE_FUNCTIONS}"
        raise cursor.fail(message, start, cursor.end)
    wanted = 2 if op in AGGREGATORS_WITH_PARAMETER else 1
    if len(arguments) != wanted:
        message = "wrong number of arguments for aggregate expression provided"
        raise cursor.fail(f"{message}, expected {wanted}, got {len(arguments)}", start, cursor.end)
    parameter = arguments[0] if wanted == 2 else None
    return Aggregate(op, arguments[-1], parameter, grouping, clause == "without", start=start, end=cursor.end)


def _grouping(cursor: Cursor) -> tuple[str, tuple[str, ...]]:
    """Parse a `by` or `without` clause where there is one; return (its word or "", labels)."""
    word = cursor.kind
    if word not in ("by", "without"):
        return "", ()
    cursor.advance()
    return word, label_list(cursor)
