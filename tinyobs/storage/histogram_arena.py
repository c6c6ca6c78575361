"""Where the native histograms of the head's rows are kept until the rows are compressed.

A row has a handle in place of a histogram; its number is that of a slot here.  The writer thread puts and frees;
readers look up slots of rows that they may read, which stay as they are until the rows are free.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from attrs import Factory, define
from numpy.typing import NDArray

from ..model.histograms import HANDLE_PREFIX, Histograms, from_blobs, is_handle, numbers_of
from .samples import Samples

I64 = NDArray[np.int64]
F64 = NDArray[np.float64]

BLOB_BYTES = 64
"""What a histogram costs besides its words."""


@define(eq=False)
class HistogramArena:
    """Packed histograms by slot.  live_bytes: of those in rows that still grow or wait to be compressed."""

    nbytes: int = 0
    live_bytes: int = 0
    _blobs: list[bytes] = Factory(list)
    _free: list[int] = Factory(list)

    @property
    def is_used(self) -> bool:
        """Whether there ever was a histogram."""
        return bool(self._blobs)

    def hold(self, samples: Samples) -> F64:
        """Keep the histograms of samples and return the values with their handles of this arena."""
        if samples.histograms is None:
            return samples.values
        table = samples.histograms
        data = table.words.astype("<u8", copy=False).tobytes()
        slots = np.fromiter(
            (self._put(data[a:b]) for a, b in pairwise((table.offsets * 8).tolist())), np.int64, len(table)
        )
        added = len(data) + BLOB_BYTES * len(table)
        self.nbytes += added
        self.live_bytes += added
        values = samples.values.copy()
        at = np.flatnonzero(is_handle(values))
        numbers = slots[numbers_of(values[at])].astype(np.uint64)
        values[at] = (numbers | np.uint64(HANDLE_PREFIX << 48)).view(np.float64)
        return values

    def read(self, slots: I64) -> Histograms:
        """Return the histograms of some slots, in this order."""
        blobs = self._blobs
        return from_blobs([blobs[i] for i in slots.tolist()])

    def retire(self, slots: I64) -> None:
        """Note that none but open views reads these slots."""
        self.live_bytes -= self._size(slots)

    def free(self, slots: I64) -> None:
        """Forget retired histograms; nobody may read them any more."""
        self.nbytes -= self._size(slots)
        for i in slots.tolist():
            self._blobs[i] = b""
        self._free.extend(slots.tolist())

    def _put(self, blob: bytes) -> int:
        if self._free:
            slot = self._free.pop()
            self._blobs[slot] = blob
            return slot
        self._blobs.append(blob)
        return len(self._blobs) - 1

    def _size(self, slots: I64) -> int:
        return sum([len(self._blobs[i]) + BLOB_BYTES for i in slots.tolist()])
