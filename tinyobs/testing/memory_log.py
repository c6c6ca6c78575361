"""A log in memory for tests of sinks: with cursors whose places outlive an agent, restarts, and damage of choice.

`FakeServices.follow` follows one.  `restart` does what the end of a process does: what was read and not saved is read
again, and what was there before is in doubt.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from typing import Final

from ..abc import CursorStart, LogCursor, Logged, LogLoss, LogPosition
from ..errors import StorageError
from ..model.batch import Batch

_RECORD_BYTES: Final = 100
"""What a record takes up, as far as places tell."""


class MemoryLog:
    """Batches in order, as records of one file; has what of a storage cursors are about."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.places: dict[str, LogPosition] = {}
        """Cursor -> its saved place."""
        self.open: dict[str, MemoryCursor] = {}
        self.new_from = 0
        """How many records there were when this process began."""
        self.lock = threading.Lock()

    def add(self, batch: Batch) -> None:
        """Commit a batch."""
        self.batches.append(batch)

    def restart(self) -> None:
        """Let a new process begin; cursors that are open are gone without saving."""
        self.open.clear()
        self.new_from = len(self.batches)

    def end(self) -> LogPosition:
        """Return the place behind all records."""
        return LogPosition(1, _RECORD_BYTES * len(self.batches))

    def cursor(self, name: str, start: CursorStart) -> LogCursor:
        """Open a cursor; see `abc.Storage.cursor`.  An age is not known here: all but 0 begins with the oldest."""
        with self.lock:
            if name in self.open:
                raise StorageError(f"the cursor {name} is in use")
            begin = self.end() if start.age_ms == 0 else LogPosition(1, 0)
            made = self.open[name] = MemoryCursor(self, name, self.places.setdefault(name, begin))
            return made

    def forget_cursors(self, kept: Collection[str]) -> list[str]:
        """Remove cursors; see `abc.Storage.forget_cursors`."""
        gone = [n for n in self.places if n not in kept and n not in self.open]
        for name in gone:
            del self.places[name]
        return gone


class MemoryCursor(LogCursor):
    """A cursor of a `MemoryLog`."""

    def __init__(self, log: MemoryLog, name: str, place: LogPosition) -> None:
        self.name, self.position, self.saved = name, place, place
        self.loss = LogLoss()
        """What `take_loss` returns next."""
        self.failure: Exception | None = None
        """What `read` raises, until `pass_damage` is called."""
        self._log = log

    def read(self, samples_max: int) -> Sequence[Logged]:
        """Return the next records."""
        if self.failure is not None:
            raise self.failure
        found: list[Logged] = []
        samples = 0
        while samples < samples_max and self.position < self._log.end():
            number = self.position.offset // _RECORD_BYTES
            batch = self._log.batches[number]
            self.position = LogPosition(1, _RECORD_BYTES * (number + 1))
            found.append(Logged(batch, self.position, number < self._log.new_from))
            samples += len(batch) + len(batch.exemplars)
        return found

    def save(self, position: LogPosition) -> None:
        """Note a place."""
        self.saved = self._log.places[self.name] = position

    def bytes_behind(self) -> int:
        """Return how many bytes are left."""
        return self._log.end().offset - self.position.offset

    def take_loss(self) -> LogLoss:
        """Return `loss`."""
        loss, self.loss = self.loss, LogLoss()
        return loss

    def pass_damage(self) -> None:
        """Read on."""
        self.failure = None

    def close(self) -> None:
        """Give the cursor back."""
        if self._log.open.get(self.name) is self:
            del self._log.open[self.name]
