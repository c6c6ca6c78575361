"""Samples of any age, in any order, of any number of years -> finished segments for the daemon to take over.

Works in its own folder (`incoming/` of a data directory) and touches nothing else, so that it neither waits for the
daemon nor lets it wait.  Samples are gathered up to a budget of memory, sorted at once by (stretch of time, series,
time), and written out as *runs*: segments of one stretch each.  At the end of a *round* the runs of a stretch are merged
into one dense segment, and the segments of the round are given their names, which hands them over.  A round that fits
in memory needs no runs.  Of samples with the same series and time the one added last stands.

What an import has done when it is interrupted says `import_journal.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import attrs
import numpy as np
from attrs import define, field, frozen
from numpy.typing import NDArray

from ..codec.compression import DENSE, FAST
from ..model.batch import Batch
from ..model.columns import starts_of
from ..model.histograms import joined, without_handles
from ..model.ragged import offsets_of
from ..model.registry import SeriesRegistry
from .cut import WIDER
from .disk import Disk
from .label_order import label_ranks
from .layout import SEGMENT_FOLDER, segment_name
from .merging import Walk, block_of, merge_parts
from .options import DAY_MS, DEFAULT_OPTIONS, MIB
from .page_cache import PageCache
from .runs import Runs
from .segment_format import SegmentInfo
from .segment_reader import SegmentReader
from .segment_set import entry_of
from .segment_writer import SegmentWriter
from .series_index import RegistryPairs

SEGMENT_MS_MAX: Final = 31 * DAY_MS
"""Segments are no wider than this."""
SAMPLE_BYTES: Final = 100
"""Memory that a gathered sample takes, with what sorting it takes."""
RUNS_MAX: Final = 16
"""Runs merged at a time."""
HELD_SAMPLES: Final = 1 << 20
"""Samples of all inputs of a merge that are held at a time."""

I64 = NDArray[np.int64]


@frozen
class BulkOptions:
    """How much an import may take.

    memory_bytes_max: for samples being gathered and sorted.  round_samples_max: samples after which a round ends, which
    is what an interrupted import has to do again at most.  block_ms: that of the engine; widths are made of it.
    """

    memory_bytes_max: int = 256 * MIB
    round_samples_max: int = 200_000_000
    block_ms: int = DEFAULT_OPTIONS.block_ms

    @property
    def gathered_max(self) -> int:
        """Samples that are gathered before they are sorted."""
        return max(1000, self.memory_bytes_max // SAMPLE_BYTES)


def stretch_of(block_ms: int) -> tuple[int, int]:
    """Return (width in ms, level) of the widest stretches that compaction may have and that are no wider than 31 days."""
    width, level = block_ms, 1
    while width * WIDER <= SEGMENT_MS_MAX:
        width, level = width * WIDER, level + 1
    return width, level


@frozen(eq=False)
class Sorted:
    """Samples of one stretch: `refs` of its series in label order, and their runs."""

    stretch: int
    refs: NDArray[np.uint32]
    runs: Runs


@define(eq=False)
class BulkLoader:
    """Makes segments.  disk: the folder, where nobody else writes.  `OSError`s of the disk pass through."""

    disk: Disk
    registry: SeriesRegistry
    options: BulkOptions = field(factory=BulkOptions)
    sample_count: int = 0
    """Samples added since the last round ended."""
    _gathered: list[Batch] = field(factory=list)
    _gathered_samples: int = 0
    _gathered_bytes: int = 0
    _runs: dict[int, list[SegmentInfo]] = field(factory=dict)
    _ranks: NDArray[np.uint32] = field(factory=lambda: np.empty(0, np.uint32))
    _sequence: int = 0
    _width: int = field(init=False)
    _level: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._width, self._level = stretch_of(self.options.block_ms)
        self.disk.make_folder(SEGMENT_FOLDER)
        self.clean()

    @property
    def is_due(self) -> bool:
        """Whether the round should end."""
        return self.sample_count >= self.options.round_samples_max

    def clean(self) -> None:
        """Remove unfinished work of whoever was interrupted, and forget what was added."""
        for file in self.disk.list(SEGMENT_FOLDER):
            self.disk.remove(f"{SEGMENT_FOLDER}/{file}")
        self._forget()
        self._runs = {}
        self.sample_count = 0

    def add(self, batch: Batch) -> None:
        """Take samples; may write runs."""
        if not len(batch):
            return
        if batch.histograms is None:
            batch = attrs.evolve(batch, values=without_handles(batch.values))
        self._gathered.append(batch)
        self._gathered_samples += len(batch)
        self._gathered_bytes += 0 if batch.histograms is None else 3 * batch.histograms.nbytes
        self.sample_count += len(batch)
        bytes_ = self._gathered_samples * SAMPLE_BYTES + self._gathered_bytes
        if self._gathered_samples >= self.options.gathered_max or bytes_ >= self.options.memory_bytes_max:
            self._spill()

    def end_round(self) -> list[SegmentInfo]:
        """Write the segments of all that was added since the last round, durably, still under names of their own.

        `hand_over` gives them away; until then they are unfinished work.
        """
        made = []
        if not self._runs:
            for part in self._take_sorted():
                made.append(self._write(part, DENSE))
        else:
            self._spill()
            for stretch in sorted(self._runs):
                made.append(self._merge(self._runs[stretch], DENSE))
            self._runs = {}
        self.sample_count = 0
        return made

    def hand_over(self, made: Sequence[SegmentInfo], names: Sequence[str]) -> None:
        """Give segments of a round the names under which others find them, durably."""
        for info, name in zip(made, names, strict=True):
            self.disk.rename(info.name, name)
        if made:
            self.disk.sync_folder("")
            self.disk.sync_folder(SEGMENT_FOLDER)

    # -- private -----------------------------------------------------------------------------------------------

    def _forget(self) -> None:
        self._gathered, self._gathered_samples, self._gathered_bytes = [], 0, 0

    def _spill(self) -> None:
        """Write what is gathered as runs."""
        for part in self._take_sorted():
            runs = self._runs.setdefault(part.stretch, [])
            runs.append(self._write(part, FAST))
            if len(runs) >= RUNS_MAX:
                runs[:] = [self._merge(runs, FAST)]

    def _take_sorted(self) -> Iterator[Sorted]:
        """Yield what is gathered by stretch, sorted; nothing is gathered any more then."""
        if not self._gathered:
            return
        refs = np.concatenate([b.refs for b in self._gathered])
        times = np.concatenate([b.timestamps_ms for b in self._gathered])
        values, table = joined([(b.values, b.histograms) for b in self._gathered])
        since = starts_of([(b.starts_ms, len(b)) for b in self._gathered])
        self._forget()
        if len(self._ranks) < len(self.registry):
            count = len(self.registry)
            self._ranks = label_ranks(RegistryPairs(self.registry), count, self.registry.flat_pairs)
        stretches = times // self._width
        order = _order(stretches, self._ranks[refs], times, self._width, len(self._ranks))
        if order is not None:
            refs, times, values, stretches = refs[order], times[order], values[order], stretches[order]
            since = None if since is None else since[order]
            del order
        keep = np.ones(len(refs), np.bool_)
        keep[:-1] = (refs[1:] != refs[:-1]) | (times[1:] != times[:-1])
        if not keep.all():
            refs, times, values, stretches = refs[keep], times[keep], values[keep], stretches[keep]
            since = None if since is None else since[keep]
        bounds = np.concatenate(([0], np.flatnonzero(np.diff(stretches)) + 1, [len(refs)]))
        for a, b in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            own = refs[a:b]
            firsts = np.concatenate(([0], np.flatnonzero(own[1:] != own[:-1]) + 1))
            offsets = offsets_of(np.diff(np.append(firsts, b - a)))
            runs = Runs(offsets, times[a:b], values[a:b], table, None if since is None else since[a:b]).compact()
            yield Sorted(int(stretches[a]), own[firsts], runs)

    def _write(self, part: Sorted, zstd_level: int) -> SegmentInfo:
        labels = [self.registry.labels(r) for r in part.refs.tolist()]
        writer = self._writer(zstd_level)
        try:
            writer.add(part.runs.columns(labels))
            return writer.finish()
        except BaseException:
            writer.abort()
            raise

    def _merge(self, runs: Sequence[SegmentInfo], zstd_level: int) -> SegmentInfo:
        """Return the one segment of several runs, given in order of age, which are removed."""
        cache = PageCache(0)
        readers = [SegmentReader(self.disk, r.name, cache) for r in runs]
        budget = HELD_SAMPLES // len(runs)
        walks = [
            Walk(reader.iterate(block_of(entry_of(0, info), budget)))
            for reader, info in zip(readers, runs, strict=True)
        ]
        writer = self._writer(zstd_level)
        try:
            while alive := [w for w in walks if w.fill()]:
                frontier = min(w.last for w in alive)
                parts = [w.take(frontier) for w in alive]
                writer.add(parts[0] if len(parts) == 1 else merge_parts(parts))
            made = writer.finish()
        except BaseException:
            writer.abort()
            raise
        for info in runs:
            self.disk.remove(info.name)
        return made

    def _writer(self, zstd_level: int) -> SegmentWriter:
        self._sequence += 1
        return SegmentWriter(self.disk, segment_name(self._sequence), level=self._level, zstd_level=zstd_level)


def _order(stretches: I64, ranks: NDArray[np.uint32], times: I64, width: int, series: int) -> I64 | None:
    """Return the stable order by (stretch, rank, time), None where it is that already."""
    low = int(stretches.min())
    count = int(stretches.max()) - low + 1
    if count * series * width >= 1 << 63:
        return np.lexsort((times, ranks, stretches))
    key = stretches - low
    key *= series
    key += ranks
    key *= width
    key += times - stretches * width
    falls = int((key[1:] < key[:-1]).sum())
    if not falls:
        return None
    if falls < len(key) // 64:  # long ascending pieces, as they are when every series comes at once
        return np.argsort(key, kind="stable")
    order = np.argsort(key)
    sorted_ = key[order]
    if (sorted_[1:] == sorted_[:-1]).any():  # the last of equals has to stay the last
        return np.argsort(key, kind="stable")
    return order
