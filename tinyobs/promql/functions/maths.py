"""Functions of single numbers: rounding, powers, logarithms, angles, clamping.

Results are those of Go's math package; domain errors are NaN.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..blocks import Block, Floats, Mask, Value, mapped
from ..operators import greater, lesser
from .registry import Kind, function

if TYPE_CHECKING:
    from ..evaluate import Evaluation
    from ..plan import CallNode

_PLAIN = {
    "abs": np.fabs,
    "acos": np.arccos,
    "acosh": np.arccosh,
    "asin": np.arcsin,
    "asinh": np.arcsinh,
    "atan": np.arctan,
    "atanh": np.arctanh,
    "ceil": np.ceil,
    "cos": np.cos,
    "cosh": np.cosh,
    "exp": np.exp,
    "floor": np.floor,
    "ln": np.log,
    "log10": np.log10,
    "log2": np.log2,
    "sin": np.sin,
    "sinh": np.sinh,
    "sqrt": np.sqrt,
    "tan": np.tan,
    "tanh": np.tanh,
}

for _name, _ufunc in _PLAIN.items():
    function(_name, Kind.ELEMENTWISE)(_ufunc)


@function("deg", Kind.ELEMENTWISE)
def deg(values: Floats) -> Floats:
    """Radians to degrees."""
    return values * 180 / np.pi


@function("rad", Kind.ELEMENTWISE)
def rad(values: Floats) -> Floats:
    """Degrees to radians."""
    return values * np.pi / 180


@function("sgn", Kind.ELEMENTWISE)
def sgn(values: Floats) -> Floats:
    """-1, 1, or the value itself (0, -0, NaN)."""
    return np.where(values < 0, -1.0, np.where(values > 0, 1.0, values))


@function("round", Kind.ELEMENTWISE)
def round_(values: Floats, nearest: Floats | float = 1.0) -> Floats:
    """The closest multiple of `nearest`; ties go up."""
    inverse = 1.0 / np.asarray(nearest)
    rounded: Floats = np.floor(values * inverse + 0.5) / inverse
    return rounded


@function("clamp_min", Kind.ELEMENTWISE)
def clamp_min(values: Floats, low: Floats) -> Floats:
    """The larger of value and bound."""
    return greater(low, values)


@function("clamp_max", Kind.ELEMENTWISE)
def clamp_max(values: Floats, high: Floats) -> Floats:
    """The smaller of value and bound."""
    return lesser(high, values)


@function("clamp", Kind.GENERAL)
def clamp(evaluation: Evaluation, call: CallNode) -> Value:
    """The value between two bounds; nothing at steps where the upper bound is below the lower."""
    vector = evaluation.floats(call.arguments[0])
    low, high = evaluation.scalar(call.arguments[1]), evaluation.scalar(call.arguments[2])
    sound: Mask = ~(high < low)

    def change(block: Block) -> Block:
        return Block(block.first, greater(low, lesser(high, block.values)), block.present & sound)

    return evaluation.dropped(mapped(vector, vector.labels, change, vector.drop))
