"""Between scalars and vectors, and scalars of scalars."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..blocks import Scalar, Value, vector_of
from ..operators import greater, lesser
from .registry import Kind, function

if TYPE_CHECKING:
    from ..evaluate import Evaluation
    from ..plan import CallNode


@function("scalar", Kind.GENERAL)
def scalar(evaluation: Evaluation, call: CallNode) -> Value:
    """The only value of a vector; NaN where it has none or several."""
    count = np.zeros(call.steps, np.int64)
    value = np.full(call.steps, np.nan)
    for block in evaluation.floats(call.arguments[0]).blocks():
        if not len(block):
            continue
        here = block.present.sum(axis=0)
        row = block.present.argmax(axis=0)
        np.copyto(value, block.values[row, np.arange(call.steps)], where=here > 0)
        count += here
    return Scalar(np.where(count == 1, value, np.nan))


@function("vector", Kind.GENERAL)
def vector(evaluation: Evaluation, call: CallNode) -> Value:
    """A scalar as the vector of one series without labels."""
    values = evaluation.scalar(call.arguments[0])
    return vector_of([()], values[None, :], np.ones((1, call.steps), np.bool_))


@function("pi", Kind.GENERAL)
def pi(_: Evaluation, call: CallNode) -> Value:
    """Pi."""
    return Scalar(np.full(call.steps, np.pi))


@function("max_of", Kind.GENERAL)
def max_of(evaluation: Evaluation, call: CallNode) -> Value:
    """The larger of two scalars."""
    return Scalar(greater(evaluation.scalar(call.arguments[0]), evaluation.scalar(call.arguments[1])))


@function("min_of", Kind.GENERAL)
def min_of(evaluation: Evaluation, call: CallNode) -> Value:
    """The smaller of two scalars."""
    return Scalar(lesser(evaluation.scalar(call.arguments[0]), evaluation.scalar(call.arguments[1])))
