"""Background work of the engine, a bounded slice at a time: cut, drop, merge, keep the index in shape.

One job at a time.  When the disk fails, the job is given up and counted, its samples stay where they were, and it is
tried again after a pause; queries and, as far as the log goes, ingestion are not affected.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ..errors import CorruptionError, StorageError
from .compaction import Merge, plan_merge
from .cut import Cut
from .layout import segment_name
from .memory import return_free_memory
from .retention import plan_drop

if TYPE_CHECKING:
    from .engine import Engine

PAUSE_MS: Final = 60_000
"""Pause after a failure."""
_SLACK: Final = 12
"""A block is cut when newer samples reach this share of the next block; two cuts are as far apart at least."""


class Upkeep:
    """The job in progress and the counters of those that are done."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._cut: Cut | None = None
        self._merge: Merge | None = None
        self._log_from = 0
        self._keep_since_ms = 0
        self._not_before_ms = -(2**63)
        self._last_cut_ms = -(2**63)
        self._damaged: set[int] = set()
        """Segments that could not be read: merging leaves them out until restart, so that it goes on elsewhere."""
        self.cut_count = 0
        self.merge_count = 0
        self.dropped_count = 0
        self.failure_count = 0
        self.corruption_count = 0
        self.last_failure = ""
        """What went wrong last, for the log; "" when nothing has."""

    def step(self, now_ms: int) -> bool:
        """Do one slice; tell whether more is waiting."""
        try:
            self._engine.wal.sync_when_due()
            if 0 < self._not_before_ms - now_ms <= PAUSE_MS:  # a longer wait means that the clock was put back
                return False
            if self._cut is not None:
                return self._go_on_cutting()
            if self._merge is not None:
                return self._go_on_merging()
            return self._begin(now_ms)
        except (OSError, CorruptionError, StorageError) as e:
            self.failure_count += 1
            if isinstance(e, CorruptionError):
                self.corruption_count += 1
                entries = self._engine.segments.entries
                self._damaged.update(x.sequence for x in entries if segment_name(x.sequence) == e.file)
            self.last_failure = str(e)
            self._not_before_ms = now_ms + PAUSE_MS
            self.abandon()
            return False

    def abandon(self) -> None:
        """Give up the job in progress; nothing is lost."""
        for job in (self._cut, self._merge):
            if job is not None:
                try:
                    job.abort()
                except OSError:
                    self.failure_count += 1  # the file is unlisted and goes at the next start
        if self._cut is not None:
            self._cut = None
            self._engine.publish(self._engine.head.thaw)
        self._merge = None

    def _begin(self, now_ms: int) -> bool:
        engine, segments = self._engine, self._engine.segments
        if self._is_cut_due(now_ms):
            self._freeze(now_ms)
            return True
        newest_ms = max(segments.maxt_ms, engine.head.max_ms)
        drop = plan_drop(segments.entries, engine.options, min(now_ms, newest_ms))
        if drop:
            segments.replace(drop, (), engine.publish)
            self.dropped_count += len(drop)
            return True
        level, inputs = plan_merge(segments.entries, engine.options, self._damaged)
        if inputs:
            reader_of = {e.sequence: r for e, r in zip(segments.entries, segments.readers, strict=True)}
            pairs = [(e, reader_of[e.sequence]) for e in inputs]
            slice_max = engine.options.slice_samples_max
            self._merge = Merge(engine.disk, pairs, level, segments.take_sequence(), slice_max)
            return True
        united = engine.head.unite(engine.options.slice_samples_max)
        if united is not None:
            engine.publish(lambda: engine.head.put_united(*united))
            return True
        if engine.index.tidy():
            engine.head.ranks = engine.index.ranks
            return_free_memory()
        return False

    # -- cutting -----------------------------------------------------------------------------------------------

    def _is_cut_due(self, now_ms: int) -> bool:
        head, options = self._engine.head, self._engine.options
        if self._engine.wal.failure or head.min_ms > head.max_ms:
            return False
        if head.chunk_bytes > options.head_bytes_max:
            return True
        slack = options.block_ms // _SLACK
        if 0 <= now_ms - self._last_cut_ms < slack:
            return False
        return head.min_ms // options.block_ms < (head.max_ms - slack) // options.block_ms

    def _freeze(self, now_ms: int) -> None:
        """Begin a cut: everything in the head is frozen, and the log begins a file that needs none before it."""
        engine, head = self._engine, self._engine.head
        engine.index.tidy(force=True)
        head.ranks = engine.index.ranks
        self._keep_since_ms = head.max_ms - max(engine.options.block_ms, engine.options.out_of_order_window_ms)
        self._log_from = engine.wal.checkpoint(head.newest(self._keep_since_ms), engine.metadata())
        head.set_all_aside()
        sealed = head.seal()

        def freeze() -> None:
            head.put_sealed(*sealed)
            head.freeze()

        engine.publish(freeze)
        refs = np.unique(np.concatenate([c.refs for c in head.frozen]))
        order = refs[engine.index.order(refs)]
        options, take = engine.options, engine.segments.take_sequence
        self._cut = Cut(
            engine.disk, engine.registry, head.frozen, order, options.block_ms, options.slice_samples_max, take
        )
        self._last_cut_ms = now_ms

    def _go_on_cutting(self) -> bool:
        cut, engine = self._cut, self._engine
        assert cut is not None
        if cut.step():
            return True

        def publish(swap: object) -> None:
            def both() -> None:
                assert callable(swap)
                swap()
                engine.head.drop_frozen(self._keep_since_ms)

            engine.publish(both)

        # From here on a manifest may list them, even if writing it fails: they are no longer the cut's to remove.
        finished, cut.finished = cut.finished, []
        engine.segments.replace((), finished, publish, wal_first=self._log_from)
        self._cut = None
        self.cut_count += 1
        return_free_memory()
        return True

    # -- merging -----------------------------------------------------------------------------------------------

    def _go_on_merging(self) -> bool:
        merge, engine = self._merge, self._engine
        assert merge is not None
        if merge.step():
            return True
        assert merge.finished is not None
        removed = [e for e, _ in merge.inputs]
        engine.segments.replace(removed, (merge.finished,), engine.publish)
        self._merge = None
        self.merge_count += 1
        return_free_memory()
        return True
