"""The series of a large request of remote write 2.0 in pieces, each of which is decoded with the symbols of the whole request.

A piece is a part of the list of series, which stay where they are; only one that is too long by itself is cut, between its samples,
as the message that it is.  The pieces have the order of the request.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from attrs import frozen

from ..model.block_hash import PADDING_BYTES, Blocks
from .message_pieces import Level, cut_message
from .remote_write_pieces import ODD_SHARE, USUAL_SERIES_BYTES

_SERIES: Final = Level({0x12: None, 0x1A: None, 0x22: None})
_HEAD_BYTES: Final = 4
"""Of a series: more than most have, so that series of no bytes count as well."""


@frozen(eq=False)
class SeriesPiece:
    """Some series of a request.

    first: the number of the first one in the request.  is_whole: whether they are all of them.  is_cut: whether they are a part
    of one series, copied out of the request.
    """

    series: Blocks
    first: int = 0
    is_whole: bool = True
    is_cut: bool = False

    def offset_of(self, i: int) -> int:
        """Return where a series stands in the request, -1 if that is not known."""
        return -1 if self.is_cut else int(self.series.starts[i])


def series_pieces(whole: SeriesPiece, bytes_max: int) -> Iterator[SeriesPiece]:
    """Yield all series in pieces of about `bytes_max` bytes at most; raises as `cut_message` does."""
    series = whole.series
    ends = np.cumsum(series.lengths + _HEAD_BYTES)
    size = int(ends[-1]) if len(ends) else 0
    if size <= bytes_max:
        yield whole
        return
    if size > USUAL_SERIES_BYTES * len(series):
        bytes_max //= ODD_SHARE
    begin = done = 0
    while begin < len(series):
        end = int(ends.searchsorted(done + bytes_max, side="right"))
        if end > begin:
            yield SeriesPiece(series.slice(begin, end), begin, is_whole=False)
        else:
            end = begin + 1
            for message in cut_message(series.one(begin), _SERIES, bytes_max):
                data = np.frombuffer(message + bytes(PADDING_BYTES), np.uint8)
                alone = Blocks(data, np.zeros(1, np.int64), np.array([len(message)]))
                yield SeriesPiece(alone, begin, is_whole=False, is_cut=True)
        begin, done = end, int(ends[end - 1])
