"""The log record of a batch with native histograms or start times: the columns of a plain one, and these.

Start times and the words of histograms are logged, like values, as the exclusive or with what the layout's previous
batch had at the same place: counts of buckets and start times change little or not at all.  Both sides remember the
previous batch in a `Previous`; the writer decides what it keeps, and the record says what it was logged against.

Not here: plain samples (`wal_format.py`).  Format page: docs/format/wal.md.
"""

from __future__ import annotations

import struct
from typing import Final

import numpy as np
from attrs import define, frozen
from numpy.typing import NDArray

from ..model.histogram_words import refuse_inconsistent
from ..model.histograms import Histograms, numbers_of
from ..model.ragged import offsets_of, spread
from .samples import Samples
from .wal_format import Columns, bits_of, decode_columns, encode_columns, pack_payload, planes_of, unpack_payload

U64 = NDArray[np.uint64]

STARTS: Final = 1
"""The record has a column of start times."""
STARTS_AGAINST: Final = 2
"""... as the exclusive or with that of the layout's last batch that had one."""
HISTOGRAMS: Final = 4
"""The record has histograms."""
HISTOGRAMS_AGAINST: Final = 8
"""... as the exclusive or with those of the layout's last batch that had some, where they are as long."""

_COUNT = struct.Struct("<I")


@define(eq=False)
class Previous:
    """What the next batch of a layout is logged against; None where nothing is known.

    bits: of the last values.  starts: the last start times.  histograms: the last table.
    """

    bits: U64 | None = None
    starts: U64 | None = None
    histograms: Histograms | None = None

    @property
    def words_count(self) -> int:
        """Words of histograms that are remembered."""
        return 0 if self.histograms is None else len(self.histograms.words)


@frozen(eq=False)
class HistogramsRecord:
    """A batch as logged; all of it still has to be combined with the layout's previous batch."""

    columns: Columns
    flags: int
    starts: U64 | None
    lengths: NDArray[np.int64]
    words: U64

    def resolve(self, previous: Previous) -> Samples:
        """Return the samples, and remember them in `previous`; `ValueError` where they do not fit together."""
        bits = self.columns.bits if previous.bits is None else self.columns.bits ^ previous.bits
        previous.bits, starts, table = bits, self.starts, None
        if starts is not None:
            if self.flags & STARTS_AGAINST:
                if previous.starts is None:
                    raise ValueError("start times without any before")
                starts = starts ^ previous.starts
            previous.starts = starts
        if self.flags & HISTOGRAMS:
            offsets = offsets_of(self.lengths)
            words = self.words
            if self.flags & HISTOGRAMS_AGAINST:
                if previous.histograms is None:
                    raise ValueError("histograms without any before")
                words = _against(words, offsets, previous.histograms)
            refuse_inconsistent(offsets, words)
            table = previous.histograms = Histograms(offsets, words)
        values = bits.view(np.float64)
        if int(numbers_of(values).max(initial=-1)) >= (0 if table is None else len(table)):
            raise ValueError("a sample without its histogram")
        return Samples(self.columns.times_ms, values, table, None if starts is None else starts.view(np.int64))


def plain_record(columns: Columns) -> HistogramsRecord:
    """Return a batch that was logged without histograms and start times."""
    return HistogramsRecord(columns, 0, None, np.empty(0, np.int64), np.empty(0, np.uint64))


def encode_histograms(layout: int, samples: Samples, previous: Previous, words_max: int) -> bytes:
    """Return the payload of one batch and remember it in `previous`.

    Handles are 0, 1, 2 ... in order.  words_max: a longer table is not remembered.
    """
    flags, parts = 0, [encode_columns(layout, samples, previous.bits)]
    previous.bits = samples.values.view(np.uint64).copy()
    if samples.starts_ms is not None:
        starts = samples.starts_ms.view(np.uint64)
        flags |= STARTS
        if previous.starts is not None:
            flags |= STARTS_AGAINST
            parts.append(planes_of(starts ^ previous.starts))
        else:
            parts.append(planes_of(starts))
        previous.starts = starts.copy()
    if samples.histograms is not None:
        table = samples.histograms
        flags |= HISTOGRAMS
        words = table.words
        if previous.histograms is not None:
            flags |= HISTOGRAMS_AGAINST
            words = _against(words, table.offsets, previous.histograms)
        parts.append(_COUNT.pack(len(table)) + np.diff(table.offsets).astype("<u4").tobytes() + planes_of(words))
        kept = len(table.words) <= words_max
        previous.histograms = Histograms(table.offsets, table.words.copy()) if kept else None
    return pack_payload(bytes([flags]), *parts)


def decode_histograms(payload: memoryview) -> HistogramsRecord:
    """Return the batch of a record."""
    data = unpack_payload(payload)
    flags = data[0]
    if flags & ~(STARTS | STARTS_AGAINST | HISTOGRAMS | HISTOGRAMS_AGAINST):
        raise ValueError(f"unknown flags {flags}")
    columns, at = decode_columns(data, 1)
    n, starts = len(columns.bits), None
    lengths, words = np.empty(0, np.int64), np.empty(0, np.uint64)
    if flags & STARTS:
        starts = bits_of(data, n, at)
        at += 8 * n
    if flags & HISTOGRAMS:
        (m,) = _COUNT.unpack_from(data, at)
        lengths = np.frombuffer(data, "<u4", m, at + 4).astype(np.int64)
        at += 4 + 4 * m
        words = bits_of(data, int(lengths.sum()), at)
        at += 8 * len(words)
    if at != len(data):
        raise ValueError("bytes left over")
    return HistogramsRecord(columns, flags, starts, lengths, words)


def _against(words: U64, offsets: NDArray[np.int64], before: Histograms) -> U64:
    """Return the words of histograms xor those at the same place in another table, where both are equally long."""
    n = min(len(offsets) - 1, len(before))
    lengths = np.diff(offsets[: n + 1])
    same = np.flatnonzero(lengths == np.diff(before.offsets[: n + 1]))
    if len(same) == n:
        end = int(offsets[n])
        return np.concatenate((words[:end] ^ before.words[:end], words[end:]))
    out = words.copy()
    out[spread(offsets[same], lengths[same])] ^= before.words[spread(before.offsets[same], lengths[same])]
    return out
