"""The three kinds of block in the index of a segment, as bytes: label values, posting lists, labels of series.

Pure: lists and arrays in, bytes out, and back.  Pairs (name, value) are numbered by rank: sorted by name, then value.
Posting lists and series are integer rows (`codec/integers.py`), values one zstd frame.  Checksums and lengths stand in
the tables of the segment.  Format: `docs/format/segment.md`, "Index".
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ..codec.compression import compress, decompress
from ..codec.integers import IntegerRows, decode_rows, encode_rows
from ..codec.shuffle import shuffle, unshuffle
from ..model.ragged import offsets_of, spread
from .segment_format import POSTINGS_PER_BLOCK

I64 = NDArray[np.int64]
U32 = NDArray[np.uint32]


def encode_strings(strings: list[str], level: int) -> tuple[bytes, int]:
    """Return (block, bytes before compression)."""
    encoded = [s.encode("utf-8", "surrogatepass") for s in strings]
    raw = shuffle(np.array([len(e) for e in encoded], "<u4")) + b"".join(encoded)
    return compress(raw, level), len(raw)


def decode_strings(data: memoryview, size: int, count: int) -> list[str]:
    """Return the `count` strings of a block of `size` bytes before compression; `ValueError` on damage."""
    if size < 4 * count:
        raise ValueError("strings cut short")
    raw = decompress(data, size)
    lengths = unshuffle(np.frombuffer(raw, np.uint8, 4 * count), "<u4").astype(np.int64)
    ends = (offsets_of(lengths) + 4 * count).tolist()
    if ends[-1] != size:
        raise ValueError("strings of another length")
    return [raw[a:b].decode("utf-8", "surrogatepass") for a, b in pairwise(ends)]


def cut_postings(offsets: I64) -> Iterator[tuple[int, int]]:
    """Yield the blocks of posting lists as (first rank, last rank + 1)."""
    at, ranks = 0, len(offsets) - 1
    while at < ranks:
        end = int(np.searchsorted(offsets, offsets[at] + POSTINGS_PER_BLOCK, side="right")) - 1
        end = min(max(end, at + 1), ranks)
        yield at, end
        at = end


def encode_postings(offsets: I64, flat: U32, level: int) -> bytes:
    """Return a block of posting lists; offsets: int64[n+1] from 0."""
    return encode_rows(flat.astype(np.int64), offsets, level)


def decode_postings(data: memoryview) -> IntegerRows:
    """Return the posting lists of a block, one row each; `ValueError` on damage."""
    return _whole(data)


def encode_series(offsets: I64, ranks: U32, level: int) -> bytes:
    """Return a block of series, given by the ranks of their pairs in label order; offsets: int64[n+1] from 0.

    Row 0 holds the number of labels of each series, row 1 + j the j-th rank of every series that has more than j.
    Neighbouring series differ little, so that such a row rises slowly.
    """
    counts = np.diff(offsets)
    positions = spread(np.zeros(len(counts), np.int64), counts)
    by_position = np.argsort(positions, kind="stable")
    row_counts = np.concatenate([[len(counts)], np.bincount(positions)])
    return encode_rows(np.concatenate([counts, ranks[by_position].astype(np.int64)]), offsets_of(row_counts), level)


def decode_series(data: memoryview) -> tuple[I64, I64]:
    """Return (offsets int64[n+1], ranks int64[m]) of a block of series; `ValueError` on damage."""
    rows = _whole(data)
    flat, row_offsets = rows.decode()
    if not len(rows.counts):
        raise ValueError("block without series")
    counts, by_rank = flat[: row_offsets[1]], flat[row_offsets[1] :]
    if len(counts) and (int(counts.min()) < 0 or int(counts.max()) > len(by_rank) or counts.sum() != len(by_rank)):
        raise ValueError("series and labels differ in number")
    positions = spread(np.zeros(len(counts), np.int64), counts)
    ranks = np.empty_like(by_rank)
    ranks[np.argsort(positions, kind="stable")] = by_rank
    return offsets_of(counts), ranks


def _whole(data: memoryview) -> IntegerRows:
    rows, used = decode_rows(data)
    if used != len(data):
        raise ValueError("bytes left over")
    return rows
