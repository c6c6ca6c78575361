"""Retention by selector: series whose samples may go sooner than those of others.

A whole segment is dropped only when all of it is too old (`retention.py`); here a segment is rewritten without the
samples that have expired by a selector's retention.  Merging leaves them out in passing.  To rewrite a segment for
little would cost more than it gives, so it waits until a tenth of its samples, estimated from its index, has expired,
or until all that the selector has there expired a day ago.

Of several selectors that fit a series, the shortest retention holds.  One that is longer than the retention of all has
no effect.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from .deletes import Delete
from .jobs import Job, Watch
from .manifest import SegmentEntry
from .merging import MergeJob
from .options import DAY_MS, HOUR_MS, EngineOptions
from .retention import age_counts_from
from .segment_reader import SegmentReader

if TYPE_CHECKING:
    from .engine import Engine

SHARE_MIN: Final = 0.1
"""Share of a segment's samples that must have expired for it to be rewritten."""
LATE_MS: Final = DAY_MS
"""How long after all samples of a selector in a segment have expired it is rewritten however few they are."""
LOOK_EVERY_MS: Final = HOUR_MS // 6
"""How often segments are looked at."""
_EVER: Final = -(2**63)


def expired_by(options: EngineOptions, now_ms: int) -> list[Delete]:
    """Return what has expired at a time, each selector's as if it was deleted."""
    return [
        Delete(0, _EVER, now_ms - r.retention_ms - 1, (r.matchers,))
        for r in options.retention_by_selector
        if r.retention_ms < options.retention_ms or options.tiers
    ]


class Expiry:
    """Plans the rewriting; remembers up to when segments have been rid of expired samples."""

    def __init__(self) -> None:
        self._look_at_ms = _EVER
        self._clean_until: dict[int, tuple[int, ...]] = {}
        """Number of a segment made here -> for each selector up to when none of its samples is left there."""

    def plan(self, engine: Engine, now_ms: int) -> Job | None:
        """Return the next job: a segment to rewrite."""
        if not engine.options.retention_by_selector or 0 <= self._look_at_ms - now_ms <= LOOK_EVERY_MS:
            return None
        segments, watch = engine.segments, Watch()
        expired = self.expired(engine, now_ms)
        live = {e.sequence for e in segments.entries}
        self._clean_until = {n: until for n, until in self._clean_until.items() if n in live}
        for entry, reader in segments.pairs:
            if entry.sequence in engine.upkeep.damaged or not self._is_worth_it(entry, reader, expired):
                continue
            return MergeJob(engine, "expire", [(entry, reader)], entry.level, expired)
        self._look_at_ms = now_ms + LOOK_EVERY_MS if not watch.is_up else now_ms + HOUR_MS // 60
        return None

    def expired(self, engine: Engine, now_ms: int) -> list[Delete]:
        """Return what has expired at a time; age counts as it does for whole segments."""
        return expired_by(engine.options, age_counts_from(engine, now_ms))

    def note(self, sequence: int, expired: Sequence[Delete]) -> None:
        """Remember that a new segment is without what has expired."""
        self._clean_until[sequence] = tuple([d.maxt_ms for d in expired])

    def _is_worth_it(self, entry: SegmentEntry, reader: SegmentReader, expired: Sequence[Delete]) -> bool:
        share, width = 0.0, entry.maxt_ms - entry.mint_ms + 1
        known = self._clean_until.get(entry.sequence, (_EVER,) * len(expired))
        for rule, clean_until in zip(expired, known, strict=True):
            first = max(entry.mint_ms, clean_until + 1)
            if rule.maxt_ms < first:
                continue
            series = len(reader.select(rule.matcher_sets[0]))
            if series and rule.maxt_ms >= entry.maxt_ms + LATE_MS:
                return True
            share += series / max(1, entry.series) * min(1.0, (rule.maxt_ms - first + 1) / width)
        return share >= SHARE_MIN
