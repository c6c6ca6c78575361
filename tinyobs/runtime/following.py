"""How sinks follow the log: cursors read in worker threads, woken by commits, and places that are saved now and then.

A follower reads when something was committed, at most every `READ_EVERY_SECONDS`, so that many small batches are read
at once.  Records are settled in any order; the place moves up to the first that is not.

Not here: the cursors themselves (`storage/log_cursor.py`), who follows and why (sinks).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import Final, Protocol

import structlog
import trio
from attrs import define, field

from ..abc import CursorStart, LogCursor, Logged, LogLoss, LogPosition
from ..errors import CorruptionError, StorageError, Unavailable

READ_EVERY_SECONDS: Final = 0.1
"""Least time between two reads of one follower, unless there is more than it asked for."""
LOOK_EVERY_SECONDS: Final = 1.0
"""How often it is looked for something new though nobody told of a commit: some is durable later than committed."""
SAVE_EVERY_SECONDS: Final = 0.2
"""Least time between two saves of places."""
FORGET_AFTER_SECONDS: Final = 3600.0
"""A cursor that nobody has followed for so long, while the agent ran, is forgotten: its sink is no more."""

log = structlog.get_logger("log")


class HasCursors(Protocol):
    """What of a storage is needed here."""

    def cursor(self, name: str, start: CursorStart) -> LogCursor:
        """Open a cursor; see `abc.Storage`."""

    def forget_cursors(self, kept: Collection[str]) -> list[str]:
        """Remove cursors; see `abc.Storage`."""


@define(eq=False)
class _Open:
    """A record that was handed out."""

    end: LogPosition
    is_settled: bool = False


class Follower:
    """A cursor for one sink; see `abc.LogFollower`."""

    def __init__(self, cursor: LogCursor, group: Followers) -> None:
        self._cursor, self._group = cursor, group
        self._open: deque[_Open] = deque()
        self._by_end: dict[LogPosition, _Open] = {}
        self._place = self._came_to = cursor.saved
        """The place to save, and how far what was handed out reaches."""
        self._is_at_end = False
        """Whether the last read came to the end of the log."""
        self._read_at = -READ_EVERY_SECONDS
        self._closed = False

    @property
    def name(self) -> str:
        """The name of the cursor."""
        return self._cursor.name

    @property
    def is_draining(self) -> bool:
        """Whether the agent is stopping."""
        return self._group.is_draining

    async def read(self, samples_max: int) -> Sequence[Logged]:
        """Wait for committed records; see `abc.LogFollower.read`."""
        while True:
            if self._is_at_end:
                await self._wait()
            woken, draining = self._group.news, self.is_draining
            records = await self._read(samples_max)
            count = sum(len(r.batch) + len(r.batch.exemplars) for r in records)
            self._is_at_end = count < samples_max and woken is self._group.news
            for logged in records:
                self._by_end[logged.end] = opened = _Open(logged.end)
                self._open.append(opened)
            self._came_to = self._cursor.position
            if records:
                return records
            self._advance()
            if draining:
                return ()

    def settle(self, logged: Logged) -> None:
        """Say that a record has been dealt with; see `abc.LogFollower.settle`."""
        opened = self._by_end.pop(logged.end, None)
        if opened is not None:
            opened.is_settled = True
            self._advance()

    def take_loss(self) -> LogLoss:
        """Return what was missed since the last call."""
        return self._cursor.take_loss()

    def bytes_behind(self) -> int:
        """Return how many bytes of the log are still to be read."""
        return self._cursor.bytes_behind()

    async def aclose(self) -> None:
        """Save the place and close the cursor; idempotent."""
        if not self._closed:
            self._closed = True
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(self.close_now)
            self._group.tell_closed()

    # -- for the group -----------------------------------------------------------------------------------------

    def save_now(self) -> None:
        """Save the place, in a worker thread; a place that cannot be saved is saved later."""
        place = self._place
        if place > self._cursor.saved:
            try:
                self._cursor.save(place)
            except StorageError as e:
                if not self._closed:  # else it was closed meanwhile, by another thread, which has saved the place
                    self._group.complain(str(e))

    def close_now(self) -> None:
        """Save the place and close the cursor, in a worker thread."""
        self._closed = True
        self.save_now()
        self._cursor.close()
        self._group.closed(self)

    # -- private -----------------------------------------------------------------------------------------------

    async def _wait(self) -> None:
        """Wait for news, but not for ever, and then until the next read is due."""
        with trio.move_on_after(LOOK_EVERY_SECONDS):
            await self._group.news.wait()
        if not self.is_draining:
            await trio.sleep_until(self._read_at + READ_EVERY_SECONDS)
        self._group.heard()

    async def _read(self, samples_max: int) -> Sequence[Logged]:
        if self._closed:
            raise StorageError(f"the follower {self.name} is closed")
        self._read_at = trio.current_time()
        try:
            return await trio.to_thread.run_sync(self._cursor.read, samples_max)
        except CorruptionError as e:
            log.error("damage in the log; what builds on it is lost to this sink", cursor=self.name, error=str(e))
            await trio.to_thread.run_sync(self._cursor.pass_damage)
            return ()
        except OSError as e:
            raise StorageError(f"the log cannot be read: {e}") from e

    def _advance(self) -> None:
        """Move the place up to the first record that is not settled, to the end of what was read where all are."""
        while self._open and self._open[0].is_settled:
            self._place = max(self._place, self._open.popleft().end)
        if not self._open:
            self._place = max(self._place, self._came_to)
        if self._place > self._cursor.saved:
            self._group.is_dirty.set()


@define(eq=False)
class Followers:
    """The followers of one agent."""

    storage: Callable[[], HasCursors]
    is_draining: bool = False
    is_dirty: trio.Event = field(factory=trio.Event)
    """Set when some place may be saved."""
    news: trio.Event = field(factory=trio.Event)
    """Set when something was committed, or the agent stops."""
    _open: dict[str, Follower] = field(factory=dict)
    _one_closed: trio.Event = field(factory=trio.Event)
    _complaint: str = ""

    async def follow(self, name: str, start: CursorStart) -> Follower:
        """Return a follower; see `abc.Services.follow`."""
        storage = self.storage()
        cursor = await trio.to_thread.run_sync(storage.cursor, name, start)
        made = self._open[name] = Follower(cursor, self)
        return made

    def wake(self) -> None:
        """Say that something was committed."""
        self.news.set()

    def heard(self) -> None:
        """Wait for the next news from now on."""
        if self.news.is_set() and not self.is_draining:
            self.news = trio.Event()

    def drain(self) -> None:
        """Say that nothing more is coming."""
        self.is_draining = True
        self.news.set()

    async def wait_closed(self) -> None:
        """Return when sinks have closed all followers."""
        while self._open:
            self._one_closed = trio.Event()
            await self._one_closed.wait()

    def complain(self, text: str) -> None:
        """Log that a place could not be saved, once for each reason."""
        if text != self._complaint:
            log.error("a place in the log was not saved; after a restart some may be handed on again", error=text)
        self._complaint = text

    def closed(self, follower: Follower) -> None:
        """Take note that a follower was closed.  Any thread."""
        self._open.pop(follower.name, None)

    def tell_closed(self) -> None:
        """Wake whoever waits until all are closed."""
        self._one_closed.set()

    def close(self) -> None:
        """Close what sinks have left open, in a worker thread."""
        for follower in list(self._open.values()):
            follower.close_now()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Save places until cancelled, and forget cursors that nobody follows any more."""
        task_status.started()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._save)
            nursery.start_soon(self._forget)

    async def _save(self) -> None:
        while True:
            await self.is_dirty.wait()
            self.is_dirty = trio.Event()
            await trio.to_thread.run_sync(self._save_all)
            await trio.sleep(SAVE_EVERY_SECONDS)

    def _save_all(self) -> None:
        for follower in list(self._open.values()):
            follower.save_now()

    async def _forget(self) -> None:
        while True:
            seen = set(self._open)
            await trio.sleep(FORGET_AFTER_SECONDS)
            try:
                kept = seen.union(self._open)
                gone = await trio.to_thread.run_sync(self.storage().forget_cursors, kept)
            except (StorageError, Unavailable) as e:
                log.error("cursors that nobody follows could not be removed", error=str(e))
                continue
            for name in gone:
                log.warning("forgot a cursor of the log: nobody has followed it for an hour", cursor=name)
