"""The storage behind `memory://`: what is stored lives in this process, and ends with it.

It keeps every promise of `abc.Storage` but one: nothing survives the end of the process, let alone power loss.  It
takes up no more than `MemoryOptions.bytes_max`: beyond that the oldest samples go, as do those past the retention.

The storage is a tuple of blocks and an index that are replaced as a whole, so a view is these (`reading.py`).  Blocks of a few
samples are merged with their neighbours; large ones stay as they are and go as a whole when they are too old.
Not here: compression, files, recovery - the local engine (`tinyobs.storage`) has all that, and shares no code with this.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
from attrs import field, frozen

from ..abc import Storage
from ..errors import LimitExceeded, StorageError
from ..model.batch import AppendResult, Batch
from ..model.cardinality import Cardinality, CardinalityQuery
from ..model.exemplars import SeriesExemplars
from ..model.matchers import Matcher
from ..model.metadata import MetricMetadata
from ..model.registry import SeriesRegistry
from .admission import NEVER, MemoryOptions, judge
from .block import Block, block_of, merge, samples_of
from .counting import count_series
from .exemplars import ExemplarRing
from .label_map import LabelMap
from .reading import MemoryQuerier

SAMPLE_BYTES: Final = 24
"""Of a sample that is judged: its series, time and value."""
BLOCKS_OF_LIMIT: Final = 16
"""A block takes up at most this share of the bytes that may be kept: so much goes at a time."""
TRIMS_OF_RETENTION: Final = 8
"""A sample may outlive the retention by this share of it: blocks of few samples reach over long times."""
METADATA_FAMILIES_MAX: Final = 100_000
"""Families whose metadata is kept; that of further ones is not."""
FORGOTTEN_SERIES_MAX: Final = 10_000
"""Series without samples that the index may hold besides as many as have some."""


@frozen
class MemoryStatistics:
    """Figures of the storage at one moment; names that end in `_total` count since the start."""

    head_series: int
    """Series with samples."""
    head_chunks: int
    """Blocks."""
    head_samples: int
    """Samples in memory."""
    bytes: int
    """Bytes of samples."""
    head_min_time_ms: int
    """Oldest time, in ms; 0 when there is no sample."""
    head_max_time_ms: int
    """Newest time, in ms; 0 when there is no sample."""
    head_samples_appended_total: int
    """Samples accepted."""
    samples_repeated_total: int
    """Samples that repeated a stored one exactly and were not stored again."""
    samples_refused_total: Mapping[str, int] = field(metadata={"label": "reason"})
    """Samples refused, by reason."""
    samples_dropped_total: int
    """Samples that went because of their age or for want of room."""
    head_series_created_total: int
    """Series that were seen for the first time, or anew after they had been forgotten."""
    exemplars_appended_total: int
    """Exemplars stored."""


class MemoryStorage(Storage):
    """One writer calls `append`, `delete` and `maintain`; readers take what `_state` is at their moment."""

    registry: SeriesRegistry

    def __init__(
        self, registry: SeriesRegistry, clock: Callable[[], int], options: MemoryOptions | None = None
    ) -> None:
        """clock: milliseconds since 1970."""
        self.registry, self.options = registry, options or MemoryOptions()
        self._clock = clock
        self._state: tuple[tuple[Block, ...], LabelMap] = ((), LabelMap(registry))
        self._exemplars = ExemplarRing(registry)
        self._metadata: dict[str, MetricMetadata] = {}
        self._newest = np.full(1024, NEVER)
        self._counts = threading.Lock()
        self._stored = self._repeated = self._dropped = self._created = 0
        self._refused: dict[str, int] = {}
        self._closed = False

    # -- writing -----------------------------------------------------------------------------------------------

    def check(self, batch: Batch) -> None:
        """Raise `LimitExceeded` for a batch that is larger than everything may be."""
        histograms = 0 if batch.histograms is None else batch.histograms.nbytes
        size, limit = SAMPLE_BYTES * len(batch) + histograms, self.options.bytes_max // BLOCKS_OF_LIMIT
        if size > limit:
            raise LimitExceeded("bytes_max", f"batch of {size} bytes; the storage in memory takes {limit} at once")

    def append(self, batches: Sequence[Batch]) -> list[AppendResult]:
        """Keep batches; raises `LimitExceeded` for one that is larger than everything may be."""
        self._refuse_when_closed()
        for batch in batches:
            self.check(batch)
        fresh = [samples_of(b) for b in batches]
        self._grow(len(self.registry))
        now_ms = self._clock()
        results = []
        for batch, s in zip(batches, fresh, strict=True):
            verdict = judge(s, self._newest[s.keys], self._blocks, self.options, now_ms)
            if len(verdict.kept):
                self._add(block_of(s.take(verdict.kept)))
            with self._counts:
                self._stored += len(verdict.kept)
                self._repeated += verdict.repeated
                for reason, count in verdict.result.refused.items():
                    self._refused[reason] = self._refused.get(reason, 0) + count
            self._learn(batch.metadata)
            results.append(self._exemplars.add(batch.exemplars, verdict.result))
        return results

    def delete(self, matcher_sets: Sequence[Sequence[Matcher]], mint_ms: int, maxt_ms: int) -> None:
        """Delete samples; their room is free at once."""
        self._refuse_when_closed()
        refs = self._labels.match_any(matcher_sets)
        left = [b.without(refs, mint_ms, maxt_ms) if b.overlaps(mint_ms, maxt_ms) else b for b in self._blocks]
        self._blocks = tuple(b for b in left if b is not None)

    def clean_tombstones(self) -> bool:
        """Tell that there is nothing to do: `delete` leaves nothing to clean."""
        self._refuse_when_closed()
        return False

    def maintain(self, now_ms: int) -> bool:
        """Drop what is older than the retention, and forget series that have no samples any more."""
        self._refuse_when_closed()
        newest = max((b.max_ms for b in self._blocks), default=now_ms)
        oldest = min(now_ms, newest) - self.options.retention_ms  # a clock that leaps ahead must not drop everything
        self._drop([b for b in self._blocks if b.max_ms < oldest])
        overdue = oldest - self.options.retention_ms // TRIMS_OF_RETENTION
        for block in [b for b in self._blocks if b.min_ms < overdue]:
            kept = block.since(oldest)
            self._blocks = tuple(kept if b is block else b for b in self._blocks)
            with self._counts:
                self._dropped += len(block) - len(kept)
        if len(self._labels) > FORGOTTEN_SERIES_MAX:
            live = self._live()
            if len(self._labels) > 2 * len(live) + FORGOTTEN_SERIES_MAX:
                labels = LabelMap(self.registry)  # a new one: open views go on with the old
                labels.add(live)
                self._state = (self._blocks, labels)
                forgotten = np.ones(len(self._newest), np.bool_)
                forgotten[live] = False
                self._newest[forgotten] = NEVER
        return False

    def close(self) -> None:
        """Forget everything; idempotent."""
        self._closed = True
        self._blocks = ()

    # -- reading -----------------------------------------------------------------------------------------------

    def querier(self, mint_ms: int, maxt_ms: int) -> MemoryQuerier:
        """Return a view of what is there now.  Any thread."""
        self._refuse_when_closed()
        return MemoryQuerier(*self._state, mint_ms, maxt_ms)

    def metadata(self) -> Mapping[str, MetricMetadata]:
        """Return what is known of metric families; never changed in place."""
        return self._metadata

    def exemplars(self, matcher_sets: Sequence[Sequence[Matcher]], mint_ms: int, maxt_ms: int) -> list[SeriesExemplars]:
        """Return the exemplars of series that fulfil any set of matchers, by label set.  Any thread."""
        return self._exemplars.find(self._labels.match_any(matcher_sets), mint_ms, maxt_ms)

    def cardinality(self, query: CardinalityQuery) -> Cardinality:
        """Return what takes the room.  Any thread."""
        blocks, labels = self._state
        refs = np.intersect1d(labels.match_any(query.matcher_sets or [()]), self._live())
        return count_series(self.registry, refs, blocks, query)

    def statistics(self) -> MemoryStatistics:
        """Return the figures of this moment.  Any thread."""
        blocks = self._blocks
        with self._counts:
            return MemoryStatistics(
                head_series=len(self._live()),
                head_chunks=len(blocks),
                head_samples=sum(map(len, blocks)),
                bytes=sum(b.nbytes for b in blocks),
                head_min_time_ms=min((b.min_ms for b in blocks), default=0),
                head_max_time_ms=max((b.max_ms for b in blocks), default=0),
                head_samples_appended_total=self._stored,
                samples_repeated_total=self._repeated,
                samples_refused_total=dict(self._refused),
                samples_dropped_total=self._dropped,
                head_series_created_total=self._created,
                exemplars_appended_total=self._exemplars.stored_total,
            )

    # -- private -----------------------------------------------------------------------------------------------

    @property
    def _blocks(self) -> tuple[Block, ...]:
        return self._state[0]

    @_blocks.setter
    def _blocks(self, blocks: tuple[Block, ...]) -> None:
        self._state = (blocks, self._state[1])

    @property
    def _labels(self) -> LabelMap:
        return self._state[1]

    def _add(self, block: Block) -> None:
        """Show a block to readers, merged with its neighbours, and make room for it."""
        self._created += self._labels.add(block.refs)
        newest = np.maximum.reduceat(block.samples.times, block.offsets[:-1])
        self._newest[block.refs] = np.maximum(self._newest[block.refs], newest)
        blocks, limit = [*self._blocks, block], self.options.bytes_max // BLOCKS_OF_LIMIT
        tail = 1  # as many as merge at once: each at most twice as large as all behind it
        size = block.nbytes
        while tail < len(blocks) and (more := blocks[-tail - 1].nbytes) <= 2 * size and more + size <= limit:
            tail, size = tail + 1, size + more
        if tail > 1:
            blocks[-tail:] = [merge(blocks[-tail:])]
        self._blocks = tuple(blocks)
        excess = sum(b.nbytes for b in blocks) - self.options.bytes_max
        doomed: list[Block] = []
        for old in sorted(blocks[:-1], key=lambda b: b.max_ms):
            if excess <= 0:
                break
            doomed.append(old)
            excess -= old.nbytes
        self._drop(doomed)

    def _drop(self, doomed: Sequence[Block]) -> None:
        if doomed:
            gone = set(map(id, doomed))
            self._blocks = tuple(b for b in self._blocks if id(b) not in gone)
            with self._counts:
                self._dropped += sum(map(len, doomed))

    def _live(self) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
        """Return the ascending refs of the series with samples."""
        return np.unique(np.concatenate([np.empty(0, np.uint32), *(b.refs for b in self._blocks)]))

    def _learn(self, metadata: Mapping[str, MetricMetadata]) -> None:
        known = self._metadata
        new = {k: m for k, m in metadata.items() if known.get(k) != m}
        if len(known) + len(new) > METADATA_FAMILIES_MAX:
            new = {k: m for k, m in new.items() if k in known}
        if new:
            self._metadata = {**known, **new}

    def _grow(self, series: int) -> None:
        if series > len(self._newest):
            longer = np.full(max(series, 2 * len(self._newest)), NEVER)
            longer[: len(self._newest)] = self._newest
            self._newest = longer

    def _refuse_when_closed(self) -> None:
        if self._closed:
            raise StorageError("the storage is closed")
