"""Samples of many series, sorted by series and time: the one shape in which this storage keeps them.

A block is never changed.  Every batch becomes a block, and neighbouring blocks are merged until they are large; of two
samples with the same series and time that of the later block stands.  Native histograms are handles into the block's
own table (`model/histograms.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from ..model.batch import Batch
from ..model.columns import starts_of
from ..model.histograms import Histograms, comparable_bits, joined, renumbered, without_handles
from ..model.ragged import offsets_of, spread

U32 = NDArray[np.uint32]
U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]
F64 = NDArray[np.float64]
Mask = NDArray[np.bool_]


@frozen(eq=False)
class Samples:
    """Samples in any order.  keys: int64[n], whatever tells their series apart."""

    keys: I64
    times: I64
    values: F64
    histograms: Histograms | None = None
    starts: I64 | None = None

    def take(self, positions: I64 | Mask) -> Samples:
        """Return the samples at these positions; the table has only what they need."""
        values, numbers = renumbered(self.values[positions])
        table = None if self.histograms is None or not len(numbers) else self.histograms.take(numbers)
        starts = None if self.starts is None else self.starts[positions]
        return Samples(self.keys[positions], self.times[positions], values, table, starts)

    def sorted(self) -> Samples:
        """Return the samples by key and time, of equal ones only the last."""
        if (
            (self.keys[1:] > self.keys[:-1]) | ((self.keys[1:] == self.keys[:-1]) & (self.times[1:] > self.times[:-1]))
        ).all():
            return self
        order = np.lexsort((self.times, self.keys))  # stable: of equal ones the last stays last
        keys, times = self.keys[order], self.times[order]
        last = np.ones(len(order), np.bool_)
        last[:-1] = (keys[1:] != keys[:-1]) | (times[1:] != times[:-1])
        return self.take(order[last])

    def bits(self) -> U64:
        """Return bits that are equal where the samples' values are."""
        return comparable_bits(self.values, self.histograms)


def gathered(parts: Sequence[Samples]) -> Samples:
    """Return the samples of all parts, one part after the other."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return Samples(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
    values, table = joined([(p.values, p.histograms) for p in parts])
    return Samples(
        np.concatenate([p.keys for p in parts]),
        np.concatenate([p.times for p in parts]),
        values,
        table,
        starts_of([(p.starts, len(p.times)) for p in parts]),
    )


def samples_of(batch: Batch) -> Samples:
    """Return the samples of a batch, keyed by ref."""
    values = np.ascontiguousarray(batch.values, np.float64)
    values = without_handles(values) if batch.histograms is None else values
    return Samples(batch.refs.astype(np.int64), batch.timestamps_ms, values, batch.histograms, batch.starts_ms)


@frozen(eq=False)
class Block:
    """Sorted samples.  refs: uint32[S], ascending; those of series `i` are `offsets[i]:offsets[i+1]` of the columns."""

    refs: U32
    offsets: I64
    samples: Samples
    min_ms: int
    max_ms: int

    def __len__(self) -> int:
        return len(self.samples.times)

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        s = self.samples
        table = 0 if s.histograms is None else s.histograms.nbytes
        starts = 0 if s.starts is None else s.starts.nbytes
        columns = s.keys.nbytes + s.times.nbytes + s.values.nbytes
        return self.refs.nbytes + self.offsets.nbytes + columns + table + starts

    def overlaps(self, mint_ms: int, maxt_ms: int) -> bool:
        """Tell whether there may be samples in a time range."""
        return self.min_ms <= maxt_ms and self.max_ms >= mint_ms

    def places(self, refs: U32) -> tuple[I64, I64]:
        """Return (positions among `refs`, positions in the block) of the series that the block has."""
        if not len(self.refs):
            return np.empty(0, np.int64), np.empty(0, np.int64)
        rows = np.minimum(np.searchsorted(self.refs, refs), len(self.refs) - 1)
        mine = np.flatnonzero(self.refs[rows] == refs)
        return mine, rows[mine]

    def bounds(self, rows: I64, mint_ms: int, maxt_ms: int) -> tuple[I64, I64]:
        """Return where the samples of series in a time range lie, both ends included: (first, last + 1) of each."""
        lows, highs = self.offsets[rows], self.offsets[rows + 1]
        if self.min_ms < mint_ms:
            lows = _bisect(self.samples.times, lows, highs, np.full(len(rows), mint_ms))
        if self.max_ms > maxt_ms:
            highs = _bisect(self.samples.times, lows, highs, np.full(len(rows), maxt_ms), behind=True)
        return lows, highs

    def read(self, refs: U32, mint_ms: int, maxt_ms: int) -> Samples | None:
        """Return the samples of distinct series in a time range, keyed by their places in `refs`; None without any."""
        mine, rows = self.places(refs)
        lows, highs = self.bounds(rows, mint_ms, maxt_ms)
        counts = highs - lows
        if not counts.sum():
            return None
        taken = self.samples.take(spread(lows, counts))
        return Samples(np.repeat(mine, counts), taken.times, taken.values, taken.histograms, taken.starts)

    def find(self, keys: I64, times: I64) -> I64:
        """Return where the samples with these series and times are, -1 where there is none."""
        mine, rows = self.places(keys.astype(np.uint32))
        at = _bisect(self.samples.times, self.offsets[rows], self.offsets[rows + 1], times[mine])
        inside = at < self.offsets[rows + 1]
        inside[inside] = self.samples.times[at[inside]] == times[mine[inside]]
        out = np.full(len(keys), -1)
        out[mine[inside]] = at[inside]
        return out

    def since(self, mint_ms: int) -> Block:
        """Return the block less the samples before a time; there must be one that is not."""
        return block_of(self.samples.take(self.samples.times >= mint_ms))

    def without(self, refs: U32, mint_ms: int, maxt_ms: int) -> Block | None:
        """Return the block less the samples of some series in a time range; None when nothing is left."""
        _, rows = self.places(refs)
        lows, highs = self.bounds(rows, mint_ms, maxt_ms)
        gone = spread(lows, highs - lows)
        if not len(gone):
            return self
        kept = np.ones(len(self), np.bool_)
        kept[gone] = False
        return block_of(self.samples.take(kept)) if kept.any() else None


def block_of(samples: Samples) -> Block:
    """Return samples keyed by ref, at least one, as a block."""
    s = samples.sorted()
    firsts = np.flatnonzero(np.diff(s.keys, prepend=-1))
    offsets = offsets_of(np.diff(np.append(firsts, len(s.keys))))
    refs = s.keys[firsts].astype(np.uint32)
    return Block(refs, offsets, s, int(s.times.min()), int(s.times.max()))


def merge(blocks: Sequence[Block]) -> Block:
    """Return several blocks, oldest first, as one."""
    return block_of(gathered([b.samples for b in blocks]))


def _bisect(times: I64, lows: I64, highs: I64, wanted: I64, *, behind: bool = False) -> I64:
    """Return for each run `times[low:high]` where `wanted` belongs: before equal ones, or behind them."""
    lows, highs = lows.copy(), highs.copy()
    open_ = np.flatnonzero(lows < highs)
    while len(open_):
        middle = (lows[open_] + highs[open_]) // 2
        found = times[middle]
        right = found <= wanted[open_] if behind else found < wanted[open_]
        lows[open_[right]] = middle[right] + 1
        highs[open_[~right]] = middle[~right]
        open_ = open_[lows[open_] < highs[open_]]
    return lows
