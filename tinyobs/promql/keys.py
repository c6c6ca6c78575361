"""Keys of series: which labels decide whether two series meet, or belong to one group.

Series of one selector mostly have the same label names in the same places; then a key is picked by position, without
looking at every label.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Sequence
from operator import itemgetter
from typing import TypeVar

import numpy as np

from ..model.labels import NAME, Labels
from .blocks import Indexes
from .nodes import Matching

K = TypeVar("K", bound=Hashable)


def kept(series: Sequence[Labels], names: Collection[str]) -> list[Labels]:
    """Return each label set with only the labels in `names`."""
    places = [i for i, pair in enumerate(series[0]) if pair[0] in names] if series else []
    if places and len(places) == len(names):
        last = places[-1]
        expected = [series[0][i][0] for i in places]
        # Lists, not generators: nearly always every series has to be looked at.
        reach = min([len(x) for x in series])
        if reach > last and not [x for x in series if [x[i][0] for i in places] != expected]:
            if len(places) == 1:
                return [(x[last],) for x in series]
            return list(map(itemgetter(*places), series))
    return [tuple([p for p in labels if p[0] in names]) for labels in series]


def dropped(series: Sequence[Labels], names: Collection[str]) -> list[Labels]:
    """Return each label set without the labels in `names`."""
    return [tuple([p for p in labels if p[0] not in names]) for labels in series]


def numbered(keys: Sequence[K]) -> tuple[Indexes, list[K]]:
    """Return (the number of each key, the distinct keys in order of appearance)."""
    distinct = list(dict.fromkeys(keys))
    index = dict(zip(distinct, range(len(distinct)), strict=True))
    return np.fromiter(map(index.__getitem__, keys), np.int64, len(keys)), distinct


def key_function(matching: Matching) -> Callable[[Sequence[Labels]], list[Labels]]:
    """Return what makes the matching keys of series: the labels of `on`, or all but `ignoring` and the name."""
    if matching.on:
        names = frozenset(matching.labels)
        return lambda series: kept(series, names)
    gone = frozenset(matching.labels) | {NAME}
    return lambda series: dropped(series, gone)


def signatures(left: Sequence[Labels], right: Sequence[Labels], matching: Matching) -> tuple[Indexes, Indexes, int]:
    """Return (numbers of the keys of the left, of the right, how many keys there are)."""
    keys = key_function(matching)
    numbers, distinct = numbered(keys(left) + keys(right))
    return numbers[: len(left)], numbers[len(left) :], len(distinct)
