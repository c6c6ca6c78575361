"""What the operators do to numbers: arrays of float64, with the results of Go's math package.

Not here: which samples meet (`binary.py`), and the set operators.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from ..errors import QueryExecutionError
from .blocks import Floats, Mask


def _power(base: Floats, exponent: Floats) -> Floats:
    """Return `base ** exponent`; NumPy may take a square root for 0.5, which differs for -Inf and -0."""
    found: Floats = np.power(base, exponent)
    return np.where((exponent == 0.5) & ((base == -np.inf) | (base == 0)), np.abs(base), found)


ARITHMETIC: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "%": np.fmod,
    "^": _power,
    "atan2": np.arctan2,
}
"""Operators that compute; the result is no longer the same metric."""

COMPARISONS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "==": np.equal,
    "!=": np.not_equal,
    ">": np.greater,
    "<": np.less,
    ">=": np.greater_equal,
    "<=": np.less_equal,
}
"""Operators that filter, or yield 0 and 1 with `bool`."""

SETS: Final = frozenset(("and", "or", "unless"))
TRIMS: Final = frozenset(("</", ">/"))
"""Operators for native histograms only: on floats they yield nothing."""


def arithmetic(op: str, left: Floats, right: Floats) -> Floats:
    """Return `left op right`; `QueryExecutionError` for an operator of histograms, which two scalars may stand around."""
    if op in TRIMS:
        raise QueryExecutionError(f'operator "{op}" not allowed for Scalar operations')
    with np.errstate(all="ignore"):
        out: Floats = ARITHMETIC[op](left, right)
    return out


def comparison(op: str, left: Floats, right: Floats) -> Mask:
    """Return where `left op right` holds."""
    out: Mask = COMPARISONS[op](left, right)
    return out


def lesser(a: Floats, b: Floats) -> Floats:
    """Return Go's `math.Min`: -Inf wins over NaN, NaN over numbers."""
    return np.where((a == -np.inf) | (b == -np.inf), -np.inf, np.minimum(a, b))


def greater(a: Floats, b: Floats) -> Floats:
    """Return Go's `math.Max`: +Inf wins over NaN, NaN over numbers."""
    return np.where((a == np.inf) | (b == np.inf), np.inf, np.maximum(a, b))


def scalar_operation(op: str, left: float, right: float) -> float:
    """Return `left op right` for two scalars; a comparison yields 0 or 1."""
    a, b = np.float64(left), np.float64(right)
    if op in COMPARISONS:
        return float(COMPARISONS[op](a, b))
    return float(arithmetic(op, np.asarray(a), np.asarray(b)))
