"""Which series belong together: the groups of an aggregation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..model.labels import NAME, Labels
from . import nodes
from .blocks import Indexes, Mask, Vector
from .keys import dropped, kept, numbered

if TYPE_CHECKING:
    from .evaluate import Evaluation


def groups_of(evaluation: Evaluation, vector: Vector, expr: nodes.Aggregate) -> tuple[Indexes, list[Labels]]:
    """Return (the group of each series of a vector, the labels of each group); both are shared, not to be changed."""
    what = ("groups", expr.grouping, expr.without)
    return evaluation.labels.get(vector.labels, what, lambda labels: grouped(labels, expr))


def grouped(series: Sequence[Labels], expr: nodes.Aggregate) -> tuple[Indexes, list[Labels]]:
    """Return (the group of each series, the labels of each group)."""
    if not expr.grouping and not expr.without:
        return np.zeros(len(series), np.int64), [()] if len(series) else []
    names = frozenset(expr.grouping)
    return numbered(dropped(series, names | {NAME}) if expr.without else kept(series, names))


def flags_of_groups(vector: Vector, groups: Indexes, count: int) -> Mask | None:
    """Return the drop flag of each group: set when any of its series has it."""
    if vector.drop is None:
        return None
    flags = np.zeros(count, np.bool_)
    flags[groups[vector.drop]] = True
    return flags


def rows_of_groups(groups: Indexes, count: int) -> list[Indexes]:
    """Return the rows of each group, ascending."""
    order = np.argsort(groups, kind="stable")
    return np.split(order, np.cumsum(np.bincount(groups, minlength=count))[:-1]) if count else []
