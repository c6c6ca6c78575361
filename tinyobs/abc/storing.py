"""What keeps samples, and what they pass on their way there."""

from __future__ import annotations

import abc
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ..errors import StorageError
from ..model.batch import AppendResult, Batch
from ..model.blocks import StoredBlock
from ..model.cardinality import Cardinality, CardinalityQuery
from ..model.changes import Changes
from ..model.exemplars import SeriesExemplars
from ..model.matchers import Matcher
from ..model.metadata import MetricMetadata
from ..model.notices import Notice
from ..model.registry import SeriesRegistry
from .log import CursorStart, LogCursor
from .reading import Querier


class Storage(abc.ABC):
    """Where samples are kept.  Synchronous; one writer thread calls `append` and `maintain`, any thread reads."""

    registry: SeriesRegistry
    changes: Changes | None = None
    """What changed since when, where the storage tells; every change is noted when readers can see it."""

    def check(self, batch: Batch) -> None:
        """Raise `LimitExceeded` for a batch that can never be stored at once: it is asked so that such a one fails alone.

        Called by the writer thread, before `append`.
        """
        return

    @abc.abstractmethod
    def append(self, batches: Sequence[Batch]) -> list[AppendResult]:
        """Store batches, in order, durably: on return every sample counted as stored survives power loss.

        Batches given together share one fsync.  Raises `DiskFullError` (nothing of these batches was stored; later
        calls may succeed) or `ReadOnlyError` / `StorageError` (nothing was acknowledged).
        """

    @abc.abstractmethod
    def querier(self, mint_ms: int, maxt_ms: int) -> Querier:
        """Return a consistent view."""

    @abc.abstractmethod
    def metadata(self) -> Mapping[str, MetricMetadata]:
        """Return what is known of metric families, by family name."""

    def exemplars(self, matcher_sets: Sequence[Sequence[Matcher]], mint_ms: int, maxt_ms: int) -> list[SeriesExemplars]:
        """Return the exemplars of series that fulfil any set of matchers, sorted by label set.  Any thread."""
        return []

    def delete(self, matcher_sets: Sequence[Sequence[Matcher]], mint_ms: int, maxt_ms: int) -> None:
        """Delete the samples stored so far in a range of series that fulfil any set of matchers; durable on return.

        Called by the writer thread.  Readers see nothing of them any more; their space comes back soon after.
        """
        raise StorageError("this storage cannot delete")

    def clean_tombstones(self) -> bool:
        """Do one slice of regaining the space of all that was deleted; tell whether there is more.  Writer thread."""
        raise StorageError("this storage cannot delete")

    def compact(self) -> bool:
        """Do one slice of packing all that is stored as densely as can be; tell whether there is more.  Writer thread."""
        raise StorageError("this storage cannot compact")

    def snapshot(self, *, skip_head: bool = False) -> str:
        """Keep what is stored now, as a directory of its own within the storage; return its name.  Writer thread."""
        raise StorageError("this storage cannot make snapshots")

    def cardinality(self, query: CardinalityQuery) -> Cardinality:
        """Return what takes the room.  Any thread; may take a second, not a minute."""
        raise StorageError("this storage cannot tell its cardinality")

    def blocks(self) -> Sequence[StoredBlock]:
        """Return the immutable pieces that samples are kept in, oldest first.  Any thread; may read tables from disk."""
        return ()

    def cursor(self, name: str, start: CursorStart) -> LogCursor:
        """Open the cursor of that name, making it when there is none; one at a time.  Any thread.

        The log keeps what a cursor has still to read, up to its limits.  Raises `StorageError`.
        """
        raise StorageError("this storage has no log that a sink could follow")

    def forget_cursors(self, kept: Collection[str]) -> list[str]:
        """Remove the cursors of sinks that are no more, all but those named `kept`; return their names."""
        return []

    @abc.abstractmethod
    def maintain(self, now_ms: int) -> bool:
        """Do one bounded slice of background work (cutting, compacting, dropping); tell whether more is waiting."""

    def take_sealed(self) -> Sequence[tuple[str, object]]:
        """Return (name, statistics) of the immutable files written since the last call; called by the writer thread."""
        return ()

    def take_notices(self) -> Sequence[Notice]:
        """Return what happened since the last call that belongs into the log; called by the writer thread."""
        return ()

    @abc.abstractmethod
    def statistics(self) -> Any:
        """Return a frozen attrs object of statistics (see `tinyobs.runtime.statistics`)."""

    @abc.abstractmethod
    def close(self) -> None:
        """Make everything durable and release the lock; idempotent."""


class Processor(abc.ABC):
    """A step between sources and storage.

    Synchronous and vectorised: decide per series once, remember, and apply by indexing with `batch.refs`.  An agent calls
    it in the writer's thread, with one batch at a time.  One that numbers series does so with `gated=False`: what it returns
    must be stored, and stand-ins (`tinyobs.model.gate`) are taken out before it.
    """

    name: str = "processor"
    """The middle of the names of its metrics."""

    @abc.abstractmethod
    def process(self, batch: Batch) -> Batch:
        """Return the batch that goes on; may be the same object.  Must not modify arrays in place."""

    def statistics(self) -> Any:
        """Return a frozen attrs object of statistics, or None; called in other threads, as `Component.statistics` is."""
        return None
