"""The head: the newest samples, in memory, from their first append until they are in a segment.

A series writes to a row of the matrix (`head_rows.py`); full rows are set aside, and when there are enough of them
they are compressed together into chunks (`head_chunk.py`).  `freeze` makes chunks of everything and hands them to the
cut.  What decides about the next sample of a series, its newest one, is kept beside.

The one writer thread changes the head, under the engine's lock where readers could notice; readers work on a `HeadView`
(`head_view.py`) and take no lock.  Rows that an open view may still read are not given to other series.

Not here: whether a sample is acceptable (`admission.py`), durability (`wal_writer.py`).
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Final

import numpy as np
from attrs import Factory, define
from numpy.typing import NDArray

from ..model.growing import grown
from ..model.ragged import Places, offsets_of, run_of, spread
from .head_chunk import HeadChunk, compress_runs, ranks_of, unite_chunks
from .head_rows import SLOTS, RowMatrix, new_matrix, read_rows
from .head_view import HeadView
from .page_cache import PageCache
from .runs import Runs
from .samples import Samples
from .wal_format import NewestRecord

NEVER: Final = np.iinfo(np.int64).min
"""Newest time of a series that has none."""
STAGED_ROWS: Final = 16_384
"""Rows set aside (3 MB) before they are compressed together."""
UNITED_ROWS: Final = 3
"""Chunks are united where a series has at least so many rows in them on average."""
DIRECT_SAMPLES: Final = 4096
"""A batch of at least so many samples, many per series, becomes chunks without passing through rows."""
ARENA_BYTES_MAX: Final = 32 << 20
"""Bytes of native histograms in rows above which all rows that have some are compressed, full or not."""

Refs = NDArray[np.uint32]
Rows = NDArray[np.int64]
Times = NDArray[np.int64]
Values = NDArray[np.float64]
Change = Callable[[], None]


def at_once(change: Change) -> None:
    """Make a change that no reader can notice half of: there is none yet."""
    change()


@define(eq=False)
class Head:
    """Samples in memory.  chunks: sealed.  frozen: sealed and being cut.

    newest_ms, newest_values: by ref; for a histogram a digest is in place of the value (`Samples.marks`).
    forgotten_ms: whose newest sample is older may have been forgotten, and have newer ones in segments.
    """

    matrix: RowMatrix = Factory(new_matrix)
    newest_ms: Times = Factory(lambda: np.full(1024, NEVER))
    newest_values: Values = Factory(lambda: np.zeros(1024))
    forgotten_ms: int = NEVER
    ranks: NDArray[np.uint32] = Factory(lambda: np.empty(0, np.uint32))
    """Place of each series in label order, as far as known; only locality depends on it."""
    cache: PageCache | None = None
    """Where readers keep parsed chunks."""
    chunks: list[HeadChunk] = Factory(list)
    frozen: tuple[HeadChunk, ...] = ()
    chunk_bytes: int = 0
    min_ms: int = 2**63 - 1
    max_ms: int = -(2**63)
    series_created: int = 0
    series_removed: int = 0
    _row_of: NDArray[np.int32] = Factory(lambda: np.full(1024, -1, np.int32))
    _staged: list[Rows] = Factory(list)
    _staged_count: int = 0
    _retired: list[tuple[Rows, Rows, list[weakref.ref[HeadView]]]] = Factory(list)
    """Sealed rows, their slots of the arena, and the views that may still read them."""
    _views: list[weakref.ref[HeadView]] = Factory(list)
    _united: int = 0
    """Chunks before this one are not looked at again by `unite`."""

    # -- appending ---------------------------------------------------------------------------------------------

    def ensure(self, series_count: int) -> None:
        """Make room for the refs 0 .. series_count-1."""
        if series_count > len(self.newest_ms):
            self.newest_ms = grown(self.newest_ms, series_count, NEVER)
            self.newest_values = grown(self.newest_values, series_count)
            self._row_of = grown(self._row_of, series_count, -1)

    def add(
        self,
        refs: Refs,
        samples: Samples,
        unique: bool,
        publish: Callable[[Change], None] = at_once,
        where: Places | None = None,
    ) -> None:
        """Add samples; `ensure` was called.  unique: no series occurs twice.  where: what `run_of` makes of refs, if known.

        publish: makes a change so that readers see all or nothing of it; work that takes long is done before.
        """
        if not len(refs):
            return
        if unique:
            held = self.matrix.arena.hold(samples)
            publish(lambda: self._add_one_each(refs, run_of(refs) if where is None else where, samples, held))
            return
        order = np.argsort(refs, kind="stable")
        refs, samples = refs[order], samples.take(order)
        is_first = np.ones(len(refs), np.bool_)
        is_first[1:] = refs[1:] != refs[:-1]
        starts = np.flatnonzero(is_first)
        lengths = np.diff(np.append(starts, len(refs)))
        if len(refs) >= DIRECT_SAMPLES and int(lengths.max()) > SLOTS:
            self._add_chunks(refs[starts], samples, starts, lengths, publish)
        else:
            values = self.matrix.arena.hold(samples)
            publish(lambda: self._add_many(refs[starts], samples, values, starts, lengths))

    def note_newest(self, refs: Refs, times_ms: Times, values: Values, where: Places | None = None) -> None:
        """Remember the newest samples of distinct series without storing them.  where: as for `add`."""
        where = run_of(refs) if where is None else where
        known = self.newest_ms[where]
        self.series_created += int(np.count_nonzero(known == NEVER))
        later = times_ms >= known
        if later.all():
            self.newest_ms[where], self.newest_values[where] = times_ms, values
        else:
            self.newest_ms[refs[later]] = times_ms[later]
            self.newest_values[refs[later]] = values[later]

    def _add_one_each(self, refs: Refs, where: Places, samples: Samples, values: Values) -> None:
        times_ms, m = samples.times_ms, self.matrix
        rows, rows_where = self._rows_for(refs, where, times_ms)
        offsets = times_ms - m.bases_ms[rows_where]
        if not (fits := m.can_hold(offsets)).all():
            self._stage(rows[~fits])
            rows, rows_where = self._rows_for(refs, where, times_ms)
            offsets = times_ms - m.bases_ms[rows_where]
        full = m.add_one_each(rows, rows_where, offsets, values, samples.starts_ms)
        if len(full):
            self._stage(full)
        self._note_span(samples)
        self.note_newest(refs, times_ms, samples.marks, where)

    def _add_many(self, refs: Refs, samples: Samples, values: Values, starts: Rows, lengths: Rows) -> None:
        """Add runs of samples of distinct series; within a run they keep their order."""
        self._note_runs(refs, samples, starts, lengths)
        done = np.zeros(len(refs), np.int64)
        while len(refs):
            done += self._add_runs(refs, starts + done, lengths - done, samples, values)
            rest = done < lengths
            refs, starts, lengths, done = refs[rest], starts[rest], lengths[rest], done[rest]

    def _add_chunks(
        self, refs: Refs, samples: Samples, starts: Rows, lengths: Rows, publish: Callable[[Change], None]
    ) -> None:
        """Add long runs as chunks, behind what these series have in rows."""
        rows = self._row_of[refs].astype(np.int64)
        self._stage(rows[rows >= 0])
        sealed = self.seal()
        runs = Runs(offsets_of(lengths), samples.times_ms, samples.values, samples.histograms, samples.starts_ms)
        chunks = compress_runs(refs, runs)

        def change() -> None:
            self.put_sealed(*sealed)
            self._publish(chunks)
            self._note_runs(refs, samples, starts, lengths)

        publish(change)

    def _add_runs(self, refs: Refs, starts: Rows, lengths: Rows, samples: Samples, values: Values) -> Rows:
        """Add the beginnings of runs, as much as fits into the rows of their series; return how much that was."""
        times_ms = samples.times_ms
        m, where = self.matrix, run_of(refs)
        rows, rows_where = self._rows_for(refs, where, times_ms[starts])
        if not (fits := m.can_hold(times_ms[starts] - m.bases_ms[rows_where])).all():
            self._stage(rows[~fits])
            rows, _ = self._rows_for(refs, where, times_ms[starts])
        counts = m.counts[rows].astype(np.int64)
        taken = np.minimum(lengths, SLOTS - counts)
        source = spread(starts, taken)
        owner = np.repeat(np.arange(len(rows)), taken)
        offsets = times_ms[source] - m.bases_ms[rows[owner]]
        misfit = np.flatnonzero(~m.can_hold(offsets))
        if len(misfit):  # a leap in time: what lies before it goes into this row
            np.minimum.at(taken, owner[misfit], source[misfit] - starts[owner[misfit]])
            source, owner = spread(starts, taken), np.repeat(np.arange(len(rows)), taken)
            offsets = times_ms[source] - m.bases_ms[rows[owner]]
        at = spread(rows * SLOTS + counts, taken)
        since = None if samples.starts_ms is None else samples.starts_ms[source]
        m.put(at, offsets, values[source], since)
        counts += taken
        m.counts[rows] = counts
        self._stage(rows[counts == SLOTS])
        return taken

    def _note_span(self, samples: Samples) -> None:
        """Note how far samples reach."""
        first, last = samples.span
        self.min_ms, self.max_ms = min(self.min_ms, first), max(self.max_ms, last)

    def _note_runs(self, refs: Refs, samples: Samples, starts: Rows, lengths: Rows) -> None:
        self._note_span(samples)
        self.note_newest(refs, *_newest_of_runs(samples.times_ms, samples.marks, starts, lengths))

    def _rows_for(self, refs: Refs, where: Places, times_ms: Times) -> tuple[Rows, Places]:
        """Return the row of each of distinct series, giving one where there is none, and what `run_of` makes of the rows."""
        rows = self._row_of[where].astype(np.int64)
        if int(rows.min(initial=0)) < 0:
            without = rows < 0
            fresh = self.matrix.give(refs[without], times_ms[without])
            rows[without] = fresh
            self._row_of[refs[without]] = fresh
        return rows, run_of(rows)

    # -- sealing -----------------------------------------------------------------------------------------------

    @property
    def is_compression_due(self) -> bool:
        """Whether the rows set aside have become many, or rows take too much memory for histograms."""
        return self._staged_count >= STAGED_ROWS or self.matrix.arena.live_bytes > ARENA_BYTES_MAX

    def compress(self) -> None:
        """Compress all rows set aside."""
        self.put_sealed(*self.seal())

    def seal(self) -> tuple[Rows, list[HeadChunk]]:
        """Return the rows set aside and the chunks that they make.

        Changes nothing yet: the work may be long and needs no lock, `put_sealed` is short.
        """
        if self.matrix.arena.live_bytes > ARENA_BYTES_MAX:
            growing = self._row_of[self._row_of >= 0].astype(np.int64)
            self._stage(growing[self.matrix.holds_histograms(growing)])
        rows = np.concatenate([np.empty(0, np.int64), *self._staged])
        m = self.matrix
        rows = rows[np.lexsort((m.births[rows], m.refs[rows], ranks_of(m.refs[rows], self.ranks)))]
        chunks: list[HeadChunk] = []
        for i in range(0, len(rows), STAGED_ROWS):
            part = rows[i : i + STAGED_ROWS]
            chunks += compress_runs(m.refs[part], read_rows(m, part, m.counts[part]))
        return rows, chunks

    def put_sealed(self, rows: Rows, chunks: list[HeadChunk]) -> None:
        """Put the result of `seal` in place of the rows."""
        if not len(rows):
            return
        self._staged, self._staged_count = [], 0
        self._publish(chunks)
        slots = self.matrix.retire(rows)
        self._reclaim()
        readers = [v for v in self._views if v() is not None]
        if readers:
            self._retired.append((rows, slots, readers))
        else:
            self.matrix.free(rows, slots)

    def set_aside(self, refs: Refs | slice = slice(None)) -> None:
        """Set the rows of series aside, of all by default, full or not; readers do not notice."""
        rows = self._row_of[refs]
        self._stage(rows[rows >= 0].astype(np.int64))

    def unite(self, samples_max: int) -> tuple[int, int, list[HeadChunk]] | None:
        """Return (first, last, chunks): what chunks first .. last-1 become when rows of the same series are joined.

        Takes about `samples_max` samples (`HeadChunk.cost`), oldest first; None when so many are not there.  Changes nothing yet: the
        work may be long, `put_united` is short.
        """
        while True:
            first = last = self._united
            cost = 0
            while last < len(self.chunks) and cost < samples_max:
                cost += self.chunks[last].cost
                last += 1
            if cost < samples_max:
                return None
            refs = np.concatenate([c.refs for c in self.chunks[first:last]])
            seen = np.zeros(len(self.newest_ms), np.bool_)  # a hundredth of the time of `np.unique`
            seen[refs] = True
            if len(refs) >= UNITED_ROWS * int(np.count_nonzero(seen)):
                return first, last, unite_chunks(self.chunks[first:last], self.ranks)
            self._united = last

    def put_united(self, first: int, last: int, chunks: list[HeadChunk]) -> None:
        """Put the result of `unite` in place."""
        self.chunks[first:last] = chunks
        self.chunk_bytes = sum(c.nbytes for c in self.chunks)
        self._united = first + len(chunks)

    def put_chunks(self, chunks: list[HeadChunk]) -> None:
        """Put others in the place of all sealed chunks; there is nothing in rows, nor frozen."""
        self.chunks, self._united = chunks, 0
        self.min_ms, self.max_ms = 2**63 - 1, -(2**63)
        self._recount()

    def freeze(self) -> None:
        """Make frozen chunks of everything."""
        assert not self.frozen
        self.set_aside()
        self.compress()
        self.matrix.renew()
        self.frozen = tuple(self.chunks)
        self.chunks, self.chunk_bytes, self._united = [], 0, 0
        self.min_ms, self.max_ms = 2**63 - 1, -(2**63)

    def thaw(self) -> None:
        """Take frozen chunks back: the cut could not be done."""
        self.chunks, self._united = [*self.frozen, *self.chunks], 0
        self.frozen = ()
        self._recount()

    def drop_frozen(self, keep_since_ms: int) -> None:
        """Forget the frozen chunks, which are in segments now, and series not seen since `keep_since_ms`."""
        self.frozen, self.forgotten_ms = (), max(self.forgotten_ms, keep_since_ms)
        dead = (self.newest_ms != NEVER) & (self.newest_ms < keep_since_ms)
        dead &= self._row_of < 0
        for chunk in self.chunks:
            dead[chunk.refs] = False
        for rows in self._staged:
            dead[self.matrix.refs[rows]] = False
        self.series_removed += int(dead.sum())
        self.newest_ms = np.where(dead, NEVER, self.newest_ms)  # open views keep the old array

    def newest(self, since_ms: int, first: int = 0, last: int | None = None) -> NewestRecord:
        """Return the newest samples of those series number `first` .. `last - 1` seen since `since_ms`, for the log."""
        times = self.newest_ms[first:last]
        refs = np.flatnonzero((times != NEVER) & (times >= since_ms)) + first
        return NewestRecord(refs.astype(np.uint32), self.newest_ms[refs], self.newest_values[refs])

    @property
    def series_count(self) -> int:
        """The number of live series."""
        return self.series_created - self.series_removed

    @property
    def held_bytes(self) -> int:
        """Bytes of sealed chunks, frozen ones included."""
        return self.chunk_bytes + sum(c.nbytes for c in self.frozen)

    @property
    def sample_count(self) -> int:
        """The number of samples in memory."""
        sealed = sum(c.sample_count for c in self.chunks) + sum(c.sample_count for c in self.frozen)
        return sealed + int(self.matrix.counts[: self.matrix.used].sum(dtype=np.int64))

    def view(self) -> HeadView:
        """Return what the head holds now; to be called under the engine's lock."""
        made = HeadView(
            (*self.frozen, *self.chunks),
            self.matrix.seen_now(),
            self.newest_ms,
            min([self.min_ms, *(c.min_ms for c in self.frozen)]),
            max([self.max_ms, *(c.max_ms for c in self.frozen)]),
            self.cache,
        )
        self._views = [v for v in self._views if v() is not None]
        self._views.append(weakref.ref(made))
        return made

    # -- private -----------------------------------------------------------------------------------------------

    def _stage(self, rows: Rows) -> None:
        self._row_of[self.matrix.refs[rows]] = -1
        self._staged.append(rows)
        self._staged_count += len(rows)

    def _publish(self, chunks: list[HeadChunk]) -> None:
        self.chunks.extend(chunks)
        self.chunk_bytes += sum(c.nbytes for c in chunks)

    def _reclaim(self) -> None:
        """Free rows that no open view can still read."""
        waiting = []
        for rows, slots, readers in self._retired:
            if any(v() is not None for v in readers):
                waiting.append((rows, slots, readers))
            else:
                self.matrix.free(rows, slots)
        self._retired = waiting

    def _recount(self) -> None:
        self.chunk_bytes = sum(c.nbytes for c in self.chunks)
        for c in self.chunks:
            self.min_ms, self.max_ms = min(self.min_ms, c.min_ms), max(self.max_ms, c.max_ms)


def _newest_of_runs(times_ms: Times, values: Values, starts: Rows, lengths: Rows) -> tuple[Times, Values]:
    """Return time and value of the newest sample of each run; of equal times the last."""
    newest = np.maximum.reduceat(times_ms, starts)
    hits = np.flatnonzero(times_ms == np.repeat(newest, lengths))
    last = hits[np.searchsorted(hits, starts + lengths) - 1]
    return newest, values[last]
