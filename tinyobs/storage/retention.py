"""Which segments go as a whole: too old, or too many.  A sample may outlive its time by a segment's width.

Each tier has its own age.  Size counts segments and log together, by bytes or by a share of the file system, and takes
the oldest segments first whatever their tier.  What is older than the retention of a selector only: `expiry.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from .changes import ALWAYS_MS
from .head import NEVER
from .jobs import Job, Work
from .manifest import SegmentEntry
from .options import DAY_MS, EngineOptions

if TYPE_CHECKING:
    from .engine import Engine

JUMP_MS: Final = (7 * DAY_MS, 30 * DAY_MS)
"""A stretch without any sample as long as half the retention, but no shorter or longer than these, makes what lies behind
it doubtful: the clock may have been wrong."""
PROOF_MS: Final = DAY_MS
"""Samples behind such a stretch count once they span so much: nobody leaves a wrong clock for that long."""


def age_counts_from(engine: Engine, now_ms: int) -> int:
    """Return the time from which the age of samples counts, ms.

    It is the clock, but never later than the newest stored sample (Prometheus counts from its newest block), and samples
    taken in while the clock was far ahead do not count: else a minute with a wrong clock would empty the directory.
    """
    return min(now_ms, proven_ms(engine))


def proven_ms(engine: Engine) -> int:
    """Return the newest stored time that no wrong clock made, as far as one can tell; `NEVER` where nothing is stored."""
    head = engine.head
    spans = [(e.mint_ms, e.maxt_ms) for e in engine.segments.entries if not e.tier_ms]
    if head.min_ms <= head.max_ms:  # it may have a gap in it, so only its ends are known
        spans += [(head.min_ms, head.min_ms), (head.max_ms, head.max_ms)]
    return newest_beyond_doubt(spans, engine.options.retention_ms) if spans else NEVER


def newest_beyond_doubt(spans: Sequence[tuple[int, int]], retention_ms: int) -> int:
    """Return the newest time of spans (first, last) that does not lie behind a jump without proof."""
    jump_ms = min(max(retention_ms // 2, JUMP_MS[0]), JUMP_MS[1])
    ordered = sorted(spans, key=lambda s: s[1], reverse=True)
    first, last = ordered[0]
    for low, high in ordered[1:]:
        if first - high > jump_ms:
            if last - first >= PROOF_MS:
                break
            first, last = low, high
        first = min(first, low)
    return last


def plan_drop(
    entries: Sequence[SegmentEntry], options: EngineOptions, now_ms: int, *, log_bytes: int = 0, disk_bytes: int = 0
) -> list[SegmentEntry]:
    """Return the segments to drop: all samples older than the retention, then the oldest beyond the size limit.

    now_ms: from when age counts (`age_counts_from`).  disk_bytes: the size of the file system, 0 when it is not known,
    and then a limit in percent does not hold.
    """
    expired = [e for e in entries if e.maxt_ms < now_ms - options.retention_of(e.tier_ms)]
    limit = size_limit(options, disk_bytes)
    if not limit:
        return expired
    kept = sorted((e for e in entries if e not in expired), key=lambda e: e.maxt_ms)
    excess = log_bytes + sum(e.bytes for e in kept) - limit
    for e in kept:
        if excess <= 0:
            break
        expired.append(e)
        excess -= e.bytes
    return expired


def size_limit(options: EngineOptions, disk_bytes: int) -> int:
    """Return how many bytes segments and log may have together, 0 for no limit."""
    limits = [options.retention_bytes, int(disk_bytes * options.retention_percent / 100)]
    return min((n for n in limits if n), default=0)


class DropJob(Job):
    """Segments that go as a whole."""

    kind = "drop"

    def __init__(self, engine: Engine, dropped: Sequence[SegmentEntry], expired_count: int) -> None:
        """Drop segments, so many of them because of their age and the others because of their size."""
        self._engine, self.dropped, self._expired_count = engine, dropped, expired_count
        samples, size = sum(e.samples for e in dropped), sum(e.bytes for e in dropped)
        self.work = Work(samples_total=samples, bytes_before=size)

    def step(self) -> bool:
        """Do nothing: all happens at once."""
        return False

    def finish(self) -> None:
        """Take the segments off the manifest and remove them."""
        self._engine.segments.replace(self.dropped, (), self._engine.publish)
        self._engine.changes.note(ALWAYS_MS)
        counts = self._engine.upkeep.counts
        counts.dropped += len(self.dropped)
        counts.by_time += self._expired_count > 0
        counts.by_size += self._expired_count < len(self.dropped)

    def abort(self) -> None:
        """Nothing was begun."""


def plan_retention(engine: Engine, now_ms: int) -> Job | None:
    """Return the job that drops what is too old or too much; raises `OSError`."""
    segments, options = engine.segments, engine.options
    log_bytes = disk_bytes = 0
    if options.retention_bytes or options.retention_percent:
        log_bytes = engine.followed.needed_bytes()
        disk_bytes = engine.disk.total_bytes() if options.retention_percent else 0
    counted_ms = age_counts_from(engine, now_ms)
    drop = plan_drop(segments.entries, options, counted_ms, log_bytes=log_bytes, disk_bytes=disk_bytes)
    expired_count = sum(e.maxt_ms < counted_ms - options.retention_of(e.tier_ms) for e in drop)
    return DropJob(engine, drop, expired_count) if drop else None
