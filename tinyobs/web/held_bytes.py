"""How much the bodies of all requests hold in memory, as sent, unpacked and decoded; beyond a limit they are turned away.

Many clients that each send as much as one may would else fill the memory.  A body is counted before it arrives where its head
tells how long it is, what it is unpacked to before that is done; all is given back when the request has been answered.

The limit has two parts: bodies may fill three quarters, and a quarter is for what is made of those that are decoded at the
moment, which is many times as much as they are: a few at a time, piece by piece (`receiving/pieces.py`).
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Final

from attrs import field, frozen

from .problem import HttpError

HELD: Final = "tinyobs.held"
"""The key under which the scope of a request has its `Held`."""
RETRY_SECONDS: Final = "1"
WORK_SHARE: Final = 4
"""One part in so many of the limit is left for decoding."""
CLIENT_GONE: Final = "client_gone"
IS_STOPPING: Final = "stopping"
"""Why work on bodies ends before it is done."""


@frozen
class HeldStatistics:
    """Numbers of the bodies of requests."""

    bodies_bytes: int
    """Bytes that the bodies of requests hold, as sent, unpacked and decoded."""
    bodies_turned_away_total: int
    """Requests that were refused because their bodies did not fit beside those of others."""
    bodies_dropped_total: Mapping[str, int] = field(metadata={"label": "reason"})
    """Bodies that had come, and were not decoded, or not to their end: their clients had gone, or the daemon stopped."""


class HeldBytes:
    """The bytes of all bodies; one object for each application.  Thread-safe: bodies are unpacked in worker threads."""

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self.bytes = 0
        self.turned_away = 0
        """Requests that were refused because they did not fit."""
        self.dropped = {CLIENT_GONE: 0, IS_STOPPING: 0}
        self._lock = threading.Lock()

    def statistics(self) -> HeldStatistics:
        """Return the numbers as of now."""
        return HeldStatistics(self.bytes, self.turned_away, dict(self.dropped))

    @property
    def room_bytes(self) -> int:
        """Bytes that all bodies may hold: the limit without what is left for decoding."""
        return self.bytes_max - self.bytes_max // WORK_SHARE

    def take(self, count: int, own: int = 0) -> None:
        """Count so many bytes more; own: what the request holds already.

        Raises `HttpError`: 503 when they do not fit beside those of others, 413 when they never will.
        """
        room = self.room_bytes
        with self._lock:
            if self.bytes + count <= room:
                self.bytes += count
                return
            self.turned_away += 1
        if own + count > room:
            told = f"the request needs {own + count} bytes of memory"
            raise HttpError(413, f"{told}, and tinyobs.web.bodies_size_max leaves {room} for all")
        raise HttpError(
            503,
            f"the requests under way hold {self.bytes} bytes, and tinyobs.web.bodies_size_max leaves {room}: try again",
            {"retry-after": RETRY_SECONDS},
        )

    def give_back(self, count: int) -> None:
        """Count so many bytes less."""
        with self._lock:
            self.bytes -= count


class Held:
    """What one request holds; one thread at a time."""

    def __init__(self, all_bodies: HeldBytes) -> None:
        self._all = all_bodies
        self._bytes = self._expected = 0

    def expect(self, count: int) -> None:
        """Count bytes that have not come yet, as the head of a request tells them; raises as `add` does.

        A request that cannot be held as a whole is turned away before it has cost anything.
        """
        self._take(count)
        self._expected += count

    def add(self, count: int) -> None:
        """Count so many bytes more; raises `HttpError` when they do not fit, see `HeldBytes.take`."""
        known = min(count, self._expected)
        self._expected -= known
        self._take(count - known)

    def give_back(self, count: int) -> None:
        """Count so many bytes less: what was unpacked is there without its packed form."""
        self._all.give_back(count)
        self._bytes -= count

    def release(self) -> None:
        """Give all back; the request is done."""
        self._all.give_back(self._bytes)
        self._bytes = self._expected = 0

    def _take(self, count: int) -> None:
        self._all.take(count, self._bytes)
        self._bytes += count
