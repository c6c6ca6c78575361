"""A WriteRequest cut into its series without looking at one byte after the other.

A request is a list of fields `0a <varint: length> <series>`.  Where a series ends is known only from where it begins, but a
guess of all beginnings can be checked at once: the first is at 0, behind each comes the next, and behind the last the end.
The guess: the tag 0a, seven bytes behind the tag of a timestamp of six bytes, with which nearly every series ends.
Where the guess fails the walk goes on by single steps; what is no list of series, or damaged, is left to the protobuf library.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..errors import WireError
from ..model.block_hash import Blocks
from ..model.label_block import read_varint
from .field_heads import read_heads

_SERIES_TAG: Final = 0x0A
_TIME_TAG: Final = 0x10
_TIME_BYTES: Final = 7
"""Bytes of a timestamp of this era with its tag."""
_STEPS_MAX: Final = 64
"""Single steps that a request may need, for each 8 steps that are guessed one more."""
_PART_BYTES: Final = 120 << 10
"""Bytes that are compared in one step, so that what is compared stays in the processor's cache."""
_HEAD_BYTES_MAX: Final = 11
"""Bytes of a tag and the longest varint."""

I64 = NDArray[np.int64]


def split(data: NDArray[np.uint8], size: int) -> Blocks | None:
    """Return the series of the request in the first `size` bytes of `data`, which go on behind it (`PADDING_BYTES`).

    None: it is something else, or too much of it was not as guessed.
    """
    if not size or data[0] != _SERIES_TAG:
        return None
    begins = _guess(data, size)
    content, ends = read_heads(data, begins)
    follows = np.append(begins[1:], size) == ends
    if follows.all():
        return Blocks(data, content, ends - content)
    return _walk(data, size, begins, content, ends, np.flatnonzero(~follows))


def _guess(data: NDArray[np.uint8], size: int) -> I64:
    """Return positions where a series may begin, 0 first."""
    places = []
    for at in range(_TIME_BYTES, size, _PART_BYTES):
        end = min(at + _PART_BYTES, size)
        found = data[at:end] == _SERIES_TAG
        found &= data[at - _TIME_BYTES : end - _TIME_BYTES] == _TIME_TAG
        places.append(found.nonzero()[0] + at)
    begins = np.concatenate([np.zeros(1, np.int64), *places])
    # The length of a sample looks like the tag of its time, but then no varint goes on behind it.
    likely = data[np.maximum(begins - _TIME_BYTES + 1, 0)] >= 0x80
    likely[0] = True
    return begins if likely.all() else begins[likely]


def _walk(data: NDArray[np.uint8], size: int, begins: I64, content: I64, ends: I64, breaks: I64) -> Blocks | None:
    """Return the series where some beginnings were missed, or guessed where there are none."""
    parts: list[tuple[I64, I64]] = []
    steps = _STEPS_MAX + len(begins) // 8
    at = i = 0
    while at < size:
        if i < len(begins) and begins[i] == at and ends[i] >= 0:
            k = int(np.searchsorted(breaks, i))
            last = int(breaks[k]) if k < len(breaks) else len(begins) - 1
            # All before the break are right, and so is the one at the break where its length could be read.
            stop = last + (ends[last] >= 0)
            part = content[i:stop], ends[i:stop]
        else:
            if data[at] != _SERIES_TAG:
                return None
            try:
                length, start = read_varint(data[at + 1 : at + _HEAD_BYTES_MAX].tobytes(), 0)
            except WireError:
                return None
            part = np.array([at + 1 + start]), np.array([at + 1 + start + length])
        parts.append(part)
        at = int(part[1][-1])
        steps -= 1
        if steps < 0 or at > size:
            return None
        i = int(np.searchsorted(begins, at))
    starts, stops = (np.concatenate(x) for x in zip(*parts, strict=True))
    return Blocks(data, starts, stops - starts)
