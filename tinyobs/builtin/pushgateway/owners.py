"""Which group a series belongs to: a column of numbers over the refs of the registry.

Two groups whose keys differ only in labels without a value are two groups with the same series.  A series then belongs to the
group that was pushed last, and goes over to the other one when that is deleted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

Refs = NDArray[np.uint32]


class Owners:
    """The numbers of groups by series, 0 for none."""

    def __init__(self) -> None:
        self._numbers = np.zeros(1024, np.int64)
        self.are_shared = False
        """Whether two groups have ever had the same series."""

    def others(self, number: int, refs: Refs) -> Iterable[tuple[int, int]]:
        """Yield (ref, number of the group) of the series that belong to other groups."""
        self._grow(refs)
        found = self._numbers[refs]
        for i in np.flatnonzero((found != 0) & (found != number)).tolist():
            yield int(refs[i]), int(found[i])

    def are_own(self, number: int, refs: Refs) -> NDArray[np.bool_]:
        """Return which series belong to a group."""
        own: NDArray[np.bool_] = self._numbers[refs] == number
        return own

    def own(self, number: int, refs: Refs) -> Refs:
        """Return the series that belong to a group, of those that it has."""
        return refs[self.are_own(number, refs)] if self.are_shared else refs

    def replace(self, number: int, old: Refs, new: Refs, everybody: Callable[[], Iterable[tuple[int, Refs]]]) -> Refs:
        """Give a group other series than before; return those that belong to no group any more.

        everybody: gives the number and the series of all groups.
        """
        self._grow(new)
        gone: Refs = np.setdiff1d(self.own(number, old), new) if len(old) else old
        self._numbers[gone] = 0
        if self.are_shared and len(gone):
            for other, refs in everybody():
                if other != number and (inherited := np.intersect1d(refs, gone)).size:
                    self._numbers[inherited] = other
                    gone = np.setdiff1d(gone, inherited)
        self.are_shared |= any(True for _ in self.others(number, new))
        self._numbers[new] = number
        return gone

    def _grow(self, refs: Refs) -> None:
        highest = int(refs.max(initial=0))
        if highest >= len(self._numbers):
            grown = np.zeros(2 * highest, np.int64)
            grown[: len(self._numbers)] = self._numbers
            self._numbers = grown
