"""A segment as it is read while deletes hold for it: what they take away is not there.

The same methods as a `SegmentReader`, over one.  The matchers of a delete are evaluated once for each segment; series
that it takes away whole are not even selected.  Names and values of labels notice nothing until the segment has been
rewritten.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from ..model.columns import SeriesColumns
from ..model.labels import Labels
from ..model.matchers import Matcher
from ..model.ragged import offsets_of
from .deletes import Delete
from .page_cache import PageCache
from .runs import Runs, runs_of
from .segment_reader import SegmentReader
from .strips import Piece

Numbers = NDArray[np.uint32]

_owners = itertools.count(-1, -1)
"""Unlike those of the readers themselves."""


@frozen(eq=False)
class _Mask:
    """What one delete takes away.  chosen: bool[S], whether a series is among its series."""

    chosen: NDArray[np.bool_]
    mint_ms: int
    maxt_ms: int


class MaskedReader(SegmentReader):
    """A reader without the samples of some deletes; whether these hold for the segment is the caller's to know."""

    def __init__(self, inner: SegmentReader, deletes: Sequence[Delete], cache: PageCache) -> None:
        self.inner, self.info = inner, inner.info
        self.owner = next(_owners)
        self.deletes = tuple(d for d in deletes if d.overlaps(inner.info.mint_ms, inner.info.maxt_ms))
        self._shared = cache
        self._resolved: tuple[list[_Mask], NDArray[np.bool_]] | None = None

    @property
    def touched_count(self) -> int:
        """The number of series that may lose samples."""
        masks, _ = self._masks()
        return int(np.logical_or.reduce([m.chosen for m in masks]).sum()) if masks else 0

    def select(self, matchers: Sequence[Matcher]) -> Numbers:
        """Return the numbers of the series that fulfil all matchers and are not taken away whole."""
        numbers = self.inner.select(matchers)
        return numbers[~self._masks()[1][numbers]]

    def labels(self, numbers: Numbers) -> list[Labels]:
        """Return the label sets of series."""
        return self.inner.labels(numbers)

    def label_names(self, numbers: Numbers | None = None) -> list[str]:
        """Return the sorted label names of the given series."""
        return self.inner.label_names(numbers)

    def label_values(self, name: str, numbers: Numbers | None = None) -> list[str]:
        """Return the sorted values of a label on the given series."""
        return self.inner.label_values(name, numbers)

    def read(
        self,
        numbers: Numbers,
        mint_ms: int,
        maxt_ms: int,
        labels: Sequence[Labels] | None = None,
        check: Callable[[], None] | None = None,
    ) -> SeriesColumns:
        """Return the samples of series in a range that no delete takes away."""
        return self._kept(self.inner.read(numbers, mint_ms, maxt_ms, labels, check), numbers)

    def pieces(
        self, numbers: Numbers, mint_ms: int, maxt_ms: int, check: Callable[[], None] | None = None, *, keep: bool
    ) -> list[Piece] | None:
        """Return the pages of series that lose nothing; None where any of them may, as pages know nothing of deletes."""
        if any(mask.chosen[numbers].any() for mask in self._masks()[0]):
            return None
        return self.inner.pieces(numbers, mint_ms, maxt_ms, check, keep=keep)

    def iterate(self, block: int = 256) -> Iterator[SeriesColumns]:
        """Yield the series that have samples left, in label order."""
        at = 0
        for columns in self.inner.iterate(block):
            numbers = np.arange(at, at + len(columns), dtype=np.uint32)
            at += len(columns)
            yield without_empty(self._kept(columns, numbers))

    def verify(self) -> None:
        """Read and check everything."""
        self.inner.verify()

    def close(self) -> None:
        """Let go of what the cache holds of the masked segment; the reader below has another owner."""
        self._shared.forget(self.owner)

    def _masks(self) -> tuple[list[_Mask], NDArray[np.bool_]]:
        """Return the masks, and which series are gone altogether; two threads may both work them out."""
        if self._resolved is None:
            count = self.info.series_count
            gone, masks = np.zeros(count, np.bool_), []
            for delete in self.deletes:
                chosen = np.zeros(count, np.bool_)
                for matchers in delete.matcher_sets:
                    chosen[self.inner.select(matchers)] = True
                if chosen.any():
                    masks.append(_Mask(chosen, delete.mint_ms, delete.maxt_ms))
                    if delete.mint_ms <= self.info.mint_ms and delete.maxt_ms >= self.info.maxt_ms:
                        gone |= chosen
            self._resolved = masks, gone
        return self._resolved

    def _kept(self, columns: SeriesColumns, numbers: Numbers) -> SeriesColumns:
        runs = runs_of(columns)
        times, lengths = runs.times_ms, np.diff(runs.offsets)
        dropped = np.zeros(len(times), np.bool_)
        for mask in self._masks()[0]:
            chosen = mask.chosen[numbers]
            if chosen.any():
                dropped |= np.repeat(chosen, lengths) & (times >= mask.mint_ms) & (times <= mask.maxt_ms)
        return without(runs, dropped).columns(columns.labels) if dropped.any() else columns


def hide(reader: SegmentReader, deletes: Sequence[Delete], cache: PageCache) -> SegmentReader:
    """Return a reader that hides more, for whoever reads the segment once."""
    plain, hidden = (reader.inner, reader.deletes) if isinstance(reader, MaskedReader) else (reader, ())
    masked = MaskedReader(plain, (*hidden, *deletes), cache)
    return masked if masked.deletes else reader


def without(runs: Runs, dropped: NDArray[np.bool_]) -> Runs:
    """Return the runs without some samples."""
    keep = ~dropped
    return runs.take(offsets_of(keep.astype(np.int64))[runs.offsets], keep)


def without_empty(columns: SeriesColumns) -> SeriesColumns:
    """Return the series that have samples."""
    filled = np.flatnonzero(np.diff(columns.offsets))
    if len(filled) == len(columns):
        return columns
    labels = [columns.labels[i] for i in filled.tolist()]
    return runs_of(columns).with_offsets(np.append(columns.offsets[filled], columns.offsets[-1])).columns(labels)
