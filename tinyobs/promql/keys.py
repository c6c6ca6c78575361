"""Matching keys: which labels decide whether two series meet."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..model.labels import NAME, Labels
from .blocks import Indexes
from .nodes import Matching


def key_function(matching: Matching) -> Callable[[Labels], Labels]:
    """Return what makes the matching key of a series: the labels of `on`, or all but `ignoring` and the name."""
    if matching.on:
        names = frozenset(matching.labels)
        return lambda labels: tuple([p for p in labels if p[0] in names])
    gone = frozenset(matching.labels) | {NAME}
    return lambda labels: tuple([p for p in labels if p[0] not in gone])


def signatures(left: Sequence[Labels], right: Sequence[Labels], matching: Matching) -> tuple[Indexes, Indexes, int]:
    """Return (numbers of the keys of the left, of the right, how many keys there are)."""
    index: dict[Labels, int] = {}
    key = key_function(matching)
    a = np.fromiter((index.setdefault(key(labels), len(index)) for labels in left), np.int64, len(left))
    b = np.fromiter((index.setdefault(key(labels), len(index)) for labels in right), np.int64, len(right))
    return a, b, len(index)
