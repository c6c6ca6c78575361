"""The one way into storage: a bounded queue in front of the single writer.

A batch is made (a body decoded, say) and passes the processors in the writer's thread: it then meets no other thread that
wants the interpreter, and the event loop stays free.  Batches that arrive while the writer is at the disk are made and logged
meanwhile by a second thread, which takes turns with the first, and share the next fsync (group commit).  `append` returns when
its batch is durable.  A full queue or disk raises `Unavailable`.  Between batches the writer lets the storage do background work.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import inf
from typing import Any, Final, TypeVar

import structlog
import trio
from attrs import define, field, frozen

from ..abc import Clock, Notice, Processor, Storage, Then
from ..errors import DiskFullError, ReadOnlyError, StorageError, TinyObsError, Unavailable
from ..model.batch import AppendResult, Batch
from .processing import processed
from .turns import TakesTurns, Turn
from .writer_threads import WriterThreads

SAMPLES_QUEUED_MAX: Final = 2_000_000
"""Samples that may wait for the writer."""
SAMPLES_PER_COMMIT_MAX: Final = 500_000
"""Samples stored with one fsync, so that a commit stays short."""
COMMITS_MAX: Final = 2
"""Commits under way: one waits for the disk, one is prepared."""
MAINTAIN_EVERY_SECONDS: Final = 1.0
LINGER_SECONDS: Final = 0.1
"""How long a batch that may wait does so, for others to share its commit."""
DISK_FULL: Final = "The disk is full: no sample is stored until there is space."
READ_ONLY: Final = "A write to the disk has failed: no sample is stored until restart."

log = structlog.get_logger("ingest")
T = TypeVar("T")


@frozen
class IngestStatistics:
    """How the way into storage fares."""

    samples_queued: int
    """Samples that wait for the writer."""
    queue_full_total: int
    """Batches turned away because the queue was full."""
    commits_total: int
    """Group commits."""
    batches_total: int
    """Batches stored."""
    disk_full_total: int
    """Commits that failed because the disk was full."""
    failures_total: int
    """Commits that failed for another reason."""
    refused_total: Mapping[str, int] = field(metadata={"label": "reason"})
    """Samples that were refused."""


@define
class _Errand:
    work: Callable[[Storage], Any]
    done: trio.Event
    result: Any = None
    error: Exception | None = None


@define
class _Waiting:
    make: Callable[[], Batch]
    samples: int
    """About as many, as long as the batch is not made."""
    done: trio.Event
    result: AppendResult | None = None
    error: Exception | None = None
    given: Batch | None = None  # before the processors
    then: Then | None = None


_Stored = Sequence[tuple[_Waiting, Batch, AppendResult]]


class Ingest:
    """The queue and the writer's loop; `run` is a task of the agent."""

    def __init__(
        self,
        clock: Clock,
        on_committed: Callable[[Batch, AppendResult], None],
        on_sealed: Callable[[str, object], None] = lambda name, statistics: None,
        samples_queued_max: int = SAMPLES_QUEUED_MAX,
        samples_per_commit_max: int = SAMPLES_PER_COMMIT_MAX,
    ) -> None:
        self.processors: list[Processor] = []
        self.on_trouble: Callable[[str, bool], None] = lambda text, holds: None
        """Called with a sentence about the storage and whether it holds from now on or no more."""
        self._clock = clock
        self._on_committed = on_committed
        self._on_sealed = on_sealed
        self._samples_queued_max, self._samples_per_commit_max = samples_queued_max, samples_per_commit_max
        self._storage: Storage | None = None
        self._queue: deque[_Waiting] = deque()
        self._errands: deque[_Errand] = deque()
        self._samples = 0
        self._under_way = 0
        self._threads: WriterThreads[_Stored] | None = None
        self._in_turn: Callable[..., Sequence[AppendResult]] | None = None
        self._paused = False
        self._crash: BaseException | None = None
        self._turn = Turn()
        self._turn.come()
        self._refused: dict[str, int] = {}
        self._arrived = trio.Event()
        self._closing = self._is_disk_full = False
        self._is_due = False
        """Whether commits begin until nothing waits; else the batches there are may wait until `_due_at`."""
        self._due_at = inf
        self._queue_full = self._commits = self._batches = self._disk_full = self._failures = 0

    async def append(self, batch: Batch, *, may_wait: bool = False, then: Then | None = None) -> AppendResult:
        """Pass a batch through the processors into storage; return what became of it when it is durable.

        then: see `abc.Services.append`.
        """
        return await self._append(lambda: batch, len(batch), may_wait, then)

    async def append_from(self, make: Callable[[], Batch], samples: int) -> AppendResult:
        """Store the batch that `make` returns in the writer's thread; see `abc.Services.append_from`."""
        return await self._append(make, samples, may_wait=False)

    async def _append(
        self,
        make: Callable[[], Batch],
        samples: int,
        may_wait: bool,
        then: Then | None = None,
    ) -> AppendResult:
        if self._storage is None or self._closing:
            raise Unavailable("the storage is not open yet" if not self._closing else "the daemon is stopping")
        if self._samples + samples > self._samples_queued_max and self._queue:
            self._queue_full += 1
            raise Unavailable(f"too many samples wait for the disk (ingest queue of {self._samples_queued_max})")
        waiting = _Waiting(make, samples, trio.Event(), then=then)
        self._queue.append(waiting)
        self._samples += samples
        if not may_wait:
            self._is_due = True
        elif not self._is_due and self._due_at == inf:
            self._due_at = trio.current_time() + LINGER_SECONDS
            self._arrived.set()
        self._begin_commits()
        await waiting.done.wait()
        try:
            if waiting.error is not None:
                raise waiting.error
            assert waiting.result is not None, "neither stored nor failed"
            return waiting.result
        finally:
            del waiting, make, then  # else an error and what it was made of would hold each other

    async def run_on_writer(self, work: Callable[[Storage], T]) -> T:
        """Return what `work` makes of the storage, called in the writer's thread between two commits; raises likewise."""
        if self._storage is None or self._closing:
            raise Unavailable("the storage is not open yet" if not self._closing else "the daemon is stopping")
        errand = _Errand(work, trio.Event())
        self._errands.append(errand)
        self._arrived.set()
        await errand.done.wait()
        if errand.error is not None:
            raise errand.error
        result: T = errand.result
        return result

    async def wait_stored(self) -> None:
        """Return when all that has come so far is stored, or could not be."""
        self._is_due = True
        self._begin_commits()
        while self._queue or self._under_way:
            await self.run_on_writer(lambda storage: None)

    async def run(self, storage: Storage, *, task_status: trio.TaskStatus[None]) -> None:
        """Store what arrives until cancelled, then store what is left."""
        self._storage, self._threads = storage, WriterThreads(COMMITS_MAX)
        self._in_turn = storage.append_in_turn if isinstance(storage, TakesTurns) else None
        task_status.started()
        try:
            maintain_at = trio.current_time()
            while True:
                with trio.move_on_at(min(maintain_at, self._due_at)):
                    await self._wait()
                if trio.current_time() >= self._due_at:
                    self._is_due = True
                if self._errands:
                    await self._pause()
                    await self._run_errand(storage)
                if trio.current_time() >= maintain_at:
                    await self._pause()
                    more = await self._maintain(storage)
                    maintain_at = trio.current_time() + (0 if more else MAINTAIN_EVERY_SECONDS)
                self._go_on()
        finally:
            self._closing = self._is_due = True
            with trio.CancelScope(shield=True):
                while self._queue or self._errands or self._under_way:
                    self._go_on()
                    await self._pause()
                    await self._run_errand(storage)
            self._threads.stop()

    def statistics(self) -> IngestStatistics:
        """Return the counters."""
        return IngestStatistics(
            self._samples,
            self._queue_full,
            self._commits,
            self._batches,
            self._disk_full,
            self._failures,
            dict(self._refused),
        )

    async def _wait(self) -> None:
        """Wait until there is something new to do: an errand came, or, while there are to be none, the last commit ended."""
        await self._arrived.wait()
        self._arrived = trio.Event()
        crash, self._crash = self._crash, None
        if crash is not None:
            raise crash

    def _begin_commits(self) -> None:
        """Begin to store what waits, unless enough is under way; batches that come before its turn go with it."""
        while self._is_due and self._queue and self._under_way < COMMITS_MAX and not self._paused:
            assert self._threads is not None
            group = [] if self._under_way else self._take_waiting()
            self._under_way += 1
            before, self._turn = self._turn, Turn()
            self._threads.start(partial(self._store, group, before, self._turn), partial(self._ended, group))
        if not self._queue and not self._closing:
            self._is_due, self._due_at = False, inf

    async def _pause(self) -> None:
        """Begin no more commits; return when none is under way."""
        self._paused = True
        while self._under_way:
            await self._wait()

    def _go_on(self) -> None:
        self._paused = False
        self._begin_commits()

    def _take_waiting(self) -> list[_Waiting]:
        """Return what waits, as much as goes into one commit."""
        group: list[_Waiting] = []
        samples = 0
        while self._queue and (not group or samples + self._queue[0].samples <= self._samples_per_commit_max):
            group.append(self._queue.popleft())
            samples += group[-1].samples
        return group

    def _ended(self, group: list[_Waiting], stored: _Stored | None, error: BaseException | None) -> None:
        """Wake those who wait for a group, tell them what became of it, and begin the next."""
        try:
            if error is None:
                self._succeeded(stored or ())
            else:
                self._failed([w for w in group if w.error is None], error)
        except Exception as e:  # noqa: BLE001 - raised by `run`
            self._crash = e
        for waiting in group:
            self._samples -= waiting.samples
            waiting.done.set()
        self._under_way -= 1
        self._begin_commits()
        if (self._paused and not self._under_way) or self._crash is not None:
            self._arrived.set()

    async def _run_errand(self, storage: Storage) -> None:
        """Do the work that has waited longest; samples that came meanwhile go before the next."""
        if not self._errands:
            return
        errand = self._errands[0]
        # Like a commit it is never abandoned half-way: whoever asked is told what became of it.
        try:
            errand.result = await trio.to_thread.run_sync(errand.work, storage, abandon_on_cancel=False)
        except Exception as e:  # noqa: BLE001 - raised to whoever asked
            errand.error = e
        self._errands.popleft()  # only now: cancelled before it began, it is still there to be done at the end
        errand.done.set()
        if self._errands:
            self._arrived.set()

    def _store(self, group: list[_Waiting], before: Turn, turn: Turn) -> _Stored:
        """Make, process and store a group, or what waits when its turn comes, with one fsync, in a writer's thread."""
        before.wait()
        storage = self._storage
        assert storage is not None
        try:
            made: list[tuple[_Waiting, Batch]] = []

            def make() -> list[Batch]:
                group.extend(() if group else self._take_waiting())
                made.extend(self._make(group))
                return [batch for _, batch in made]

            if self._in_turn is not None:
                results = self._in_turn(make, turn.come)
            else:
                results = storage.append(batches) if (batches := make()) else []
        finally:
            turn.come()
        return [self._go_on_with(*m, result) for m, result in zip(made, results, strict=True)]

    def _go_on_with(
        self, waiting: _Waiting, batch: Batch, result: AppendResult
    ) -> tuple[_Waiting, Batch, AppendResult]:
        """Return what became of a batch as its sender is told, having called what comes next, which may fail alone."""
        result = result.after(batch, batch if waiting.given is None else waiting.given)
        if waiting.then is not None:
            try:
                waiting.then(result)
            except Exception as e:  # noqa: BLE001 - raised to whoever waits for it
                waiting.error = e
        return waiting, batch, result

    def _make(self, group: Sequence[_Waiting]) -> list[tuple[_Waiting, Batch]]:
        """Make and process batches; one that cannot be made, or is too large to be stored, fails alone."""
        made = []
        assert self._storage is not None
        for waiting in group:
            try:
                waiting.given = waiting.make()
                batch = processed(self.processors, waiting.given)
                self._storage.check(batch)
            except Exception as e:  # noqa: BLE001 - raised to whoever waits for it
                waiting.error = e
            else:
                made.append((waiting, batch))
        return made

    def _succeeded(self, stored: _Stored) -> None:
        if stored and self._is_disk_full:
            self._is_disk_full = False
            self.on_trouble(DISK_FULL, False)
        self._commits += bool(stored)
        self._batches += len(stored)
        for waiting, batch, result in stored:
            waiting.result = result
            for reason, count in result.refused.items():
                self._refused[reason] = self._refused.get(reason, 0) + count
            self._on_committed(batch, result)

    def _failed(self, group: Sequence[_Waiting], error: BaseException) -> None:
        told = error if isinstance(error, TinyObsError) else StorageError(f"samples could not be stored: {error!r}")
        if told is not error:
            self._crash = error
        if isinstance(error, DiskFullError):
            self._disk_full += 1
            self._is_disk_full = True
            self.on_trouble(DISK_FULL, True)
        else:
            self._failures += 1
            if isinstance(error, ReadOnlyError):
                self.on_trouble(READ_ONLY, True)
        log.error("samples were not stored", batches=len(group), error=str(error))
        for waiting in group:
            waiting.error = told

    async def _maintain(self, storage: Storage) -> bool:
        try:
            more, sealed, notices = await trio.to_thread.run_sync(
                _slice, storage, self._clock.now_ms(), abandon_on_cancel=False
            )
        except StorageError as e:
            self._failures += 1
            log.error("background work of the storage failed", error=str(e))
            await trio.sleep(MAINTAIN_EVERY_SECONDS)
            return False
        for notice in notices:
            if notice.is_fault:
                log.error(notice.text)
                self.on_trouble(notice.text, True)
            else:
                log.warning(notice.text)
        for name, statistics in sealed:
            self._on_sealed(name, statistics)
        return more


def _slice(storage: Storage, now_ms: int) -> tuple[bool, Sequence[tuple[str, object]], Sequence[Notice]]:
    """Let the storage do a slice of work; return whether there is more, the files it finished, and what is to be told."""
    return storage.maintain(now_ms), storage.take_sealed(), storage.take_notices()
