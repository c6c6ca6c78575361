"""Threads that commit: a few that live as long as the storage is open, and a hop to them that costs next to nothing.

`trio.to_thread` makes a task, a limiter's token and a context for every call, which is a tenth of what a small commit
costs.  Here work goes through a queue to whichever thread is free, and its outcome comes back as a call on the loop.

Not here: what is done there and in which order (`ingest.py`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Generic, TypeVar

import trio

T = TypeVar("T")
Ended = Callable[[T | None, BaseException | None], None]
"""Takes the result of some work, or what it raised."""


class WriterThreads(Generic[T]):
    """`count` threads; made, used and stopped on the event loop."""

    def __init__(self, count: int) -> None:
        self._jobs: SimpleQueue[tuple[Callable[[], T], Ended[T]] | None] = SimpleQueue()
        self._token = trio.lowlevel.current_trio_token()
        self._threads = [threading.Thread(target=self._work, name=f"writer {i}", daemon=True) for i in range(count)]
        for thread in self._threads:
            thread.start()

    def start(self, work: Callable[[], T], ended: Ended[T]) -> None:
        """Do work in a thread; then `ended` is called on the event loop, where it must not raise."""
        self._jobs.put((work, ended))

    def stop(self) -> None:
        """End the threads, which must have nothing to do."""
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            work, ended = job
            result: T | None = None
            error: BaseException | None = None
            try:
                result = work()
            except BaseException as e:  # noqa: BLE001, ASYNC103 - handed to `ended`; panics of Rust libraries as well
                error = e
            self._token.run_sync_soon(ended, result, error)
            del job, work, ended, result, error  # while it waits, a thread must not keep a batch alive
