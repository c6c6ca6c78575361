"""Wall time for the agent.  Monotonic time is trio's; tests replace both."""

from __future__ import annotations

import time


class SystemClock:
    """The clock of the machine."""

    def now_ms(self) -> int:
        """Return milliseconds since 1970."""
        return time.time_ns() // 1_000_000
