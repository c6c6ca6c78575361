"""The label sets of series by their numbers, made when they are asked for.

An aggregation over a million series needs few labels or none; tuples for all of them would take 180 MB.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, overload

import numpy as np
from numpy.typing import NDArray

from ..model.labels import Labels
from ..model.registry import SeriesRegistry

AT_A_TIME: Final = 4096
"""Numbers that are turned into Python integers at a time."""


class RegistryLabels(Sequence[Labels]):
    """What `[registry.labels(r) for r in numbers]` would hold; a slice is of the same kind."""

    def __init__(self, registry: SeriesRegistry, numbers: NDArray[np.uint32]) -> None:
        self._registry, self._numbers = registry, numbers

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, place: int) -> Labels: ...

    @overload
    def __getitem__(self, place: slice) -> RegistryLabels: ...

    def __getitem__(self, place: int | slice) -> Labels | RegistryLabels:
        if isinstance(place, slice):
            return RegistryLabels(self._registry, self._numbers[place])
        return self._registry.labels(int(self._numbers[place]))

    def __iter__(self) -> Iterator[Labels]:
        for first in range(0, len(self._numbers), AT_A_TIME):
            yield from map(self._registry.labels, self._numbers[first : first + AT_A_TIME].tolist())

    def __eq__(self, other: object) -> bool:
        if isinstance(other, RegistryLabels) and other._registry is self._registry:
            return np.array_equal(self._numbers, other._numbers)
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(_same, self, other))

    __hash__ = None  # type: ignore[assignment]


def _same(a: object, b: object) -> bool:
    return a == b
