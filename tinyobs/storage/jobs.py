"""Background jobs of the engine: one shape for all, and what they cost.

A job is made by a planner, runs in slices (`step`) and ends in one of two ways: `finish`, which makes its result
durable and visible, or `abort`, after which nothing of it is left.  Between slices the writer stores samples, so a
slice should take no longer than `SLICE_SECONDS`, about; a job looks at the time itself.

A planner looks at the engine and returns the job to do next, None when there is nothing to do:

    def plan_rollup(engine: Engine, now_ms: int) -> Job | None

Planners are asked in order (`Upkeep.planners`) whenever no job runs, with every call of `maintain`, so they must be
cheap.  They see `engine.segments.pairs` (entries with readers, deletes already masked) and `engine.options`; a job puts
what it wrote in place with `engine.segments.replace`.  A delete aborts the job that runs.
"""

from __future__ import annotations

import abc
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from attrs import Factory, define, frozen

if TYPE_CHECKING:
    from .engine import Engine

SLICE_SECONDS: Final = 0.1
"""How long a slice goes on; what it has begun then it brings to an end, which takes as long again at most."""


@define
class Work:
    """What a job has done so far, and how much it will do.  before, after: bytes of segments read and written."""

    samples_total: int = 0
    samples_read: int = 0
    samples_written: int = 0
    bytes_before: int = 0
    bytes_after: int = 0

    @property
    def share(self) -> float:
        """The share of the samples that have been read, 0 to 1."""
        return min(1.0, self.samples_read / self.samples_total) if self.samples_total else 0.0


class Job(abc.ABC):
    """Work in slices.  Methods may raise `OSError` or `CorruptionError`; the job is aborted then."""

    kind: str
    """What the statistics call it: `cut`, `merge`, `rewrite`, ..."""
    work: Work

    @abc.abstractmethod
    def step(self) -> bool:
        """Do one slice; tell whether there is more before `finish`."""

    @abc.abstractmethod
    def finish(self) -> None:
        """Make the result durable and visible; called once, after `step` said that there is no more."""

    @abc.abstractmethod
    def abort(self) -> None:
        """Remove what was begun, as far as the disk lets it; called instead of `finish`, or when that failed."""


Planner = Callable[["Engine", int], Job | None]
"""(engine, now in ms) -> the next job."""


@define
class KindCost:
    """What the jobs of one kind have cost since the start."""

    finished: int = 0
    aborted: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    samples_read: int = 0
    samples_written: int = 0
    bytes_before: int = 0
    bytes_after: int = 0
    slice_seconds_max: float = 0.0


@define
class Ledger:
    """The costs by kind."""

    kinds: dict[str, KindCost] = Factory(dict)

    def of(self, kind: str) -> KindCost:
        """Return the costs of a kind."""
        return self.kinds.setdefault(kind, KindCost())

    def charge(self, kind: str, watch: Watch) -> None:
        """Add the time since a watch was started."""
        cost, seconds = self.of(kind), time.perf_counter() - watch.began
        cost.seconds += seconds
        cost.cpu_seconds += time.thread_time() - watch.cpu_began
        cost.slice_seconds_max = max(cost.slice_seconds_max, seconds)

    def close(self, job: Job, *, finished: bool) -> None:
        """Add what a job has done, now that it has ended."""
        cost = self.of(job.kind)
        if finished:
            cost.finished += 1
        else:
            cost.aborted += 1
        cost.samples_read += job.work.samples_read
        cost.samples_written += job.work.samples_written
        cost.bytes_before += job.work.bytes_before
        cost.bytes_after += job.work.bytes_after


@frozen
class Watch:
    """When a slice began, by the wall and by the CPU time of this thread."""

    began: float = Factory(time.perf_counter)
    cpu_began: float = Factory(time.thread_time)

    @property
    def is_up(self) -> bool:
        """Whether the slice has gone on for long enough."""
        return time.perf_counter() - self.began >= SLICE_SECONDS
