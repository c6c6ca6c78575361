"""Where the fields of protobuf messages begin and end, for many at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

I64 = NDArray[np.int64]


def read_heads(data: NDArray[np.uint8], begins: I64) -> tuple[I64, I64]:
    """Return (where the content begins, where it ends) of fields with a tag of one byte, whose length has up to four.

    Where the length is longer, both are -1.
    """
    length = data.take(begins + 1, mode="clip").astype(np.int64)
    content = begins + 2
    long = (length >= 0x80).nonzero()[0]
    if not len(long):
        return content, content + length
    one = length if len(long) == len(length) else length[long]
    at = content if len(long) == len(length) else content[long]
    two = data.take(at, mode="clip").astype(np.int64)
    number, behind = one & 0x7F | (two & 0x7F) << 7, at + 1
    if (longer := two >= 0x80).any():
        three = data.take(behind, mode="clip").astype(np.int64)
        number = np.where(longer, number | (three & 0x7F) << 14, number)
        behind = behind + longer
        if (longest := longer & (three >= 0x80)).any():
            four = data.take(behind, mode="clip").astype(np.int64)
            number = np.where(longest, number | four << 21, number)
            behind = behind + longest
            too_long = longest & (four >= 0x80)
            behind[too_long], number[too_long] = -1, 0
    content[long] = behind
    length[long] = number
    return content, content + length
