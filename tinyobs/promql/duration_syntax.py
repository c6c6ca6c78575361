"""The grammar of durations in a query: `5m`, `-1h`, and computed ones such as `[5m * 2]` or `offset -(step() + 1m)`.

A literal becomes int milliseconds; a computed duration becomes an expression of NumberLiteral, Unary, Paren, Binary and
Call (`step`, `range`, `min_of`, `max_of`) whose value is seconds, which `durations.py` computes.  Source: prometheus
promql/parser/generated_parser.y, rules duration_expr and offset_duration_expr.
"""

from __future__ import annotations

from typing import Final

from .cursor import Cursor
from .lexer import DURATION, NUMBER
from .nodes import Binary, Call, Duration, Expr, NumberLiteral, Paren, Unary
from .numerals import NANOSECONDS_MAX, duration_ms, number_value, seconds_to_ms

_POWERS: Final = {"+": 4, "-": 4, "*": 5, "/": 5, "%": 5, "^": 6}
_POWER_OF_POWERS: Final = 6
_SECONDS_MAX: Final = NANOSECONDS_MAX / 1e9
_WANTED: Final = "number, duration, step(), or range()"
_WANTED_STEP: Final = 'number, duration, step(), range(), or "]"'


def number_literal(cursor: Cursor) -> NumberLiteral:
    """Parse the current NUMBER or DURATION token; a duration counts in seconds."""
    kind, text, start = cursor.token
    is_duration, end = kind == DURATION, start + len(text)
    try:
        value = duration_ms(text) / 1000 if is_duration else number_value(text)
    except ValueError as e:
        message = str(e) if is_duration else f"error parsing number: {e}"
        raise cursor.fail(message, start, end) from None
    cursor.advance()
    return NumberLiteral(value, is_duration, start=start, end=end)


def offset(cursor: Cursor) -> Duration:
    """Parse what stands behind `offset`.  Operators belong to it only after an opening parenthesis."""
    context = "offset", _WANTED
    sign, start = cursor.kind, cursor.start
    if sign == "(":
        return _shortened(_expression(cursor, 0, context))
    if sign in ("+", "-"):
        cursor.advance()
        return _shortened(_signed(sign, _operand(cursor, context), start))
    return _shortened(_operand(cursor, context))


def bracket(cursor: Cursor) -> tuple[Duration, Duration | None, bool]:
    """Parse `[range]` or `[range:step]`, the cursor at `[`; return (range, step or None, whether there is a colon)."""
    cursor.advance()
    length = _positive(cursor, _expression(cursor, 0, ("subquery or range selector", _WANTED)))
    if cursor.kind == "]":
        cursor.advance()
        return length, None, False
    if cursor.kind != ":":
        raise cursor.unexpected("subquery or range", '":" or "]"')
    cursor.advance()
    step: Duration | None = None
    if cursor.kind != "]":
        step = _positive(cursor, _expression(cursor, 0, ("subquery selector", _WANTED_STEP)))
        if cursor.kind != "]":
            raise cursor.unexpected("subquery selector", '"]"')
    cursor.advance()
    return length, step, True


def _positive(cursor: Cursor, expr: Expr) -> Duration:
    if isinstance(expr, NumberLiteral) and not expr.value > 0:
        raise cursor.fail("duration must be greater than 0", expr.start, expr.end)
    return _shortened(expr)


def _shortened(expr: Expr) -> Duration:
    return seconds_to_ms(expr.value) if isinstance(expr, NumberLiteral) else expr


def _expression(cursor: Cursor, minimum: int, context: tuple[str, str]) -> Expr:
    """Parse operators that bind at least as tightly as `minimum`; `context` goes into messages."""
    left = _operand(cursor, context)
    while (power := _POWERS.get(cursor.kind, -1)) >= minimum:
        op, at = cursor.kind, cursor.start
        height = cursor.height
        cursor.advance()
        right = _expression(cursor, power + (op != "^"), context)
        if op in "/%" and isinstance(right, NumberLiteral) and right.value == 0:
            raise cursor.fail(f"{'division' if op == '/' else 'modulo'} by zero", at, at + 1)
        cursor.grow(max(height, cursor.height) + 1)
        left = Binary(op, left, right, start=left.start, end=right.end)
    return left


def _operand(cursor: Cursor, context: tuple[str, str]) -> Expr:
    cursor.descend()
    cursor.height = 1
    kind, _, start = cursor.token
    expr: Expr
    if kind in (NUMBER, DURATION):
        expr = number_literal(cursor)
        if not abs(expr.value) <= _SECONDS_MAX:
            raise cursor.fail("duration out of range", start, expr.end)
    elif kind in ("+", "-"):
        cursor.advance()
        expr = _signed(kind, _expression(cursor, _POWER_OF_POWERS, context), start)
    elif kind == "(":
        cursor.advance()
        inside = _expression(cursor, 0, context)
        _expect(cursor, ")", context)
        expr = Paren(inside, start=start, end=cursor.end)
    elif kind in ("step", "range", "min_of", "max_of"):
        arguments = _arguments(cursor, 2 if kind in ("min_of", "max_of") else 0, context)
        expr = Call(kind, arguments, start=start, end=cursor.end)
    else:
        raise cursor.unexpected(*context)
    cursor.nesting -= 1
    cursor.grow(cursor.height + 1)
    return expr


def _arguments(cursor: Cursor, count: int, context: tuple[str, str]) -> tuple[Expr, ...]:
    """Parse the name of a function, the cursor at it, and its arguments."""
    cursor.advance()
    _expect(cursor, "(", context)
    found: list[Expr] = []
    height = 1
    for position in range(count):
        if position:
            _expect(cursor, ",", context)
        found.append(_expression(cursor, 0, context))
        height = max(height, cursor.height)
    _expect(cursor, ")", context)
    cursor.height = height
    return tuple(found)


def _signed(sign: str, inner: Expr, start: int) -> Expr:
    if isinstance(inner, NumberLiteral):
        value = -inner.value if sign == "-" else inner.value
        return NumberLiteral(value, inner.is_duration, start=start, end=inner.end)
    return Unary(sign, inner, start=start, end=inner.end) if sign == "-" else inner


def _expect(cursor: Cursor, kind: str, context: tuple[str, str]) -> None:
    if cursor.kind != kind:
        raise cursor.unexpected(*context)
    cursor.advance()
