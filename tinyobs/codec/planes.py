"""Byte planes: unsigned integers stored as all their lowest bytes, then all their second bytes, and so on.

The integers come as rows ordered by width (the bytes that the largest integer of a row needs), so plane `j` covers
exactly the rows from the first with more than `j` bytes to the last.  Within a plane neighbouring like rows
share a *frame*: one constant byte, the bytes as they are, or zstd.  zstd's entropy coder is what makes
planes small; a frame of like rows lets it adapt.  Format: `docs/format/page.md`, "Planes".

Not here: what the integers mean and in which order the rows come (`integers.py`).
"""

from __future__ import annotations

import sys
from itertools import pairwise
from typing import Final

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from ..model.ragged import offsets_of, take_rows
from .compression import DENSE, FAST, compress, decompress
from .likeness import cut_frames

U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]

if sys.byteorder != "little":
    raise ImportError("the storage engine reads the bytes of integers in place and needs a little-endian machine")

WIDTH_MAX: Final = 8
FRAME_BYTES_MIN: Final = 2048
"""Below level `DENSE` a frame is closed at the next change of class once it has so many bytes; `likeness.py` cuts the others."""
FRAME_BYTES_MAX: Final = 1 << 18
"""Longest frame, in bytes before compression."""

_LIMITS: Final = np.array([1 << (8 * j) for j in range(WIDTH_MAX)], np.uint64)


def widths_of(largest: U64) -> NDArray[np.int64]:
    """Return the number of bytes (0..8) that each integer needs."""
    return np.searchsorted(_LIMITS, largest, side="right")


def plane_starts(widths: I64, offsets: I64) -> list[int]:
    """Return for each plane the position of its first integer; widths (per row) ascend, offsets delimit the rows."""
    deepest = int(widths[-1]) if len(widths) else 0
    firsts = np.searchsorted(widths, np.arange(deepest), side="right")
    return [int(offsets[i]) for i in firsts]


def encode_planes(integers: U64, offsets: I64, widths: I64, classes: I64, level: int) -> bytes:
    """Return the planes of rows; `classes` (per row) tells where a change allows a new frame."""
    changes = offsets[1:-1][(np.diff(classes) != 0) | (np.diff(widths) != 0)].tolist()
    columns = integers.view(np.uint8).reshape(-1, WIDTH_MAX)
    total = len(integers)
    table: list[int] = []
    frames: list[bytes] = []
    for j, start in enumerate(plane_starts(widths, offsets)):
        plane = np.ascontiguousarray(columns[start:, j])
        for a, b in _cut(start, total, changes) if level < DENSE else _cut_like(plane, start, changes):
            piece = plane[a - start : b - start]
            frame = _encode_frame(piece, level)
            table += (len(piece), len(frame))
            frames.append(frame)
    head = np.array([len(frames), *table], "<u4").tobytes()
    return head + b"".join(frames)


@frozen(eq=False)
class Planes:
    """Decompressed planes.  planes[j]: uint8[N - starts[j]]; nbytes: what they occupy in memory."""

    planes: list[NDArray[np.uint8]]
    starts: list[int]

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return sum(len(p) for p in self.planes)

    def all(self, total: int) -> U64:
        """Return all integers."""
        out = np.zeros(total, np.uint64)
        columns = out.view(np.uint8).reshape(-1, WIDTH_MAX)
        for j, (plane, start) in enumerate(zip(self.planes, self.starts, strict=True)):
            columns[start:, j] = plane
        return out

    def rows(self, chosen: I64, offsets: I64) -> U64:
        """Return the integers of ascending rows; offsets: those of all rows, none of which is empty."""
        ends = offsets_of(np.diff(offsets)[chosen])
        out = np.zeros(int(ends[-1]), np.uint64)
        columns = out.view(np.uint8).reshape(-1, WIDTH_MAX)
        for j, (plane, start) in enumerate(zip(self.planes, self.starts, strict=True)):
            row = int(np.searchsorted(offsets, start))
            first = int(np.searchsorted(chosen, row))
            columns[int(ends[first]) :, j] = take_rows(plane, offsets[row:] - start, chosen[first:] - row)
        return out

    def even_rows(self, chosen: I64, length: int) -> U64:
        """Return the integers of ascending rows, all rows being of one length."""
        out = np.zeros((len(chosen), length), np.uint64)
        columns = out.view(np.uint8).reshape(len(chosen), length, WIDTH_MAX)
        for j, (plane, start) in enumerate(zip(self.planes, self.starts, strict=True)):
            row = start // length
            first = int(np.searchsorted(chosen, row))
            columns[first:, :, j] = plane.reshape(-1, length)[chosen[first:] - row]
        return out.reshape(-1)


def decode_planes(data: memoryview, offsets: I64, widths: I64) -> tuple[Planes, int]:
    """Return the planes at the beginning of `data`, and how many bytes they took; `ValueError` on damage."""
    if len(data) < 4:
        raise ValueError("planes cut short")
    count = int.from_bytes(data[:4], "little")
    at = 4 + 8 * count
    if at > len(data):
        raise ValueError("table of frames cut short")
    table = np.frombuffer(data, "<u4", 2 * count, 4).tolist()
    total = int(offsets[-1])
    starts = plane_starts(widths, offsets)
    planes = []
    frame = 0
    for start in starts:
        pieces = []
        missing = total - start
        while missing:
            if frame == count:
                raise ValueError("fewer frames than planes need")
            raw, stored = table[2 * frame], table[2 * frame + 1]
            if not 0 < raw <= min(missing, FRAME_BYTES_MAX) or stored > len(data) - at:
                raise ValueError("frame longer than its plane or the page")
            pieces.append(_decode_frame(data[at : at + stored], raw))
            at += stored
            missing -= raw
            frame += 1
        planes.append(pieces[0] if len(pieces) == 1 else np.concatenate(pieces))
    if frame != count:
        raise ValueError("more frames than planes need")
    return Planes(planes, starts), at


def _cut(start: int, end: int, changes: list[int]) -> list[tuple[int, int]]:
    """Return the frames of a plane as (first, last + 1) integers."""
    out = []
    at = start
    for stop in [*changes, end]:
        if stop < end and stop - at < FRAME_BYTES_MIN:
            continue
        while at < stop:
            to = min(at + FRAME_BYTES_MAX, stop)
            out.append((at, to))
            at = to
    return out


def _cut_like(plane: NDArray[np.uint8], start: int, changes: list[int]) -> list[tuple[int, int]]:
    """Return what `_cut` does, chosen by the bytes of the plane."""
    limits = cut_frames(plane, [0, *[c - start for c in changes if c > start], len(plane)])
    return [
        (start + at, start + min(at + FRAME_BYTES_MAX, b))
        for a, b in pairwise(limits)
        for at in range(a, b, FRAME_BYTES_MAX)
    ]


def _encode_frame(piece: NDArray[np.uint8], level: int) -> bytes:
    """Return a frame: one byte when all are the same, else the shorter of zstd and the bytes themselves.

    Noise gains nothing from a higher level: only what the fast one makes smaller is tried again.
    """
    if not (piece != piece[0]).any():
        return piece[:1].tobytes()
    frame = compress(piece.data, FAST)
    if level > FAST and len(frame) < len(piece):
        frame = min(frame, compress(piece.data, level), key=len)
    return frame if len(frame) < len(piece) else piece.tobytes()


def _decode_frame(stored: memoryview, raw: int) -> NDArray[np.uint8]:
    if len(stored) == raw:
        return np.frombuffer(bytes(stored), np.uint8)  # a copy: pages outlive the mapped file
    if len(stored) == 1:
        return np.full(raw, stored[0], np.uint8)
    return np.frombuffer(decompress(stored, raw), np.uint8)
