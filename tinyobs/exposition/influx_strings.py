"""Strings among the fields of the Influx line protocol, hidden from the bulk way for a whole body at once.

Values that are strings are not stored, but they may hold all that parts lines and fields.  A string that begins and ends in its
line and holds no escaped quote is overwritten with quotes, so that it becomes a word like any other.  All other lines with
quotes are to be read with care: in tags, where a quote is an ordinary character, and in strings with line breaks.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..model.ragged import spread

U8 = NDArray[np.uint8]
I64 = NDArray[np.int64]

QUOTE: Final = ord('"')

_LF, _SPACE, _EQUALS, _BACKSLASH = b"\n =\\"
_ENDS: Final = np.zeros(256, np.bool_)
_ENDS[np.frombuffer(b", \r\n", np.uint8)] = True
"""Bytes that may follow a string."""


def hide_strings(data: U8, body: bytes, head: int, begin: int, end: int) -> I64:
    """Overwrite what is easy to tell for a string in `body[begin:end]`, which are whole lines.

    data: has the body from `head` on, and a line break behind it.  Returns (first byte in the body, number) of the lines
    that are left, as int64[n, 2]; the first line has number 0.
    """
    part = data[head + begin : head + end]
    quotes = np.flatnonzero(part == QUOTE)
    if not len(quotes):
        return np.empty((0, 2), np.int64)
    quotes += begin
    breaks = np.flatnonzero(part == _LF) + begin
    lines = np.searchsorted(breaks, quotes)
    firsts = np.flatnonzero(np.diff(lines, prepend=-1))
    counts = np.diff(firsts, append=len(quotes))
    numbers = lines[firsts]
    starts = np.full(len(numbers), begin)
    starts[numbers > 0] = breaks[numbers[numbers > 0] - 1] + 1
    opens = (np.arange(len(quotes)) - np.repeat(firsts, counts)) & 1 == 0
    places = quotes + head
    fine = (data[places - 1] == _EQUALS) & (data[places - 2] != _BACKSLASH)
    fine = np.where(opens, fine, (data[places - 1] != _BACKSLASH) & _ENDS[data[places + 1]])
    good = np.logical_and.reduceat(fine, firsts) & (counts & 1 == 0)
    for i in np.flatnonzero(good).tolist():
        space = body.find(b" ", int(starts[i]), int(quotes[firsts[i]]))
        good[i] = space > 0 and body[space - 1] != _BACKSLASH  # else the string may be in a tag
    chosen = np.repeat(good, counts)
    first, last = places[chosen & opens], places[chosen & ~opens]
    data[spread(first, last - first)] = QUOTE
    left: I64 = np.column_stack((starts, numbers))[~good]
    return left
