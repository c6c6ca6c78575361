"""What the server has to tell those who look at it: a list of sentences that hold now, and whoever listens to changes.

Semantics and names of the metrics: prometheus util/notifications.  Used from the event loop only.  Not here: what is
told (`tinyobs.runtime.agent`) and how it is sent (`api_v1/notifications.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import trio
from attrs import evolve, field, frozen

WAITING_MAX: Final = 10
"""Changes that wait for a listener that is slow; later ones are dropped."""
KEPT_MAX: Final = 100
"""Sentences that hold at one time; the oldest go."""


@frozen
class Notification:
    """One sentence.  time_ms: since when, or when it was said last.  active: it holds."""

    text: str
    time_ms: int
    active: bool = True


@frozen
class NotificationStatistics:
    """How listening goes."""

    subscribers: int = field(metadata={"metric": "prometheus_api_notification_active_subscribers"})
    """The current number of active notification subscribers."""
    sent_total: int = field(metadata={"metric": "prometheus_api_notification_updates_sent_total"})
    """Total number of notification updates sent."""
    dropped_total: int = field(metadata={"metric": "prometheus_api_notification_updates_dropped_total"})
    """Total number of notification updates dropped."""


class Notifications:
    """The sentences that hold, in the order of their coming."""

    def __init__(self, now_ms: Callable[[], int], subscribers_max: int) -> None:
        self._now_ms = now_ms
        self._subscribers_max = subscribers_max
        self._held: dict[str, Notification] = {}
        self._subscribers: set[trio.MemorySendChannel[Notification]] = set()
        self._sent = self._dropped = 0

    @property
    def active(self) -> list[Notification]:
        """What holds now."""
        return list(self._held.values())

    def add(self, text: str) -> None:
        """Say that something holds from now on; what holds already is said again."""
        said = Notification(text, self._now_ms())
        self._held[text] = said
        while len(self._held) > KEPT_MAX:
            del self._held[next(iter(self._held))]
        self._tell(said)

    def remove(self, text: str) -> None:
        """Say that something does not hold any more; nothing happens when it did not."""
        held = self._held.pop(text, None)
        if held is not None:
            self._tell(evolve(held, active=False))

    @contextmanager
    def subscription(self) -> Iterator[trio.MemoryReceiveChannel[Notification] | None]:
        """Yield a channel of what holds now and of all changes, or None when there are too many listeners already."""
        if len(self._subscribers) >= self._subscribers_max:
            yield None
            return
        send, receive = trio.open_memory_channel[Notification](WAITING_MAX + len(self._held))
        for held in self._held.values():
            send.send_nowait(held)
        self._subscribers.add(send)
        try:
            yield receive
        finally:
            self._subscribers.discard(send)
            send.close()
            receive.close()

    def close(self) -> None:
        """Let every listener come to its end: nothing follows."""
        for send in self._subscribers:
            send.close()
        self._subscribers.clear()

    def statistics(self) -> NotificationStatistics:
        """Return the counters."""
        return NotificationStatistics(len(self._subscribers), self._sent, self._dropped)

    def _tell(self, change: Notification) -> None:
        for send in self._subscribers:
            self._sent += 1
            try:
                send.send_nowait(change)
            except (trio.WouldBlock, trio.BrokenResourceError):
                self._dropped += 1
