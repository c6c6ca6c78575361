"""The layouts of a log session: sequences of series that sources repeat batch after batch.

A layout is recognised by the bytes of its refs.  What is decided once for a layout (its number in the log, whether a
series occurs twice in it) and what the next batch is encoded against (its last values) are remembered here.

Not here: the record that defines a layout (`wal_format.py`).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from attrs import Factory, define
from numpy.typing import NDArray

from ..model.ragged import Places, run_of
from .samples import Samples
from .wal_format import RecordType, encode_samples
from .wal_histograms import Previous, encode_histograms

REFS_MAX: Final = 4 << 20
"""Refs held by all layouts together (12 bytes each); beyond it the table starts anew."""
WORDS_MAX: Final = 4 << 20
"""Words of histograms that all layouts together remember (32 MiB); beyond it histograms are logged in full."""
LAYOUT_REFS: Final = 36
"""What a layout costs besides its refs, counted in refs: 450 bytes."""


@define(eq=False)
class Layout:
    """One sequence of series.  unique: no series occurs twice.  previous: what its next batch is logged against.

    run: its series as a slice where their numbers follow one another, else None.
    """

    number: int
    refs: NDArray[np.uint32]
    unique: bool
    generation: int
    previous: Previous = Factory(Previous)
    defined: bool = False
    run: slice | None = Factory(lambda self: _slice_of(self.refs), takes_self=True)

    @property
    def where(self) -> Places:
        """Where its series are in columns by series; see `run_of`."""
        return self.refs.astype(np.intp) if self.run is None else self.run


class LayoutTable:
    """Layouts by the bytes of their refs; bounded by `REFS_MAX`."""

    def __init__(self) -> None:
        self._by_bytes: dict[bytes, Layout] = {}
        self._refs_count = 0
        self._words_count = 0
        self._generation = 0

    def find(self, refs: NDArray[np.uint32]) -> Layout:
        """Return the layout of a sequence of series."""
        key = refs.tobytes()
        found = self._by_bytes.get(key)
        if found is None:
            if self._refs_count + len(refs) + LAYOUT_REFS > REFS_MAX:
                self.clear()
            own = np.frombuffer(key, np.uint32)
            found = self._by_bytes[key] = Layout(len(self._by_bytes), own, _are_unique(own), self._generation)
            self._refs_count += len(refs) + LAYOUT_REFS
        return found

    def encode(self, layout: Layout, samples: Samples) -> tuple[RecordType, bytes]:
        """Return the record of a batch, and remember the batch as the layout's last."""
        previous = layout.previous
        if samples.is_plain:
            payload = encode_samples(layout.number, samples, previous.bits)
            previous.bits = samples.values.view(np.uint64).copy()  # a view could keep a whole request body alive
            return RecordType.SAMPLES, payload
        self._words_count -= previous.words_count
        payload = encode_histograms(layout.number, samples, previous, WORDS_MAX - self._words_count)
        self._words_count += previous.words_count
        return RecordType.HISTOGRAMS, payload

    def is_current(self, layout: Layout) -> bool:
        """Tell whether a layout found earlier is still in the table."""
        return layout.generation == self._generation

    def clear(self) -> None:
        """Forget all layouts; their numbers are given anew."""
        self._by_bytes.clear()
        self._refs_count = self._words_count = 0
        self._generation += 1


def _slice_of(refs: NDArray[np.uint32]) -> slice | None:
    found = run_of(refs)
    return found if isinstance(found, slice) else None


def _are_unique(refs: NDArray[np.uint32]) -> bool:
    if len(refs) < 2 or bool((refs[1:] > refs[:-1]).all()):
        return True
    ordered = np.sort(refs)
    return not bool((ordered[1:] == ordered[:-1]).any())
