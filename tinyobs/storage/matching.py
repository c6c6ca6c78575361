"""Which series fulfil matchers: the set logic, shared by every label index.

An index answers two questions: what values a label has, and which series carry given values.  Everything else is
here.  Matchers are evaluated against distinct values, never against series.  A matcher that the empty string fulfils
also selects series without the label, so it is turned round: series with a value that does *not* match are taken out.

Not here: where postings come from (`index.py` in memory, `segment_index.py` on disk).
"""

from __future__ import annotations

import abc
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..model.matchers import Matcher, MatchType

U32 = NDArray[np.uint32]

SEARCH_FACTOR: Final = 16
"""A sorted set this many times smaller than another is looked up in it by binary search, else by a bitmap."""


class PostingsIndex(abc.ABC):
    """Postings of `series_count` series, numbered from 0."""

    series_count: int

    @abc.abstractmethod
    def names(self) -> Sequence[str]:
        """Return the label names, sorted."""

    @abc.abstractmethod
    def values(self, name: str) -> Sequence[str]:
        """Return the distinct values of a label, sorted; nothing for an unknown name."""

    @abc.abstractmethod
    def postings(self, name: str, first: int, last: int) -> tuple[NDArray[np.int64], U32]:
        """Return (offsets int64[n+1], series) of values number `first` .. `last - 1` of a label.

        The series of each value ascend; those of different values are disjoint.
        """

    # -- selection ---------------------------------------------------------------------------------------------

    def match(self, matchers: Sequence[Matcher]) -> U32:
        """Return the ascending numbers of the series that fulfil all matchers."""
        found: U32 | None = None
        for wanted, name, value in _equalities(matchers):
            if wanted:
                found = self._intersect(found, self._series(name, self._position(name, value)))
                if not len(found):
                    return found
        for m in sorted(matchers, key=_cost):
            if m.type is MatchType.EQUAL and m.value:
                continue
            empty = m.matches_empty()
            positions = self._positions(m)
            if empty:
                outside = _complement(positions, len(self.values(m.name)))
                found = self._all() if found is None else found
                found = self._without(found, self._series(m.name, outside))
            else:
                found = self._intersect(found, self._series(m.name, positions))
            if not len(found):
                return found
        return self._all() if found is None else found

    def label_names(self, numbers: U32 | None = None) -> list[str]:
        """Return the sorted label names of the given series, of all by default."""
        if numbers is None:
            return list(self.names())
        chosen = self._bitmap(numbers)
        return [n for n in self.names() if chosen[self.postings(n, 0, len(self.values(n)))[1]].any()]

    def label_values(self, name: str, numbers: U32 | None = None) -> list[str]:
        """Return the sorted values of a label on the given series, on all by default."""
        values = self.values(name)
        if numbers is None or not values:
            return list(values[:])
        offsets, series = self.postings(name, 0, len(values))
        hits = np.add.reduceat(self._bitmap(numbers)[series], offsets[:-1], dtype=np.int64)
        listed = values[:]
        return [listed[i] for i in np.flatnonzero(hits).tolist()]

    # -- private -----------------------------------------------------------------------------------------------

    def _position(self, name: str, value: str) -> list[int]:
        """Return the position of a value among those of its label, as a list of one or none."""
        values = self.values(name)
        i = bisect_left(values, value)
        return [i] if i < len(values) and values[i] == value else []

    def _positions(self, m: Matcher) -> list[int]:
        """Return the ascending positions of the values that match."""
        values = self.values(m.name)
        regex = m.regex
        if regex is None:
            same = self._position(m.name, m.value)
            return same if m.type is MatchType.EQUAL else _complement(same, len(values))
        if regex.literals is not None:
            positions = sorted(i for v in regex.literals if v for i in self._position(m.name, v))
        else:
            first, last = 0, len(values)
            if regex.prefix:
                first = bisect_left(values, regex.prefix)
                prefix = regex.prefix
                last = bisect_left(values, True, first, key=lambda v: not v.startswith(prefix))
            decide = regex.matches
            positions = [i for i, v in enumerate(values[first:last], first) if decide(v)]
        return positions if m.type is MatchType.REGEX else _complement(positions, len(values))

    def _series(self, name: str, positions: Sequence[int]) -> U32:
        """Return the ascending series that carry one of the values at ascending positions."""
        if not positions:
            return np.empty(0, np.uint32)
        runs = _runs(positions)
        parts = [self.postings(name, a, b)[1] for a, b in runs]
        series = parts[0] if len(parts) == 1 else np.concatenate(parts)
        if len(positions) == 1:
            return series
        if len(series) * SEARCH_FACTOR > self.series_count:
            return np.flatnonzero(self._bitmap(series)).astype(np.uint32)
        return np.sort(series)

    def _all(self) -> U32:
        return np.arange(self.series_count, dtype=np.uint32)

    def _bitmap(self, series: U32) -> NDArray[np.bool_]:
        out = np.zeros(self.series_count, np.bool_)
        out[series] = True
        return out

    def _contains(self, series: U32, candidates: U32) -> NDArray[np.bool_]:
        """Return for each candidate whether it is among the ascending `series`."""
        if not len(series):
            return np.zeros(len(candidates), np.bool_)
        if len(candidates) * SEARCH_FACTOR < self.series_count:
            at = np.searchsorted(series, candidates)
            at[at == len(series)] = 0
            inside: NDArray[np.bool_] = series[at] == candidates
            return inside
        return self._bitmap(series)[candidates]

    def _intersect(self, found: U32 | None, series: U32) -> U32:
        if found is None:
            return series
        few, many = (found, series) if len(found) <= len(series) else (series, found)
        return few[self._contains(many, few)]

    def _without(self, found: U32, series: U32) -> U32:
        return found[~self._contains(series, found)] if len(series) else found


def _equalities(matchers: Iterable[Matcher]) -> list[tuple[bool, str, str]]:
    return [(bool(m.value), m.name, m.value) for m in matchers if m.type is MatchType.EQUAL]


def _cost(m: Matcher) -> int:
    """Return how dear a matcher is to evaluate, roughly: comparisons, then literals, then true expressions."""
    if m.regex is None:
        return 0
    return 1 if m.regex.literals is not None else 2


def _complement(positions: Sequence[int], count: int) -> list[int]:
    inside = np.ones(count, np.bool_)
    inside[list(positions)] = False
    out: list[int] = np.flatnonzero(inside).tolist()
    return out


def _runs(positions: Sequence[int]) -> list[tuple[int, int]]:
    """Return ascending positions as ranges (first, last + 1)."""
    at = np.asarray(positions)
    cuts = np.flatnonzero(np.diff(at) != 1) + 1
    firsts, lasts = at[np.r_[0, cuts]], at[np.r_[cuts - 1, len(at) - 1]] + 1
    return list(zip(firsts.tolist(), lasts.tolist(), strict=True))
