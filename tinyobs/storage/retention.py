"""Which segments are too old or too many.  Whole segments go; a sample may outlive its time by a segment's width."""

from __future__ import annotations

from collections.abc import Sequence

from .manifest import SegmentEntry
from .options import EngineOptions


def plan_drop(entries: Sequence[SegmentEntry], options: EngineOptions, now_ms: int) -> list[SegmentEntry]:
    """Return the segments to drop: all samples older than the retention, then the oldest beyond the size limit.

    now_ms: from when age counts: the clock, but never later than the newest stored sample (Prometheus counts from its
    newest block), since a clock that jumps ahead must not empty the directory.
    """
    expired = [e for e in entries if e.maxt_ms < now_ms - options.retention_ms]
    if not options.retention_bytes:
        return expired
    kept = sorted((e for e in entries if e not in expired), key=lambda e: e.maxt_ms)
    excess = sum(e.bytes for e in kept) - options.retention_bytes
    for e in kept:
        if excess <= 0:
            break
        expired.append(e)
        excess -= e.bytes
    return expired
