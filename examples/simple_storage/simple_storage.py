"""A plugin with a storage of its own: `tinyobs run --plugin simple_storage.py --storage.tsdb.path=simple://`.

A whole implementation of `Storage`, `Querier` and `Selection`, small enough to read in one go.  For tests and
demonstrations: nothing survives the process, so it does *not* keep the promise of durability that `append` makes.

Samples are kept as columns in the order of arrival and sorted when they are read; a later write to the same series and
time wins.  Native histograms are refused; start times and exemplars are not kept; nothing can be deleted.  The
storage of the package for `memory://` does all that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

import tinyobs
from tinyobs.abc import Querier, Selection, Services, Storage
from tinyobs.errors import DiskFullError, StorageError
from tinyobs.model import labels as lb
from tinyobs.model.batch import AppendResult, Batch
from tinyobs.model.columns import SeriesColumns
from tinyobs.model.histograms import without_handles
from tinyobs.model.labels import Labels
from tinyobs.model.matchers import Matcher
from tinyobs.model.metadata import MetricMetadata
from tinyobs.model.registry import SeriesRegistry
from tinyobs.model.select_hints import SelectHints

SAMPLES_MAX: Final = 20_000_000
"""Samples that are kept at most: 20 bytes each."""
CHUNKS_MAX: Final = 64
"""Arrivals that are kept apart before they are joined."""


@frozen(eq=False)
class Chunk:
    """Samples in order of arrival: refs uint32[n], times int64[n] in ms, values float64[n]."""

    refs: NDArray[np.uint32]
    times: NDArray[np.int64]
    values: NDArray[np.float64]

    def where(self, mask: NDArray[np.bool_]) -> Chunk:
        """Return the samples for which a mask of bool[n] holds."""
        return Chunk(self.refs[mask], self.times[mask], self.values[mask])


EMPTY: Final = Chunk(np.empty(0, np.uint32), np.empty(0, np.int64), np.empty(0, np.float64))


@frozen
class SimpleStatistics:
    """What is in memory."""

    head_series: int
    """Series with samples."""
    samples: int
    """Samples."""


class SimpleStorage(Storage):
    """Chunks in a tuple that is replaced as a whole, so that every reader sees all of a batch or nothing."""

    def __init__(self, registry: SeriesRegistry, retention_ms: int) -> None:
        self.registry = registry
        self._retention_ms = retention_ms
        self._chunks: tuple[Chunk, ...] = ()
        self._metadata: dict[str, MetricMetadata] = {}
        self._closed = False

    def append(self, batches: Sequence[Batch]) -> list[AppendResult]:
        """Keep batches; raises `DiskFullError` when there would be more than `SAMPLES_MAX` samples."""
        if self._closed:
            raise StorageError("the storage is closed")
        if any(b.histograms is not None for b in batches):
            raise StorageError("this storage cannot hold native histograms")
        count = sum(map(len, batches))
        if count + sum(len(c.refs) for c in self._chunks) > SAMPLES_MAX:
            raise DiskFullError(f"the simple storage holds at most {SAMPLES_MAX} samples")
        self._chunks += tuple(Chunk(b.refs, b.timestamps_ms, without_handles(b.values)) for b in batches if len(b))
        for batch in batches:
            self._metadata = {**self._metadata, **batch.metadata}
        return [AppendResult(len(b)) for b in batches]

    def querier(self, mint_ms: int, maxt_ms: int) -> Querier:
        """Return a view of what is there now."""
        return SimpleQuerier(self._chunks, self.registry, mint_ms, maxt_ms)

    def metadata(self) -> Mapping[str, MetricMetadata]:
        """Return what is known of metric families."""
        return self._metadata

    def maintain(self, now_ms: int) -> bool:
        """Join chunks and forget samples beyond the retention."""
        oldest = now_ms - self._retention_ms
        if len(self._chunks) > CHUNKS_MAX or any(c.times[0] < oldest for c in self._chunks):
            joined = join(self._chunks)
            joined = joined.where(joined.times >= oldest)
            self._chunks = (joined,) if len(joined.refs) else ()
        return False

    def statistics(self) -> SimpleStatistics:
        """Return the figures of this moment."""
        joined = join(self._chunks)
        return SimpleStatistics(len(np.unique(joined.refs)), len(joined.refs))

    def close(self) -> None:
        """Forget everything."""
        self._closed = True
        self._chunks = ()


class SimpleQuerier(Querier):
    """A view: the chunks that were there when it was made."""

    def __init__(self, chunks: tuple[Chunk, ...], registry: SeriesRegistry, mint_ms: int, maxt_ms: int) -> None:
        self.mint_ms, self.maxt_ms = mint_ms, maxt_ms
        self._chunks, self._registry = chunks, registry

    def select(
        self,
        matchers: Sequence[Matcher],
        mint_ms: int,
        maxt_ms: int,
        check: Callable[[], None] | None = None,
        hints: SelectHints | None = None,
    ) -> Selection:
        """Return the matching series, sorted by labels, with their samples in the range."""
        joined = join(self._chunks)
        mint_ms, maxt_ms = max(mint_ms, self.mint_ms), min(maxt_ms, self.maxt_ms)
        joined = joined.where((joined.times >= mint_ms) & (joined.times <= maxt_ms))
        if check is not None:
            check()
        found = sorted((labels, ref) for ref, labels in self._labels(joined) if _fulfils(labels, matchers))
        place = np.full(len(self._registry) + 1, -1)
        place[[ref for _, ref in found]] = range(len(found))
        return SimpleSelection([labels for labels, _ in found], place[joined.refs], joined)

    def label_names(self, matchers: Sequence[Matcher] = ()) -> list[str]:
        """Return the names of labels on matching series."""
        return sorted({name for labels in self.series(matchers) for name, _ in labels})

    def label_values(self, name: str, matchers: Sequence[Matcher] = ()) -> list[str]:
        """Return the values of one label on matching series."""
        return sorted({lb.get(labels, name) for labels in self.series(matchers)} - {""})

    def close(self) -> None:
        """Let go of the samples."""
        self._chunks = ()

    def _labels(self, chunk: Chunk) -> list[tuple[int, Labels]]:
        return [(ref, self._registry.labels(ref)) for ref in np.unique(chunk.refs).tolist()]


class SimpleSelection(Selection):
    """Selected samples in the order of their series, ascending in time, the last write of each moment."""

    def __init__(self, labels: Sequence[Labels], place: NDArray[np.int64], chunk: Chunk) -> None:
        """place: int64[n], for each sample of the chunk the position of its series in `labels`, -1 for none."""
        self.labels = labels
        order = np.lexsort((chunk.times, place))  # stable: of one moment the last write comes last
        order = order[place[order] >= 0]
        series, times = place[order], chunk.times[order]
        last = np.append((series[1:] != series[:-1]) | (times[1:] != times[:-1]), True)[: len(order)]
        self._times, self._values = times[last], chunk.values[order][last]
        self._offsets = np.searchsorted(series[last], np.arange(len(labels) + 1)).astype(np.int64)

    def read(self, first: int, last: int) -> SeriesColumns:
        """Return the samples of series `first` .. `last - 1`."""
        offsets = self._offsets[first : last + 1]
        a, b = int(offsets[0]), int(offsets[-1])
        return SeriesColumns(self.labels[first:last], offsets - a, self._times[a:b], self._values[a:b])


def join(chunks: Sequence[Chunk]) -> Chunk:
    """Return all samples as one chunk, in order of arrival."""
    if not chunks:
        return EMPTY
    return Chunk(
        np.concatenate([c.refs for c in chunks]),
        np.concatenate([c.times for c in chunks]),
        np.concatenate([c.values for c in chunks]),
    )


def _fulfils(labels: Labels, matchers: Sequence[Matcher]) -> bool:
    return all(m.matches(lb.get(labels, m.name)) for m in matchers)


@tinyobs.hookimpl
def tinyobs_storage(url: str, services: Services) -> Storage | None:
    """Open `simple://`."""
    if not url.startswith("simple:"):
        return None
    retention_ms, _ = services.retention()
    return SimpleStorage(services.registry, retention_ms)
