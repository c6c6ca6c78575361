"""Regular time grids: the steps at which an expression is evaluated.

An instant query is a grid of one step.  A subquery has a grid of its own, aligned to multiples of its resolution.
"""

from __future__ import annotations

import numpy as np
from attrs import evolve, frozen
from numpy.typing import NDArray


@frozen
class Grid:
    """`steps` moments from `start_ms` on, `step_ms` apart (`step_ms` >= 1; `steps` may be 0)."""

    start_ms: int
    step_ms: int
    steps: int

    @property
    def end_ms(self) -> int:
        """The last moment."""
        return self.start_ms + self.step_ms * (self.steps - 1)

    def times(self) -> NDArray[np.int64]:
        """Return the moments as int64[steps], milliseconds."""
        return self.start_ms + self.step_ms * np.arange(self.steps, dtype=np.int64)

    def shifted(self, by_ms: int) -> Grid:
        """Return the grid moved into the past by `by_ms`."""
        return evolve(self, start_ms=self.start_ms - by_ms)


def instant(time_ms: int) -> Grid:
    """Return the grid of one moment."""
    return Grid(time_ms, 1, 1)


def between(start_ms: int, end_ms: int, step_ms: int) -> Grid:
    """Return the grid from `start_ms` to `end_ms` inclusive; empty when the end is before the start."""
    return Grid(start_ms, step_ms, max(0, (end_ms - start_ms) // step_ms + 1))


def subquery(outer: Grid, range_ms: int, step_ms: int) -> Grid:
    """Return the moments at which the inside of a subquery is evaluated, over all steps of `outer`.

    The first is the first multiple of `step_ms` after `outer.start_ms - range_ms` (the range is open on the left).
    """
    start = step_ms * ((outer.start_ms - range_ms) // step_ms + 1)
    return between(start, outer.end_ms, step_ms)
