"""Judging a group of batches that will share one write to the log.

A batch is judged as if those before it in the group were stored already: the head is told their newest samples, and
told again what it knew when all are judged, since nothing may be in it that is not in the log.

Not here: the verdict on a sample (`admission.py`) and on an exemplar (`exemplars.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from attrs import Factory, define, evolve
from numpy.typing import NDArray

from ..errors import LimitExceeded
from ..model.batch import AppendResult, Batch
from ..model.histograms import comparable_bits
from ..model.metadata import MetricMetadata
from ..model.ragged import Places
from .admission import Offer, admit
from .assemble import Part, assemble
from .exemplars import Pending
from .retention import proven_ms
from .runs import Runs
from .samples import samples_of
from .wal_encoder import Entry
from .wal_exemplars import StoredExemplar

if TYPE_CHECKING:
    from .engine import Engine

BATCH_SAMPLES_MAX: Final = 4 << 20
"""Samples that one batch may hold; a batch is one record of the log."""
BATCH_WORDS_MAX: Final = 12 << 20
"""Words of native histograms that one batch may hold: 96 MiB."""
METADATA_FAMILIES_MAX: Final = 200_000
"""Families whose metadata is kept; that of further ones is not."""

Newest = tuple[Places, NDArray[np.int64], NDArray[np.float64]]
Found = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]


@define(eq=False)
class Intake:
    """A group of batches: what goes into the log, and the results."""

    engine: Engine
    now_ms: int
    before: tuple[Intake, ...] = ()
    """Groups that are in the log but not in the head yet."""
    entries: list[Entry] = Factory(list)
    exemplars: list[StoredExemplar] = Factory(list)
    metadata: dict[str, MetricMetadata] = Factory(dict)
    results: list[AppendResult] = Factory(list)
    _undo: list[Newest] = Factory(list)
    _new_exemplars: Pending = Factory(dict)

    def judge(self, batch: Batch) -> None:
        """Add a batch.  Raises `LimitExceeded`."""
        pending = self._pending()
        while len(self._undo) < len(pending):
            self._undo.append(self._foresee(pending[len(self._undo)]))
        entry, result = self._admit(batch)
        if entry is not None:
            self.entries.append(entry)
        if batch.exemplars:
            for group in () if self._new_exemplars else self.before:
                self._new_exemplars.update(group._new_exemplars)
            judged = self.engine.exemplar_ring.judge(batch.exemplars, self._new_exemplars)
            self.exemplars += judged.accepted
            stored, refused = len(judged.accepted), dict(judged.refused)
            result = evolve(result, exemplars_stored=stored, exemplars_refused=refused)
        self.results.append(result)
        self.metadata.update(self._new_metadata(batch))

    def undo(self) -> None:
        """Let the head know what it knew before."""
        head = self.engine.head
        for where, times, marks in reversed(self._undo):
            head.newest_ms[where], head.newest_values[where] = times, marks
        self._undo.clear()
        self.before = ()  # all has been judged, and groups must not hold one another for ever

    def _pending(self) -> list[Entry]:
        """Return what is to be judged against though it is not in the head."""
        return [entry for group in (*self.before, self) for entry in group.entries]

    def _admit(self, batch: Batch) -> tuple[Entry | None, AppendResult]:
        engine = self.engine
        refuse_huge(batch)
        samples, invalid = samples_of(batch)
        layout = engine.wal.layouts.find(batch.refs)
        offer = Offer(batch.refs, layout.where, samples, layout.unique, invalid)
        options, maxt_ms = engine.options, engine.segments.maxt_ms
        admission = admit(engine.head, offer, options, self.now_ms, maxt_ms, self._stored, self._proven)
        admission.count_histograms(samples)
        if admission.kept is not None:
            layout = engine.wal.layouts.find(batch.refs[admission.kept])
            samples = samples.take(admission.kept)
        return (Entry(layout, samples.compact()) if len(samples) else None), admission.result

    def _foresee(self, entry: Entry) -> Newest:
        """Let the rest of the group see the newest samples of an entry; return what to put back."""
        head, refs, samples = self.engine.head, entry.layout.refs, entry.samples
        where = entry.layout.where
        before = where, head.newest_ms[where].copy(), head.newest_values[where].copy()
        created = head.series_created
        if entry.layout.unique:
            head.note_newest(refs, samples.times_ms, samples.marks, where)
        else:
            order = np.lexsort((samples.times_ms, refs))
            last = order[np.append(refs[order][1:] != refs[order][:-1], True)]
            head.note_newest(refs[last], samples.times_ms[last], samples.marks[last])
        head.series_created = created
        return before

    def _proven(self) -> int:
        return proven_ms(self.engine)

    def _stored(self, refs: NDArray[np.uint32], mint_ms: int, maxt_ms: int) -> Found:
        """Return (place in refs, time, mark) of what is stored or pending for distinct ascending series."""
        engine = self.engine
        parts: list[Part] = engine.segments.find(engine.registry, refs, mint_ms, maxt_ms)
        parts += engine.current()[0].find(refs, mint_ms, maxt_ms).read(0, len(refs))
        for entry in self._pending():
            mine = np.flatnonzero(np.isin(entry.layout.refs, refs))
            place, s = np.searchsorted(refs, entry.layout.refs[mine]), entry.samples
            parts.append((place, Runs(np.arange(len(mine) + 1), s.times_ms[mine], s.values[mine], s.histograms)))
        runs = assemble(parts, len(refs), mint_ms, maxt_ms)
        marks = comparable_bits(runs.values, runs.histograms).view(np.float64)
        return np.repeat(np.arange(len(refs)), np.diff(runs.offsets)), runs.times_ms, marks

    def _new_metadata(self, batch: Batch) -> dict[str, MetricMetadata]:
        known = self.engine.metadata()
        room = METADATA_FAMILIES_MAX - len(known)
        new = {k: v for k, v in batch.metadata.items() if known.get(k) != v}
        return new if len(new) <= room else {k: v for k, v in new.items() if k in known}


def refuse_huge(batch: Batch) -> None:
    """Raise `LimitExceeded` for a batch that is too large for a record of the log."""
    if len(batch) > BATCH_SAMPLES_MAX:
        raise LimitExceeded("BATCH_SAMPLES_MAX", f"batch of {len(batch)} samples; the limit is {BATCH_SAMPLES_MAX}")
    words = 0 if batch.histograms is None else len(batch.histograms.words)
    if words > BATCH_WORDS_MAX:
        raise LimitExceeded(
            "BATCH_WORDS_MAX", f"batch with {words} words of native histograms; the limit is {BATCH_WORDS_MAX}"
        )
