"""The job that empties the head: freeze, cut into segments, forget.

Frozen chunks stay readable until one manifest lists the segments and moves the beginning of the log behind the
freeze.  Given up, the chunks go back into the head as they were.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from .cut import Cut
from .jobs import Job, Watch, Work
from .label_order import places_in
from .memory import return_free_memory

if TYPE_CHECKING:
    from .engine import Engine

GROUP_SAMPLES: Final = 131_072
"""Samples that are taken from the chunks at a time: a tenth of a second's work on a slow core, 10 MB."""
GROUP_SERIES: Final = 131_072
"""Series whose rows are sealed, or whose newest samples are logged, in one slice."""
_SLACK: Final = 12
"""A block is cut when newer samples reach this share of the next block; two cuts are as far apart at least."""


def is_cut_due(engine: Engine, now_ms: int, last_cut_ms: int, *, at_once: bool = False) -> bool:
    """Tell whether a block of the head is complete, or the head is full.  at_once: whatever it holds will do."""
    head, options = engine.head, engine.options
    if engine.wal.failure or head.min_ms > head.max_ms:
        return False
    if at_once or head.chunk_bytes > options.head_bytes_max:
        return True
    slack = options.block_ms // _SLACK
    if 0 <= now_ms - last_cut_ms < slack:
        return False
    return head.min_ms // options.block_ms < (head.max_ms - slack) // options.block_ms


class PrepareJob(Job):
    """What a cut needs and what can be done before it: an index of all series, and as few rows as can be."""

    kind = "prepare"

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._order: NDArray[np.uint32] | None = None
        self._at = 0
        self.work = Work()

    def step(self) -> bool:
        """Bring the index up to date, piece by piece, then seal the rows of some series."""
        engine = self._engine
        if self._order is None:
            if not engine.index.tidy(force=True):
                engine.head.ranks = engine.index.ranks
                self._order = places_in(engine.index.ranks)
            return True
        refs = self._order[self._at : self._at + GROUP_SERIES]
        self._at += GROUP_SERIES
        engine.head.set_aside(refs[refs < len(engine.head.newest_ms)])
        sealed = engine.head.seal()
        engine.publish(lambda: engine.head.put_sealed(*sealed))
        return self._at < len(self._order)

    def finish(self) -> None:
        """All is done."""

    def abort(self) -> None:
        """What was done harms nobody."""


class CutJob(Job):
    """A cut of everything that the head holds when it is made."""

    kind = "cut"

    def __init__(self, engine: Engine) -> None:
        """Freeze: everything in the head becomes frozen, and the log begins a file that needs none before it."""
        self._engine = engine
        head, options = engine.head, engine.options
        while engine.index.tidy(force=True):
            pass
        head.ranks = engine.index.ranks
        self._keep_since_ms = head.max_ms - max(options.block_ms, options.out_of_order_window_ms)
        self._log_from = engine.wal.checkpoint(head.newest(0, 0, 0), engine.metadata())
        self._noted, self._series_count = 0, len(head.newest_ms)
        head.set_aside()
        sealed = head.seal()

        def freeze() -> None:
            head.put_sealed(*sealed)
            head.freeze()

        engine.publish(freeze)
        self.work = Work(samples_total=sum(c.sample_count for c in head.frozen))
        self._cut: Cut | None = None

    def step(self) -> bool:
        """Write one slice: first to the log what the head knew when it was frozen, then to segments."""
        if self._noted < self._series_count:
            end = self._noted + GROUP_SERIES
            self._engine.wal.note_newest(self._engine.head.newest(self._keep_since_ms, self._noted, end))
            self._noted = end
            return True
        if self._cut is None:
            self._cut = self._begin()
        watch, cut = Watch(), self._cut
        slice_samples_max, before = self._engine.options.slice_samples_max, cut.samples_written
        while cut.step():
            self.work.samples_read = self.work.samples_written = cut.samples_written
            if watch.is_up or cut.samples_written - before >= slice_samples_max:
                return True
        self.work.samples_read = self.work.samples_written = cut.samples_written
        return False

    def finish(self) -> None:
        """Let the segments take the place of the frozen chunks."""
        cut, engine = self._cut, self._engine
        assert cut is not None

        def publish(swap: object) -> None:
            def both() -> None:
                assert callable(swap)
                swap()
                engine.head.drop_frozen(self._keep_since_ms)

            engine.publish(both)

        # From here on a manifest may list them, even if writing it fails: they are no longer the cut's to remove.
        finished, cut.finished = cut.finished, []
        self.work.bytes_after = sum(e.bytes for e in finished)
        engine.segments.replace((), finished, publish, wal_first=self._log_from)
        return_free_memory()

    def abort(self) -> None:
        """Give the frozen chunks back to the head."""
        try:
            if self._cut is not None:
                self._cut.abort()
        finally:
            if self._engine.head.frozen:
                self._engine.publish(self._engine.head.thaw)

    def _begin(self) -> Cut:
        engine, head = self._engine, self._engine.head
        present = np.zeros(len(engine.index.ranks), np.bool_)  # all that was frozen has been ranked before
        for chunk in head.frozen:
            present[chunk.refs] = True
        order = places_in(engine.index.ranks)
        order = order[present[order]]
        options, take = engine.options, engine.segments.take_sequence
        group = min(GROUP_SAMPLES, options.slice_samples_max)
        return Cut(engine.disk, engine.registry, head.frozen, order, options.block_ms, group, take)
