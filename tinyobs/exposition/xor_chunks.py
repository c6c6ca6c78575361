"""Float samples -> XOR chunks as Prometheus stores and streams them.

A chunk is the number of samples in two bytes, the first time as a signed varint and value as it is, then times as
differences of differences and values as what is left of the exclusive or with the value before.  Many chunks are encoded
at once: what depends on the sample before only (the window of significant bits) goes step by step over all chunks.
Source: prometheus tsdb/chunkenc/xor.go.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..model.registry import varint
from .bits import bit_lengths, pack

U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]
F64 = NDArray[np.float64]

CHUNK_SAMPLES: Final = 120
"""Samples in a full chunk, as in Prometheus."""
LEADING_MAX: Final = 31
"""Leading zeros that can be told; it takes five bits."""
_NO_WINDOW: Final = 255
_TIME_CODES: Final = ((14, 0b10, 2), (17, 0b110, 3), (20, 0b1110, 4))
"""(bits, prefix, bits of the prefix) of a difference of differences; what fits none is 0b1111 and 64 bits."""


def encode(times: I64, values: F64, firsts: I64) -> list[bytes]:
    """Return the chunks of samples.  firsts: the first sample of each chunk, ascending from 0; none is empty.

    Times ascend within a chunk; a chunk has at most 65535 samples.
    """
    counts = np.diff(np.append(firsts, len(times)))
    codes, widths = np.zeros((len(times), 4), np.uint64), np.zeros((len(times), 4), np.int64)
    _write_times(times, firsts, counts, codes, widths)
    _write_values(np.ascontiguousarray(values).view(np.uint64), firsts, counts, codes, widths)
    bodies = pack(*_joined(codes, widths, firsts))
    return [n.to_bytes(2, "big") + body for n, body in zip(counts.tolist(), bodies, strict=True)]


def _joined(codes: U64, widths: I64, firsts: I64) -> tuple[U64, I64, I64]:
    """Return the codes in one row, the second of a pair behind the first where both fit into 64 bits, none of no width."""
    for first, second in ((0, 1), (2, 3)):
        both = (widths[:, second] > 0) & (widths[:, first] + widths[:, second] <= 64) & (widths[:, first] > 0)
        shift = widths[both, second].astype(np.uint64)
        masked = codes[both, second] & ((np.uint64(1) << shift) - np.uint64(1))
        codes[both, second] = codes[both, first] << shift | masked
        widths[both, second] += widths[both, first]
        widths[both, first] = 0
    flat = widths.ravel()
    kept = flat > 0
    places: I64 = np.cumsum(kept) - kept
    return codes.ravel()[kept], flat[kept], places[firsts * 4]


def _write_times(times: I64, firsts: I64, counts: I64, codes: U64, widths: I64) -> None:
    """Fill the first two codes of each sample."""
    deltas = np.diff(times, prepend=times[0])
    again = np.diff(deltas, prepend=0)
    codes[:, 0], widths[:, 0] = 0, 1  # no difference
    left = again != 0
    for bits, prefix, size in _TIME_CODES:
        fits = left & (again >= -(1 << (bits - 1)) + 1) & (again <= 1 << (bits - 1))
        codes[fits, 0], widths[fits, 0] = prefix, size
        codes[fits, 1], widths[fits, 1] = again[fits].view(np.uint64), bits
        left &= ~fits
    codes[left, 0], widths[left, 0] = 0b1111, 4
    codes[left, 1], widths[left, 1] = again[left].view(np.uint64), 64
    seconds = firsts[counts > 1] + 1
    first_times, second_deltas = times[firsts].tolist(), deltas[seconds].tolist()
    _write_varints(firsts, [varint(-2 * t - 1 if t < 0 else 2 * t) for t in first_times], codes, widths)
    _write_varints(seconds, [varint(d) for d in second_deltas], codes, widths)


def _write_varints(at: I64, texts: list[bytes], codes: U64, widths: I64) -> None:
    """Replace the codes of times by varints, which take up to ten bytes."""
    sizes = np.fromiter(map(len, texts), np.int64, len(texts))
    tails = np.minimum(sizes, 8)
    codes[at, 0] = np.fromiter((int.from_bytes(t[:-8], "big") for t in texts), np.uint64, len(texts))
    codes[at, 1] = np.fromiter((int.from_bytes(t[-8:], "big") for t in texts), np.uint64, len(texts))
    widths[at, 0], widths[at, 1] = 8 * (sizes - tails), 8 * tails


def _write_values(bits: U64, firsts: I64, counts: I64, codes: U64, widths: I64) -> None:
    """Fill the last two codes of each sample."""
    xor = np.zeros(len(bits), np.uint64)
    xor[1:] = bits[1:] ^ bits[:-1]
    xor[firsts] = 0
    leading = np.minimum(64 - bit_lengths(xor), LEADING_MAX)
    trailing = bit_lengths(xor & (~xor + np.uint64(1))) - 1
    is_new = _choose_windows(xor != 0, leading, trailing, firsts, counts)
    significant = 64 - leading - trailing
    new, reused = is_new, (xor != 0) & ~is_new
    codes[:, 2], widths[:, 2] = 0, 1
    codes[reused, 2], widths[reused, 2] = 0b10, 2
    told = (leading << 6 | (significant & 63)).astype(np.uint64)
    codes[new, 2], widths[new, 2] = (told | np.uint64(0b11 << 11))[new], 13
    changed = xor != 0
    codes[changed, 3] = xor[changed] >> trailing[changed].astype(np.uint64)
    widths[changed, 3] = significant[changed]
    codes[firsts, 2], widths[firsts, 2] = bits[firsts], 64
    widths[firsts, 3] = 0


def _choose_windows(
    changed: NDArray[np.bool_], leading: I64, trailing: I64, firsts: I64, counts: I64
) -> NDArray[np.bool_]:
    """Return which samples tell a window of their own; the others get that of the last one that did, in place."""
    is_new = np.zeros(len(changed), np.bool_)
    window_leading, window_trailing = np.full(len(firsts), _NO_WINDOW), np.zeros(len(firsts), np.int64)
    for step in range(1, int(counts.max())):
        chunks = np.flatnonzero(counts > step)
        chunks = chunks[changed[firsts[chunks] + step]]
        at = firsts[chunks] + step
        fits = (leading[at] >= window_leading[chunks]) & (trailing[at] >= window_trailing[chunks])
        new = chunks[~fits]
        window_leading[new], window_trailing[new] = leading[at[~fits]], trailing[at[~fits]]
        is_new[at[~fits]] = True
        leading[at], trailing[at] = window_leading[chunks], window_trailing[chunks]
    return is_new
