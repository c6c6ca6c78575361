"""What changed since when: lets those who remember answers know from which time on they have to look again.

Every change of what is stored has a number, and a time before which it changed nothing.  Asked for all changes since a
number, the log gives the least of their times.  Only changes that no later one surpasses are kept, by whole seconds, so
that the log stays short however much is stored.
"""

from __future__ import annotations

from bisect import bisect_right
from threading import Lock
from typing import Final

from attrs import Factory, define

NEVER_MS: Final = (1 << 63) - 1
"""After all times: nothing changed."""
ALWAYS_MS: Final = -(1 << 63)
"""Before all times: anything may have changed."""
KEPT_MAX: Final = 4096
"""Changes that are kept: an hour of samples that come in order.  Of older ones the least time is kept."""
_ROUND_MS: Final = 1000


@define(eq=False)
class ChangeLog:
    """Thread-safe.  Numbers and times of the changes kept ascend both."""

    _count: int = 0
    _numbers: list[int] = Factory(list)
    _times_ms: list[int] = Factory(list)
    _lock: Lock = Factory(Lock)

    def now(self) -> int:
        """Return the number of the newest change; to be asked for before what is stored is read."""
        return self._count

    def note(self, first_ms: int) -> None:
        """Note a change of samples from `first_ms` on; to be called when readers can see it."""
        first_ms = max(first_ms // _ROUND_MS * _ROUND_MS, ALWAYS_MS)
        with self._lock:
            while self._times_ms and self._times_ms[-1] >= first_ms:
                self._times_ms.pop()
                self._numbers.pop()
            self._times_ms.append(first_ms)
            self._numbers.append(self._count + 1)
            if len(self._times_ms) > KEPT_MAX:
                # The second oldest stands for both, with the earlier time.
                del self._times_ms[1], self._numbers[0]
            self._count += 1

    def since(self, number: int) -> int:
        """Return the least time of all changes after the one with a number, `NEVER_MS` without any."""
        with self._lock:
            at = bisect_right(self._numbers, number)
            return self._times_ms[at] if at < len(self._times_ms) else NEVER_MS
