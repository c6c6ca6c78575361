"""Limits on rates by the generic cell rate algorithm: one number for each source, however much it sends.

The number is the time at which everything that a source was given will be worked off at the rate that it may have (the
"theoretical arrival time").  A source may be ahead of the clock by the tolerance.  Source: ITU-T I.371, annex A.  Pure: whoever
calls tells the time.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

SOURCES_MAX: Final = 100_000
"""Sources remembered; those that were quiet for longest go first, which lets them begin anew."""

_ROUNDING_SECONDS: Final = 1e-6
"""Who comes back after just the time that was told must not be told to wait for what rounding has left."""


class RateLimit:
    """So many units a second for each source, and so many more at once as make up the tolerance."""

    def __init__(self, per_second: float, tolerance_seconds: float, sources_max: int = SOURCES_MAX) -> None:
        """per_second: more than 0, of sources for which nothing else is said."""
        self._per_second, self._tolerance = per_second, tolerance_seconds
        self._sources_max = sources_max
        self._due: OrderedDict[str, float] = OrderedDict()
        """Sources that owe something, in the order in which they were given something last."""

    def __len__(self) -> int:
        """The number of sources that are remembered."""
        return len(self._due)

    def wait_seconds(self, source: str, units: float, now: float, per_second: float | None = None) -> float:
        """Return how long a source must wait before it may have so many units, 0 where it may now.

        now: seconds of any clock that never goes back.  per_second: where it is another than that of all.  More units than fit
        into the tolerance may be had by a source that owes nothing: else they never could.
        """
        due = self._due.get(source, now)
        if due <= now:
            return 0.0
        wait = min(due + units / (per_second or self._per_second) - now - self._tolerance, due - now)
        return wait if wait > _ROUNDING_SECONDS else 0.0

    def take(self, source: str, units: float, now: float, per_second: float | None = None) -> None:
        """Note that a source was given so many units; fewer than 0 where it was given less than was noted."""
        due = max(self._due.get(source, now), now) + units / (per_second or self._per_second)
        self._due[source] = due
        self._due.move_to_end(source)
        while self._due:  # who owes nothing need not be remembered
            oldest, owed = next(iter(self._due.items()))
            if owed > now and len(self._due) <= self._sources_max:
                break
            del self._due[oldest]
