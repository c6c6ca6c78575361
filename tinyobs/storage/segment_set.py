"""The live segments: what the manifest lists, their readers, and the one way to change either.

A change is durable in the manifest before readers see it, and files go only after that.  When writing the manifest
fails, memory keeps the old state and no file is removed: on disk there is either the old manifest or the new one, and
both are true.  The next change, or the next start, settles it.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import attrs
import numpy as np
from attrs import define, field
from numpy.typing import NDArray

from ..errors import StorageError
from ..model.labels import Labels
from ..model.matchers import equal
from ..model.registry import SeriesRegistry
from .assemble import Part
from .disk import Disk
from .head import NEVER
from .layout import SEGMENT_FOLDER, WAL_FOLDER, segment_name, wal_name, wal_sequence
from .manifest import Manifest, SegmentEntry, read_manifest, write_manifest
from .options import EngineOptions
from .page_cache import PageCache
from .runs import runs_of
from .segment_format import SegmentInfo
from .segment_reader import SegmentReader

SEALED_KEPT_MAX: Final = 1000
"""New segments that are remembered until someone asks for them."""
LOOKUP_SERIES_MAX: Final = 1000
"""Series of a batch whose late samples are compared with segments; beyond it the last write wins when reading."""


CANDIDATES_MAX: Final = 20
"""Series with the labels common to all that are looked up, for each of these, up to which all are read at once."""
NUMBER_BYTES: Final = 150
"""What the remembered number of a series in a segment costs in memory."""


@define(eq=False)
class SegmentSet:
    """Live segments in order of age: of two samples with the same series and time the later segment's stands."""

    disk: Disk
    manifest: Manifest
    options: EngineOptions
    cache: PageCache = field(init=False)
    readers: tuple[SegmentReader, ...] = field(init=False)
    sealed: deque[SegmentInfo] = field(init=False, factory=lambda: deque(maxlen=SEALED_KEPT_MAX))
    """New segments that nobody asked for yet."""
    _next: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.cache = PageCache(self.options.page_cache_bytes_max)
        self.readers = tuple(self._open(e) for e in self.manifest.segments)
        self._next = self.manifest.next_segment

    @property
    def entries(self) -> tuple[SegmentEntry, ...]:
        """The segments as the manifest lists them; `readers` has the same order."""
        return self.manifest.segments

    @property
    def maxt_ms(self) -> int:
        """The newest time in any segment, `NEVER` without one."""
        return max((e.maxt_ms for e in self.entries), default=NEVER)

    @property
    def nbytes(self) -> int:
        """Bytes of all segments."""
        return sum(e.bytes for e in self.entries)

    def begin_log(self, sequence: int) -> None:
        """Write the first manifest of a new directory."""
        self.manifest = attrs.evolve(self.manifest, wal_first=sequence)
        write_manifest(self.disk, self.manifest)

    def take_sequence(self) -> int:
        """Return a number for a new segment; never given again."""
        self._next += 1
        return self._next - 1

    def replace(
        self,
        removed: Sequence[SegmentEntry],
        added: Sequence[SegmentEntry],
        publish: Callable[[Callable[[], None]], None],
        *,
        wal_first: int | None = None,
    ) -> None:
        """Make a change durable, then visible, then remove what is no longer needed.

        Added segments stand where the last removed one stood, else at the end.  publish: runs a change of memory under
        the engine's lock.  Raises `OSError`; nothing has changed then as far as memory is concerned, and the files of
        the added segments are gone unless a manifest may list them.
        """
        try:
            self._replace(removed, added, publish, wal_first)
        except BaseException:
            self._give_up(added)
            raise

    def _replace(
        self,
        removed: Sequence[SegmentEntry],
        added: Sequence[SegmentEntry],
        publish: Callable[[Callable[[], None]], None],
        wal_first: int | None,
    ) -> None:
        if added:
            self.disk.sync_folder(SEGMENT_FOLDER)
        fresh = {e.sequence: self._open(e) for e in added}
        gone = {e.sequence for e in removed}
        readers = {e.sequence: r for e, r in zip(self.entries, self.readers, strict=True)} | fresh
        place = max((i for i, e in enumerate(self.entries) if e.sequence in gone), default=len(self.entries))
        order = [*self.entries[:place], *added, *self.entries[place:]]
        live = tuple(e for e in order if e.sequence not in gone)
        first = self.manifest.wal_first if wal_first is None else wal_first
        manifest = Manifest(first, self._next, live)
        write_manifest(self.disk, manifest)

        def swap() -> None:
            self.manifest = manifest
            self.readers = tuple(readers[e.sequence] for e in live)

        publish(swap)
        for sequence in gone:
            readers[sequence].close()  # frees what the cache holds; queriers that still read it load it again
        self.sealed.extend(r.info for r in fresh.values())
        self._remove_unneeded(gone, first)

    def find(self, registry: SeriesRegistry, refs: NDArray[np.uint32], mint_ms: int, maxt_ms: int) -> list[Part]:
        """Return what the segments have of series in a range, numbered by their place in `refs`."""
        touched = [r for r in self.readers if r.info.maxt_ms >= mint_ms and r.info.mint_ms <= maxt_ms]
        parts: list[Part] = []
        if not touched or len(refs) > LOOKUP_SERIES_MAX:
            return parts
        for reader in touched:
            numbers = self._numbers(reader, registry, refs)
            places = np.flatnonzero(numbers >= 0)
            places = places[np.argsort(numbers[places])]
            if len(places):
                wanted = numbers[places].astype(np.uint32)
                c = reader.read(wanted, mint_ms, maxt_ms, [()] * len(wanted))  # nobody asks for the labels
                parts.append((places, runs_of(c)))
        return parts

    def _numbers(self, reader: SegmentReader, registry: SeriesRegistry, refs: NDArray[np.uint32]) -> NDArray[np.int64]:
        """Return the number that each series has in a segment, -1 for none; remembered, as late samples come again."""
        key = (reader.owner, "refs")
        known: dict[int, int] = self.cache.peek(key) or {}
        missing = [r for r in refs.tolist() if r not in known]
        if missing:
            numbers = _numbers_of(reader, [registry.labels(r) for r in missing])
            known = {**known, **dict(zip(missing, numbers, strict=True))}
            self.cache.put(key, known, NUMBER_BYTES * len(known))
        return np.fromiter(map(known.__getitem__, refs.tolist()), np.int64, len(refs))

    def close(self) -> None:
        """Close the readers; queriers must be closed before."""
        for r in self.readers:
            r.close()

    def _open(self, entry: SegmentEntry) -> SegmentReader:
        return SegmentReader(self.disk, segment_name(entry.sequence), self.cache)

    def _give_up(self, added: Sequence[SegmentEntry]) -> None:
        """Remove segments that no manifest lists: on a full disk they would take the room that it lacks."""
        with contextlib.suppress(OSError, StorageError):
            on_disk = read_manifest(self.disk)
            listed = {e.sequence for e in (on_disk or self.manifest).segments}
            for e in added:
                if e.sequence not in listed:
                    self.disk.remove(segment_name(e.sequence))

    def _remove_unneeded(self, gone: set[int], wal_first: int) -> None:
        """Remove files that the manifest no longer lists; what fails here is removed at the next start."""
        with contextlib.suppress(OSError):
            for sequence in gone:
                self.disk.remove(segment_name(sequence))
            for n in map(wal_sequence, self.disk.list(WAL_FOLDER)):
                if n is not None and n < wal_first:
                    self.disk.remove(wal_name(n))


def _numbers_of(reader: SegmentReader, wanted: Sequence[Labels]) -> list[int]:
    """Return the number of the series with exactly these labels, -1 where there is none, for each of many."""
    common = set(wanted[0]).intersection(*wanted[1:])
    candidates = reader.select([equal(n, v) for n, v in common])
    if len(candidates) > CANDIDATES_MAX * len(wanted):
        return [_number_of(reader, labels) for labels in wanted]
    number_of = dict(zip(reader.labels(candidates), candidates.tolist(), strict=True))
    return [number_of.get(labels, -1) for labels in wanted]


def _number_of(reader: SegmentReader, labels: Labels) -> int:
    """Return the number of the series with exactly these labels, -1 where there is none."""
    numbers = reader.select([equal(n, v) for n, v in labels])
    exact = [n for n, found in zip(numbers.tolist(), reader.labels(numbers), strict=True) if len(found) == len(labels)]
    return exact[0] if exact else -1


def entry_of(sequence: int, info: SegmentInfo) -> SegmentEntry:
    """Return what the manifest says of a finished segment."""
    return SegmentEntry(
        sequence, info.level, info.mint_ms, info.maxt_ms, info.series_count, info.sample_count, info.bytes
    )
