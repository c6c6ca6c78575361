"""Durations computed from the query: `[5m * 2]`, `offset -step()`, `[range()]`.

Source of the semantics: prometheus promql/durations.go (3.14).
"""

from __future__ import annotations

import math
from typing import Final

from attrs import frozen

from ..errors import QueryError
from . import nodes
from .nodes import Duration, Expr

_SECONDS_MAX: Final = 2.0**63 / 1e9


class DurationError(QueryError):
    """A computed duration has no usable value."""

    kind = "bad_data"


@frozen
class TimeRange:
    """The time range of a query as asked; `step_ms` is 0 for an instant query."""

    start_ms: int
    end_ms: int
    step_ms: int

    def value(self, name: str) -> float:
        """Return the seconds of `start`, `end`, `range` or `step`."""
        milliseconds = {
            "start": self.start_ms,
            "end": self.end_ms,
            "range": self.end_ms - self.start_ms,
            "step": self.step_ms,
        }
        return milliseconds[name] / 1000


def resolved_ms(duration: Duration, times: TimeRange, *, positive: bool = False) -> int:
    """Return a duration in milliseconds; `DurationError` when it has no value, or is not positive but must be."""
    if isinstance(duration, int):
        return duration
    seconds = _seconds(duration, times)
    if positive and not seconds > 0:
        raise DurationError("duration must be greater than 0")
    if not abs(seconds) < _SECONDS_MAX:
        raise DurationError("duration is out of range")
    return int(seconds * 1000)


def _seconds(expr: Expr, times: TimeRange) -> float:
    if isinstance(expr, nodes.NumberLiteral):
        return expr.value
    if isinstance(expr, nodes.Paren):
        return _seconds(expr.expr, times)
    if isinstance(expr, nodes.Unary):
        value = _seconds(expr.expr, times)
        return -value if expr.op == "-" else value
    if isinstance(expr, nodes.Call):
        values = [_seconds(a, times) for a in expr.args]
        name = expr.name.lower()
        if name in ("min_of", "max_of"):
            return min(values) if name == "min_of" else max(values)
        return times.value(name)
    assert isinstance(expr, nodes.Binary), f"no duration from {type(expr).__name__}"
    return _calculated(expr.op, _seconds(expr.left, times), _seconds(expr.right, times))


def _calculated(op: str, a: float, b: float) -> float:
    if op in "/%" and b == 0:
        raise DurationError("division by zero" if op == "/" else "modulo by zero")
    match op:
        case "+":
            return a + b
        case "-":
            return a - b
        case "*":
            return a * b
        case "/":
            return a / b
        case "%":
            return math.fmod(a, b)
    try:
        return math.pow(a, b)
    except (OverflowError, ValueError):
        return math.nan
