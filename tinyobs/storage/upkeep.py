"""Background work of the engine, a bounded slice at a time: the scheduler of its jobs.

One job at a time, in the order of `planners`: what memory needs first (cut), then what comes and goes whole, then what
rewrites segments.  Between jobs head and index are kept in shape.  When the disk fails, the job is given up and
counted, its samples stay where they were, and work goes on after a pause, first with what others have to do: a file
that can never be read must not keep retention from making room.  Queries and, as far as the log goes, ingestion are not
affected.

What a job is, and how to add one: `jobs.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import define

from ..errors import CorruptionError, StorageError
from .adoption import Adoption
from .cleaning import Cleaning
from .compaction import plan_merge
from .cut_job import CutJob, PrepareJob, is_cut_due
from .expiry import Expiry
from .jobs import Job, Ledger, Planner, Watch
from .layout import SEGMENT_FOLDER, segment_name
from .memory import return_free_memory
from .merging import MergeJob
from .retention import plan_retention
from .rollup_job import Tiering

if TYPE_CHECKING:
    from .engine import Engine

PAUSE_MS: Final = 60_000
"""Pause after a failure."""
LOOK_EVERY_MS: Final = 60_000
"""How often it is checked that all segments are still there."""
_NEVER: Final = -(2**63)


@define
class UpkeepCounts:
    """What upkeep has done since the start, beside the costs of jobs."""

    dropped: int = 0
    by_time: int = 0
    by_size: int = 0
    adopted: int = 0
    rejected: int = 0
    deletes: int = 0


class Upkeep:
    """The job in progress, and the books of those that are done."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.job: Job | None = None
        self.ledger = Ledger()
        self.counts = UpkeepCounts()
        self.cleaning, self.adoption, self.expiry = Cleaning(), Adoption(), Expiry()
        self.tiering = Tiering()
        self.planners: list[Planner] = [
            self._plan_cut,
            self.adoption.plan,
            plan_retention,
            self._plan_rescue,
            self.cleaning.plan,
            self._plan_merge,
            self.expiry.plan,
            self.tiering.plan,  # what is merged and rid of deletes is what tiers are made from
        ]
        self.damaged: set[int] = set()
        """Segments that could not be read: jobs leave them out until restart, so that work goes on elsewhere."""
        self.missing: list[str] = []
        """Segments that somebody removed; they can be read until restart, and are written anew until then."""
        self.failure_count = 0
        self.corruption_count = 0
        self.last_failure = ""
        """What went wrong last, for the log; "" when nothing has."""
        self._planner: Planner | None = None
        """Whose job is in progress or failed last."""
        self._is_failed = False
        """Whether that one failed, and nobody else has had a turn since."""
        self._is_worked_off = self._is_prepared = False
        self._is_all_wanted = self._is_cut_wanted = False
        """Whether somebody wants everything compacted now, and the head has still to be cut for it."""
        self._not_before_ms = self._last_cut_ms = self._look_at_ms = _NEVER

    def step(self, now_ms: int) -> bool:
        """Do one slice; tell whether more is waiting."""
        try:
            self._engine.wal.sync_when_due()
            if self.is_pausing(now_ms):
                return False
            self._look_for_missing(now_ms)
            more = self._go_on() if self.job is not None else self._begin(now_ms)
            self._is_all_wanted = self._is_all_wanted and more
            return more
        except (OSError, CorruptionError, StorageError) as e:
            self._note(e, now_ms)
            self.abandon()
            return False

    def is_pausing(self, now_ms: int) -> bool:
        """Tell whether nothing is done because of a failure; a longer wait means that the clock was put back."""
        return 0 < self._not_before_ms - now_ms <= PAUSE_MS

    def clean(self, now_ms: int) -> bool:
        """Do one slice of regaining the space of deletes; tell whether there is more.

        Raises `StorageError` when that fails, or has failed so lately that it is not tried again yet.
        """
        if not self._engine.segments.deletes:
            return False
        self.cleaning.is_urgent = True
        self._urgent_step(now_ms)
        return bool(self._engine.segments.deletes) and self.cleaning.is_urgent

    def compact(self, now_ms: int) -> bool:
        """Do one slice of cutting all that the head holds and merging whatever may become one segment.

        Tells whether there is more; raises `StorageError` as `clean` does.  Else the newest data stays as it is until
        newer data shows that it is complete.
        """
        if not self._is_all_wanted:
            self._is_all_wanted = self._is_cut_wanted = True
        return self._urgent_step(now_ms)

    def abandon(self) -> None:
        """Give up the job in progress; nothing is lost."""
        self._is_all_wanted = self._is_cut_wanted = False
        job, self.job = self.job, None
        if job is None:
            return
        self.ledger.close(job, finished=False)
        try:
            job.abort()
        except OSError:
            self.failure_count += 1  # the file is unlisted and goes at the next start

    # -- private -----------------------------------------------------------------------------------------------

    def _urgent_step(self, now_ms: int) -> bool:
        """Do one slice of work that somebody waits for; tell whether more is waiting, raise when it fails."""
        if self.is_pausing(now_ms):
            raise StorageError(f"background work pauses after a failure: {self.last_failure}")
        failures = self.failure_count
        more = self.step(now_ms)
        if self.failure_count > failures:
            raise StorageError(self.last_failure)
        return more

    def _begin(self, now_ms: int) -> bool:
        failed = self._planner if self._is_failed else None
        for planner in sorted(self.planners, key=lambda p: p == failed):
            watch, self._planner = Watch(), planner
            self.job, self._is_worked_off = planner(self._engine, now_ms), False
            if self.job is not None:
                self._is_failed = False
                self.ledger.charge(self.job.kind, watch)
                return True
        self._is_failed = False
        return self._tidy()

    def _go_on(self) -> bool:
        job, watch = self.job, Watch()
        assert job is not None
        try:
            if not self._is_worked_off:
                self._is_worked_off = not job.step()
            else:
                job.finish()
                self.ledger.close(job, finished=True)
                self.job = None
        finally:
            self.ledger.charge(job.kind, watch)
        return True

    def _tidy(self) -> bool:
        """Bring head and index into shape; tell whether there may be more to do."""
        engine = self._engine
        if engine.index.tidy():  # first: chunks in label order are what queries for a metric read quickly
            engine.head.ranks = engine.index.ranks
            return_free_memory()
            return True
        united = engine.head.unite(engine.options.slice_samples_max)
        if united is not None:
            engine.publish(lambda: engine.head.put_united(*united))
            return True
        return False

    def _plan_cut(self, engine: Engine, now_ms: int) -> Job | None:
        if not is_cut_due(engine, now_ms, self._last_cut_ms, at_once=self._is_cut_wanted):
            return None
        if not self._is_prepared:
            self._is_prepared = True
            return PrepareJob(engine)
        self._is_prepared = self._is_cut_wanted = False
        job = CutJob(engine)
        self._last_cut_ms = now_ms
        return job

    def _plan_rescue(self, engine: Engine, now_ms: int) -> Job | None:
        """Return the job that writes a segment anew whose file is gone: what is open can still be read."""
        if self.missing:
            for entry, reader in engine.segments.pairs:
                if segment_name(entry.sequence) in self.missing and entry.sequence not in self.damaged:
                    return MergeJob(engine, "rescue", [(entry, reader)], entry.level)
        return None

    def _plan_merge(self, engine: Engine, now_ms: int) -> Job | None:
        segments = engine.segments
        level, inputs = plan_merge(segments.entries, engine.options, self.damaged, at_once=self._is_all_wanted)
        if not inputs:
            return None
        reader_of = {e.sequence: r for e, r in segments.pairs}
        expired = self.expiry.expired(engine, now_ms)
        return MergeJob(engine, "merge", [(e, reader_of[e.sequence]) for e in inputs], level, expired)

    def _look_for_missing(self, now_ms: int) -> None:
        """Note segments that somebody removed."""
        if 0 <= self._look_at_ms - now_ms <= LOOK_EVERY_MS:
            return
        self._look_at_ms = now_ms + LOOK_EVERY_MS
        there = set(self._engine.disk.list(SEGMENT_FOLDER))
        names = [segment_name(e.sequence) for e in self._engine.segments.entries]
        before, self.missing = self.missing, [n for n in names if n.rpartition("/")[2] not in there]
        fresh = [n for n in self.missing if n not in before]
        if fresh:
            self.failure_count += 1
            self.last_failure = (
                f"{fresh[0]} was removed while it was in use ({len(self.missing)} in all); it is written anew from "
                "what is still open, and nothing is lost; where that fails, restore it from a copy of the directory "
                "before the next start"
            )
            self._engine.notices.note(self.last_failure)

    def _note(self, error: Exception, now_ms: int) -> None:
        self.failure_count, self._is_failed = self.failure_count + 1, True
        self._tell(error)
        if isinstance(error, CorruptionError):
            self.corruption_count += 1
            entries = self._engine.segments.entries
            self.damaged.update(e.sequence for e in entries if segment_name(e.sequence) == error.file)
        self.last_failure = str(error)
        self._not_before_ms = now_ms + PAUSE_MS

    def _tell(self, error: Exception) -> None:
        notices = self._engine.notices
        if isinstance(error, CorruptionError):
            notices.note_damage(error)
        else:
            notices.note(
                f"background work failed: {error}; nothing is lost, and it is tried again in {PAUSE_MS // 1000} s; "
                "until it succeeds the log and the memory in use grow"
            )
