"""A large write request in pieces, each of which is decoded as a request of its own.

Where the series are found at once (`remote_write_split.py`) a piece is a part of the buffer.  Any other request is cut as the
message that it is, series with many samples between those.  The pieces hold no more than the request and have its order.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..model.block_hash import PADDING_BYTES
from .message_pieces import Check, Level, cut_message
from .remote_write_split import split

ODD_SHARE: Final = 4
"""Pieces of requests that do not look as usual are smaller by this: they are read series by series, or sample by sample."""
USUAL_SERIES_BYTES: Final = 1 << 10
"""Longer ones, on the average, hold more than a sample each."""

_SERIES: Final = Level({0x12: None, 0x1A: None, 0x22: None})
_REQUEST: Final = Level({0x0A: _SERIES, 0x1A: None})

Piece = tuple[NDArray[np.uint8], int, int]
"""(buffer with `PADDING_BYTES` behind what is used, bytes used, offset in the request or -1)"""


def request_pieces(data: NDArray[np.uint8], size: int, bytes_max: int, check: Check = lambda: None) -> Iterator[Piece]:
    """Yield the request in the first `size` bytes of `data` in pieces of about `bytes_max` bytes at most.

    Calls `check`, and raises, as `cut_message` does.
    """
    if size <= bytes_max:
        yield data, size, 0
        return
    series = split(data, size)
    if series is not None and size <= USUAL_SERIES_BYTES * len(series.starts):
        ends = series.starts + series.lengths
        longest = int(series.lengths.max())
        del series
        if longest <= bytes_max:
            yield from _parts(data, ends, size, bytes_max)
            return
    for message in cut_message(data.data[:size], _REQUEST, bytes_max // ODD_SHARE, check):
        yield np.frombuffer(message + bytes(PADDING_BYTES), np.uint8), len(message), -1


def _parts(data: NDArray[np.uint8], ends: NDArray[np.int64], size: int, bytes_max: int) -> Iterator[Piece]:
    begin = 0
    while begin < size:
        last = max(int(np.searchsorted(ends, begin + bytes_max, side="right")) - 1, 0)
        end = int(ends[last])
        if end <= begin:
            end = int(ends[last + 1])
        yield data[begin : end + PADDING_BYTES], end - begin, begin
        begin = end
