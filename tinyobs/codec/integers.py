"""Rows of int64, compressed: the one codec under values, timestamps, postings and series tables.

Each row is predicted in one of two ways, chosen per row by cost: order 0 expects `base` everywhere, order 1 expects
each integer to be the one before plus `base`, beginning at `first`.  What the prediction misses, the residuals, are
zigzag-coded and stored as byte planes (`planes.py`), rows of like magnitude beside each other.  A row that is
predicted exactly (a constant, a regular timestamp column) takes no byte per integer.

All arithmetic is modulo 2^64, so every int64 is exact whatever was chosen.  Encoding and decoding work on all rows
at once, rows of different lengths included.  Format: `docs/format/page.md`, "Integer rows".
"""

from __future__ import annotations

from typing import Final, TypeVar

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from ..model.ragged import offsets_of, put_rows, take_rows
from .compression import DENSE, compress, decompress
from .likeness import classes_of
from .planes import WIDTH_MAX, Planes, decode_planes, encode_planes, widths_of
from .shuffle import shuffle, unshuffle

I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]
T = TypeVar("T", np.int64, np.float64)

ROWS_MAX: Final = 1 << 20
"""Most rows in one block."""
INTEGERS_MAX: Final = 1 << 26
"""Most integers in one block."""
SAMPLED: Final = (9, 36)
"""Positions of a row on which order, base and magnitude are decided: in blocks of short rows, of long ones."""
SAMPLED_THOROUGHLY: Final = 252
"""Positions where rows are long on average and the data is to stay."""
LOWEST_BITS: Final = 3.0
"""The base of a row of order 0 is its least integer unless that costs more than so many bits an integer.

No residual is negative then, and bytes of a skewed distribution are not folded onto each other by the zigzag code.
"""
LONG_ROW: Final = 100
"""Rows of so many integers are long."""
_ROW_BYTES: Final = 22  # key u16, count u32, base i64, first i64
_ORDERS: Final = 2


def encode_rows(values: I64, offsets: I64, level: int) -> bytes:
    """Return the block of rows `values[offsets[i]:offsets[i+1]]`; offsets: int64[R+1] from 0 to N."""
    counts = np.diff(offsets)
    assert len(counts) <= ROWS_MAX
    assert len(values) <= INTEGERS_MAX
    filled = np.flatnonzero(counts)
    starts = offsets[:-1][filled]
    order, base, magnitude = _choose(values, starts, counts[filled], level)
    keys = np.zeros(len(counts), np.uint16)
    bases = np.zeros(len(counts), np.int64)
    firsts = np.zeros(len(counts), np.int64)
    bases[filled] = base
    firsts[filled] = np.where(order == 0, 0, values[starts])
    parts = []
    for o in range(_ORDERS):
        mine = filled[order == o]
        if len(mine):
            z = _zigzag(_residuals(o, values, offsets, mine, bases[mine]))
            key, part = _encode_group(o, z, counts[mine], magnitude[order == o], level)
            keys[mine] = key
            parts.append(part)
    columns = [keys.astype("<u2"), counts.astype("<u4"), bases.astype("<i8"), firsts.astype("<i8")]
    meta = b"".join(shuffle(c) for c in columns)
    packed = compress(meta, level)
    head = np.array([len(counts), len(packed)], "<u4").tobytes()
    return head + packed + b"".join(parts)


@frozen(eq=False)
class _Group:
    """Rows of one order.  rows: their numbers in stored order; offsets: of their integers within the planes."""

    order: int
    rows: I64
    offsets: I64
    planes: Planes


@frozen(eq=False)
class IntegerRows:
    """A parsed block, planes decompressed.  counts: int64[R], integers per row."""

    counts: I64
    bases: I64
    firsts: I64
    groups: tuple[_Group, ...]
    length: int
    """The length of the rows where all have the same, else 0."""

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return 32 * len(self.counts) + sum(g.planes.nbytes for g in self.groups)

    def decode(self, rows: I64 | None = None) -> tuple[I64, I64]:
        """Return (values, offsets) of ascending `rows`, all of them by default."""
        place = None
        if rows is not None:
            place = np.full(len(self.counts), -1, np.int64)
            place[rows] = np.arange(len(rows))
        if self.length:
            count = len(self.counts if rows is None else rows)
            even = np.empty((count, self.length), np.int64)
            for g in self.groups:
                self._decode_even(g, place, even)
            return even.reshape(-1), np.arange(count + 1) * self.length
        counts = self.counts if rows is None else self.counts[rows]
        offsets = offsets_of(counts)
        out = np.empty(int(offsets[-1]), np.int64)
        for g in self.groups:
            self._decode_group(g, place, offsets, out)
        return out, offsets

    def _decode_even(self, g: _Group, place: I64 | None, out: I64) -> None:
        """Do what `_decode_group` does for rows that all have the same length; out: int64[rows, length]."""
        if place is None:
            rows = to = g.rows
            z = g.planes.all(int(g.offsets[-1]))
        else:
            to = place[g.rows]
            chosen = np.flatnonzero(to >= 0)
            if not len(chosen):
                return
            rows, to = g.rows[chosen], to[chosen]
            z = g.planes.even_rows(chosen, self.length)
        r = _unzigzag(z).reshape(-1, self.length)
        r += self.bases[rows][:, None]
        if g.order:
            r[:, 0] = self.firsts[rows]
            np.cumsum(r, axis=1, out=r)
        out[to] = r

    def _decode_group(self, g: _Group, place: I64 | None, offsets: I64, out: I64) -> None:
        """Write the rows of a group to their places in `out`; `place[row]` is where a wanted row goes, else -1."""
        if place is None:
            rows, to = g.rows, g.rows
            r = _unzigzag(g.planes.all(int(g.offsets[-1])))
        else:
            chosen = np.flatnonzero(place[g.rows] >= 0)
            if not len(chosen):
                return
            rows = g.rows[chosen]
            to = place[rows]
            r = _unzigzag(g.planes.rows(chosen, g.offsets))
        counts = self.counts[rows]
        starts = offsets_of(counts)[:-1]
        r += np.repeat(self.bases[rows], counts)
        if g.order:
            r[starts] = self.firsts[rows]
            _sum_rows(r, starts, counts)
        put_rows(out, offsets, to, r)


def decode_rows(data: memoryview, integers_max: int = INTEGERS_MAX) -> tuple[IntegerRows, int]:
    """Return the block at the beginning of `data`, and how many bytes it took.

    `ValueError` on damage, and where there are more than `integers_max` integers.
    """
    if len(data) < 8:
        raise ValueError("integer rows cut short")
    count, packed = (int(n) for n in np.frombuffer(data, "<u4", 2))
    at = 8 + packed
    if count > ROWS_MAX or at > len(data):
        raise ValueError("too many rows, or rows cut short")
    meta = np.frombuffer(decompress(data[8:at], _ROW_BYTES * count), np.uint8)
    keys = unshuffle(meta[: 2 * count], "<u2").astype(np.int64)
    counts = unshuffle(meta[2 * count : 6 * count], "<u4").astype(np.int64)
    bases = unshuffle(meta[6 * count : 14 * count], "<i8").astype(np.int64)
    firsts = unshuffle(meta[14 * count :], "<i8").astype(np.int64)
    if int(counts.sum()) > integers_max:
        raise ValueError("too many integers")
    orders, widths = keys >> 12, keys >> 8 & 15
    if count and (int(orders.max()) >= _ORDERS or int(widths.max()) > WIDTH_MAX):
        raise ValueError("unknown kind of row")
    groups = []
    sequence = np.argsort(keys, kind="stable")
    sequence = sequence[counts[sequence] > 0]
    for o in range(_ORDERS):
        rows = sequence[orders[sequence] == o]
        if len(rows):
            offsets = offsets_of(counts[rows])
            planes, used = decode_planes(data[at:], offsets, widths[rows])
            at += used
            groups.append(_Group(o, rows, offsets, planes))
    length = int(counts[0]) if count and (counts == counts[0]).all() else 0
    return IntegerRows(counts, bases, firsts, tuple(groups), length), at


# -- encoding --------------------------------------------------------------------------------------------------


def _choose(values: I64, starts: I64, counts: I64, level: int) -> tuple[I64, I64, I64]:
    """Return (order, base, magnitude) per non-empty row, judged on a sample of its positions."""
    if not len(starts):
        return counts, counts, counts
    is_thorough = level >= DENSE and len(values) >= LONG_ROW * len(counts)
    x, before = sample(values, starts, counts, SAMPLED_THOROUGHLY if is_thorough else None)
    order, base, cost = predict(x, before, counts == 2)  # two are always exact by order 1
    if level >= DENSE:
        least = np.minimum.reduceat(values, starts)
        lowest = (order == 0) & (_cost(x - least) < cost + LOWEST_BITS)
        base = np.where(lowest, least, base)
    return order, base, np.ceil(cost).astype(np.int64)


def predict(x: I64, before: I64, is_line: NDArray[np.bool_] | bool = False) -> tuple[I64, I64, NDArray[np.float64]]:
    """Return (order, base, bits an integer) of rows, judged on what `sample` returned; order 1 where `is_line`."""
    d = x - before
    base0, base1 = _middle(x), _middle(d)
    cost0, cost1 = _cost(x - base0), _cost(d - base1)
    order = ((cost1 < cost0) | is_line).astype(np.int64)
    return order, np.where(order, base1, base0), np.minimum(cost0, cost1)


def sample(values: NDArray[T], starts: I64, counts: I64, positions: int | None = None) -> tuple[NDArray[T], NDArray[T]]:
    """Return what rows hold at sampled positions, and at the ones before: both [positions, rows]."""
    n = int(counts.max())
    sampled = positions or SAMPLED[n >= LONG_ROW]
    if n == int(counts.min()) and n > 1 and len(values) == n * len(starts):
        rows = values.reshape(-1, n)
        at = (n - 1) * np.arange(sampled) // sampled + 1
        return np.ascontiguousarray(rows[:, at].T), rows[:, at - 1].T
    at = np.maximum(counts - 1, 1) * np.arange(sampled)[:, None] // sampled + 1
    at = np.minimum(at, counts - 1)
    at += starts
    return values[at], values[np.maximum(at - 1, starts)]


def _middle(x: I64) -> I64:
    """Return a value near the middle of each column: the median of the medians of three times three."""
    a, b, c = x[:: len(x) // 9].reshape(3, 3, -1)
    a, b, c = np.maximum(np.minimum(a, b), np.minimum(np.maximum(a, b), c))
    out: I64 = np.maximum(np.minimum(a, b), np.minimum(np.maximum(a, b), c))
    return out


def _cost(residuals: I64) -> NDArray[np.float64]:
    """Return the mean of log2(|r| + 1) per column, by exponent and mantissa bits of float32 (linear in between)."""
    near = residuals.astype(np.float32)
    np.abs(near, out=near)
    near += np.float32(1)
    bits = near.view(np.int32).astype(np.float32)
    out: NDArray[np.float64] = bits.mean(axis=0, dtype=np.float64)
    return out * 2.0**-23 - 127


def _residuals(order: int, values: I64, offsets: I64, rows: I64, bases: I64) -> I64:
    """Return what the prediction misses, row after row; 0 for the first of a row of order 1."""
    counts = np.diff(offsets)[rows]
    x = values if len(rows) == len(offsets) - 1 else take_rows(values, offsets, rows)
    if order == 0:
        return x - np.repeat(bases, counts)
    r = np.empty_like(x)
    np.subtract(x[1:], x[:-1], out=r[1:])
    r -= np.repeat(bases, counts)
    r[offsets_of(counts)[:-1]] = 0
    return r


def _encode_group(order: int, z: U64, counts: I64, magnitude: I64, level: int) -> tuple[NDArray[np.uint16], bytes]:
    """Return (key per row, planes) of rows of one order, stored by ascending key."""
    offsets = offsets_of(counts)
    widths = widths_of(np.maximum.reduceat(z, offsets[:-1]))
    if level >= DENSE:
        classes = classes_of(z, offsets, widths, magnitude)
    else:
        classes = np.minimum(np.where(widths, magnitude, 0), 255)
    key = (order << 12 | widths << 8 | classes).astype(np.uint16)
    sequence = np.argsort(key, kind="stable")
    if (np.diff(sequence) != 1).any():
        z = take_rows(z, offsets, sequence)
    return key, encode_planes(z, offsets_of(counts[sequence]), widths[sequence], classes[sequence], level)


# -- arithmetic ------------------------------------------------------------------------------------------------


def _zigzag(r: I64) -> U64:
    sign = r >> 63
    r <<= 1
    r ^= sign
    return r.view(np.uint64)


def _unzigzag(z: U64) -> I64:
    sign = (z & np.uint64(1)).view(np.int64)
    z >>= np.uint64(1)
    r = z.view(np.int64)
    r ^= np.negative(sign, out=sign)
    return r


def _sum_rows(r: I64, starts: I64, counts: I64) -> None:
    """Replace each row by its running sum, modulo 2^64."""
    np.cumsum(r, out=r)
    before = np.zeros_like(starts)
    before[1:] = r[starts[1:] - 1]
    r -= np.repeat(before, counts)
