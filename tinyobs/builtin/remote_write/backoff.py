"""Waiting before another attempt: twice as long each time, with chance in it, up to a limit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from attrs import define

SPREAD: Final = 0.5
"""A pause is up to this share longer than the step it belongs to; at the limit it is up to half of it shorter."""


@define
class Backoff:
    """The pauses of one request.  Times in seconds; chance() yields numbers from 0 to 1."""

    shortest: float
    longest: float
    chance: Callable[[], float]
    _step: float = 0.0

    def next(self, asked: float | None = None) -> float:
        """Return how long to wait now; `asked` is what the receiver wants instead."""
        step = self._step = min(max(2 * self._step, self.shortest), max(self.longest, self.shortest))
        if asked:
            return asked
        if step * (1 + SPREAD) <= self.longest:
            return step * (1 + SPREAD * self.chance())
        return max(step * (1 - SPREAD / 2 * self.chance()), min(self.shortest, self.longest))
