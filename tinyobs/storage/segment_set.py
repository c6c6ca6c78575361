"""The live segments: what the manifest lists, their readers, and the one way to change either.

Queries read `readers`: the raw segments, each without what deletes take from it.  `pairs` are all segments with their
readers as well, for upkeep; `tiers` those of the downsampled ones.

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
from .deletes import Delete
from .disk import Disk
from .head import NEVER
from .layout import SEGMENT_FOLDER, WAL_FOLDER, segment_name, wal_name, wal_sequence
from .manifest import FORMAT, Manifest, SegmentEntry, read_manifest, write_manifest
from .masking import MaskedReader
from .options import EngineOptions
from .page_cache import PageCache
from .runs import runs_of
from .segment_format import SegmentInfo
from .segment_reader import SegmentReader
from .tiers import TierSpans, kept_fresh, spans_of, widened

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
    readers: tuple[SegmentReader, ...] = field(init=False, default=())
    pairs: tuple[tuple[SegmentEntry, SegmentReader], ...] = field(init=False, default=())
    tier_spans: TierSpans | None = field(init=False, default=None)
    """What the downsampled segments cover."""
    sealed: deque[SegmentInfo] = field(init=False, factory=lambda: deque(maxlen=SEALED_KEPT_MAX))
    """New segments that nobody asked for yet."""
    log_floor: Callable[[int], int] = field(init=False, default=int)
    """Tells the first log file that is needed, from the first that the storage needs; the identity by default."""
    _next: int = field(init=False)
    _opened: dict[int, SegmentReader] = field(init=False, factory=dict)
    """The readers by number, without masks."""

    def __attrs_post_init__(self) -> None:
        self.cache = PageCache(self.options.page_cache_bytes_max)
        self._next = self.manifest.next_segment
        if self.manifest.wal_first and self.manifest.format < FORMAT:
            self.manifest = attrs.evolve(self.manifest, format=FORMAT)
            write_manifest(self.disk, self.manifest)  # from now on an older version must not open it
        self._opened = {e.sequence: self._open(e) for e in self.entries}
        self._take_over(self.manifest)

    @property
    def entries(self) -> tuple[SegmentEntry, ...]:
        """The segments as the manifest lists them; `pairs` has the same order."""
        return self.manifest.segments

    @property
    def deletes(self) -> tuple[Delete, ...]:
        """The deletes that may still hold for some segment, in order."""
        return self.manifest.deletes

    @property
    def tiers(self) -> tuple[tuple[SegmentEntry, SegmentReader], ...]:
        """The downsampled segments with their readers, in order of age."""
        return tuple([(e, r) for e, r in self.pairs if e.tier_ms])

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
        """Return a number for a new segment or a delete; never given again."""
        self._next += 1
        return self._next - 1

    def replace(
        self,
        removed: Sequence[SegmentEntry],
        added: Sequence[SegmentEntry],
        publish: Callable[[Callable[[], None]], None],
        *,
        wal_first: int | None = None,
        at_front: bool = False,
        deletes: tuple[Delete, ...] | None = None,
    ) -> None:
        """Make a change durable, then visible, then remove what is no longer needed.

        Added segments stand where the last removed one stood, else at the end, or `at_front` before all others.
        publish: runs a change of memory under the engine's lock.  deletes: those that are left, None for all.
        Raises `OSError`; nothing has changed then as far as memory is concerned, and the files of the added segments
        are gone unless a manifest may list them.
        """
        live = self._order(removed, added, at_front)
        first = self.manifest.wal_first if wal_first is None else wal_first
        left = self.deletes if deletes is None else deletes
        try:
            fresh = self._commit(Manifest(first, self._next, live, left), added)
        except BaseException:
            self._give_up(added)
            raise
        publish(lambda: self._take_over(self.manifest))
        self.sealed.extend(r.info for r in fresh)
        gone = {e.sequence for e in removed}
        for sequence in gone:
            self._opened.pop(sequence).close()  # frees what the cache holds; queriers that still read load it again
        self._remove_unneeded(gone, first)

    def hold(self, delete: Delete, publish: Callable[[Callable[[], None]], None]) -> None:
        """Let a delete that is in the log hold for all segments.

        The next manifest lists it; until then the log has it, and no file of the log goes without a manifest.
        """
        self.manifest = attrs.evolve(self.manifest, next_segment=self._next, deletes=(*self.deletes, delete))
        publish(lambda: self._take_over(self.manifest))

    def deletes_of(self, entry: SegmentEntry) -> tuple[Delete, ...]:
        """Return the deletes that hold for a segment and may take samples from it, by its times."""
        held = [widened(d, entry) for d in self.deletes if entry.sequence < d.below]
        return tuple([d for d in held if d.overlaps(entry.mint_ms, entry.maxt_ms)])

    def _order(
        self, removed: Sequence[SegmentEntry], added: Sequence[SegmentEntry], at_front: bool
    ) -> tuple[SegmentEntry, ...]:
        gone = {e.sequence for e in removed}
        last = max((i for i, e in enumerate(self.entries) if e.sequence in gone), default=len(self.entries))
        place = 0 if at_front else last
        order = [*self.entries[:place], *added, *self.entries[place:]]
        return kept_fresh(self.entries, removed, added, [e for e in order if e.sequence not in gone])

    def _commit(self, manifest: Manifest, added: Sequence[SegmentEntry]) -> list[SegmentReader]:
        """Write a manifest and make it the one in memory; return the readers of the added segments."""
        if added:
            self.disk.sync_folder(SEGMENT_FOLDER)
        fresh = {e.sequence: self._open(e) for e in added}
        write_manifest(self.disk, manifest)
        self._opened.update(fresh)
        self.manifest = manifest
        return list(fresh.values())

    def _take_over(self, manifest: Manifest) -> None:
        """Let readers see what a manifest lists; masks that stay the same are kept with what the cache has of them."""
        before = {e.sequence: r for e, r in self.pairs}
        self.pairs = tuple([(e, self._masked(e, before.get(e.sequence))) for e in manifest.segments])
        self.readers = tuple([r for e, r in self.pairs if not e.tier_ms])
        self.tier_spans = spans_of(self.pairs)
        now = {id(r) for _, r in self.pairs}
        for reader in before.values():
            if isinstance(reader, MaskedReader) and id(reader) not in now:
                reader.close()

    def _masked(self, entry: SegmentEntry, before: SegmentReader | None) -> SegmentReader:
        deletes, plain = self.deletes_of(entry), self._opened[entry.sequence]
        if not deletes:
            return plain
        if isinstance(before, MaskedReader) and before.deletes == deletes:
            return before
        return MaskedReader(plain, deletes, self.cache)

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
        for r in [*self._opened.values(), *(r for _, r in self.pairs)]:
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
        names = [segment_name(sequence) for sequence in sorted(gone)]
        with contextlib.suppress(OSError):
            files = map(wal_sequence, self.disk.list(WAL_FOLDER))
            floor = self.log_floor(wal_first)
            names += [wal_name(n) for n in files if n is not None and n < floor]
        for name in names:
            with contextlib.suppress(OSError):
                self.disk.remove(name)


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
