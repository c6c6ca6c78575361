"""Codes of different widths -> bytes, most significant bit first: what the chunk encoders are built on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]

_ALL = np.uint64(64)


def pack(codes: U64, widths: I64, firsts: I64) -> list[bytes]:
    """Return runs of codes as bytes, each run padded with zeros to whole bytes.

    codes: uint64[n], of which the lower `widths[i]` bits count.  widths: int64[n], 0 to 64.  firsts: int64[k], the first
    code of each run, ascending from 0; no run is empty.
    """
    ends = np.cumsum(widths)
    before = ends - widths
    lengths = np.diff(np.append(before[firsts], ends[-1]))
    words = (lengths + 63) >> 6
    word_firsts = np.cumsum(words) - words
    runs = np.repeat(np.arange(len(firsts)), np.diff(np.append(firsts, len(codes))))
    at = before - before[firsts][runs] + (word_firsts[runs] << 6)
    shifts = (at & 63).astype(np.uint64)
    unused = _ALL - widths.astype(np.uint64)
    left = np.where(widths > 0, codes << np.minimum(unused, np.uint64(63)), np.uint64(0))
    spilled = np.where(shifts > 0, left << (np.maximum(_ALL - shifts, np.uint64(1)) & np.uint64(63)), np.uint64(0))
    out = np.zeros(int(words.sum()) + 2, np.uint64)
    _merge(out, at >> 6, left >> shifts)
    _merge(out, (at >> 6) + 1, spilled)
    data = out.astype(">u8").tobytes()
    starts = (word_firsts * 8).tolist()
    return [data[a : a + size] for a, size in zip(starts, ((lengths + 7) >> 3).tolist(), strict=True)]


def bit_lengths(values: U64) -> I64:
    """Return how many bits each value takes, 0 for zero."""
    high, low = (values >> np.uint64(32)).astype(np.float64), (values & np.uint64(0xFFFF_FFFF)).astype(np.float64)
    found: I64 = np.where(high > 0, np.frexp(high)[1] + 32, np.frexp(low)[1]).astype(np.int64)
    return found


def _merge(out: U64, places: I64, parts: U64) -> None:
    """Put parts into words at ascending places; those of one word have no bit in common."""
    groups = np.flatnonzero(np.diff(places, prepend=places[0] - 1))
    out[places[groups]] |= np.bitwise_or.reduceat(parts, groups)
