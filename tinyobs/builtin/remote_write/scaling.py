"""How many shards a destination needs: from what comes in, what goes out, and how long sending takes.

The idea and the constants are those of prometheus storage/remote/queue_manager.go `calculateDesiredShards`: with the time
that a sample takes on average, so many senders are busy with what comes in and with 5 % of the backlog a second.
"""

from __future__ import annotations

import math
from typing import Final

from attrs import define, field

UPDATE_SECONDS: Final = 10.0
"""How often the number is thought over."""
WEIGHT: Final = 0.2
"""Of the newest interval in the moving averages."""
TOLERANCE: Final = 0.3
"""Smaller changes, as a share of the present number, are not made."""
CATCH_UP_SHARE: Final = 0.05
"""How much of the backlog is to be sent each second."""
BEHIND_SECONDS: Final = 10.0
"""With a longer backlog the number does not go down."""


@define
class Rate:
    """An exponentially weighted moving average of what is added a second."""

    rate: float = 0.0
    _new: float = 0.0
    _begun: bool = False

    def add(self, amount: float) -> None:
        """Add to the interval that runs."""
        self._new += amount

    def tick(self, seconds: float) -> None:
        """End an interval of this length."""
        newest = self._new / seconds
        self._new = 0.0
        if self._begun:
            self.rate += WEIGHT * (newest - self.rate)
        elif newest > 0:
            self._begun, self.rate = True, newest


@define
class Scaling:
    """What is measured of a destination, and the number of shards that follows from it."""

    low: int
    high: int
    came: Rate = field(factory=Rate)
    """Samples read from the log."""
    kept: Rate = field(factory=Rate)
    """Those of them that are to be sent."""
    went: Rate = field(factory=Rate)
    """Samples that are done with, delivered or refused."""
    took: Rate = field(factory=Rate)
    """Seconds that requests took."""
    desired: float = 0.0
    """The newest result, before rounding and bounds."""

    def decide(self, now: int, behind_seconds: float, seconds: float) -> int:
        """Return how many shards there should be.

        now: how many there are.  behind_seconds: how far the newest delivered sample is behind the newest committed one.
        seconds: since the last call.
        """
        for rate in (self.came, self.kept, self.went, self.took):
            rate.tick(seconds)
        if self.went.rate <= 0:
            return now
        backlog = max(behind_seconds, 0.0) * self.kept.rate
        self.desired = self.took.rate / self.went.rate * (self.kept.rate + CATCH_UP_SHARE * backlog)
        wanted = math.ceil(self.desired)
        if now * (1 - TOLERANCE) <= wanted <= now * (1 + TOLERANCE):
            return now
        if wanted < now and behind_seconds > BEHIND_SECONDS:
            return now
        return min(max(wanted, self.low), self.high)
