"""Where the fields of protobuf messages begin and end, for many at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

I64 = NDArray[np.int64]


def read_heads(data: NDArray[np.uint8], begins: I64) -> tuple[I64, I64]:
    """Return (where the content begins, where it ends) of fields with a tag of one byte, whose length has up to four.

    Where the length is longer, both are -1.
    """
    length = data[1:].take(begins, mode="clip").astype(np.int64)
    content = begins + 2
    long = length >= 0x80
    if not long.any():
        return content, content + length
    two = data.take(content, mode="clip").astype(np.int64)
    number = np.where(long, length & 0x7F | (two & 0x7F) << 7, length)
    content += long
    if (longer := long & (two >= 0x80)).any():
        three = data.take(content, mode="clip").astype(np.int64)
        number = np.where(longer, number | (three & 0x7F) << 14, number)
        content += longer
        if (longest := longer & (three >= 0x80)).any():
            four = data.take(content, mode="clip").astype(np.int64)
            number = np.where(longest, number | four << 21, number)
            content += longest
            too_long = longest & (four >= 0x80)
            content[too_long], number[too_long] = -1, 0
    return content, content + number
