"""Two commits under way that stay in order: each has its turn when the one before it is in the log."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from ..model.batch import AppendResult, Batch


@runtime_checkable
class TakesTurns(Protocol):
    """A storage that can prepare batches while those before them are on their way to the disk.

    A second thread may begin its own call once `next_may_begin` was called.  Else as `Storage.append`.
    """

    def append_in_turn(
        self, make: Callable[[], Sequence[Batch]], next_may_begin: Callable[[], None]
    ) -> Sequence[AppendResult]:
        """Store the batches that `make` returns, durably."""


class Turn:
    """Comes when the commit before is in the log; every commit waits for that of its predecessor."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()
        self._came = False

    def wait(self) -> None:
        """Return when it has come; called once."""
        self._lock.acquire()

    def come(self) -> None:
        """Let the next begin; idempotent."""
        if not self._came:
            self._came = True
            self._lock.release()
