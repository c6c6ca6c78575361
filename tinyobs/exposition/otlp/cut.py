"""The data of many metrics cut into data points at once.

A point is a field `0a <varint: length> <point>`.  Where it ends is known only from where it begins, but a guess of all
beginnings can be checked at once: the first of a metric is known, behind each comes the next, and behind the last the end of
the metric.  The guess: a tag 0a whose content begins with the same tag as that of the first point of some metric, or with
the other kind of value.  Metrics for which it fails are stepped through.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from ...errors import WireError
from ...model.label_block import read_varint
from ...model.ragged import spread
from ..field_heads import read_heads

_TAG: Final = 0x0A
_VALUE_MASK: Final = np.uint8(0xEF)
_VALUE: Final = 0x21
"""The tags of both kinds of values, under the mask."""
_FIRSTS_MAX: Final = 6
"""Tags that points begin with which are looked for, the most frequent ones."""
_PART_BYTES: Final = 192 << 10
"""Bytes that are compared in one step, so that what is compared stays in the processor's cache."""
_BYTES_PER_GUESS: Final = 16
"""With more guesses than one for so many bytes the body is nothing usual, and all is stepped through."""
_STEP_BYTES_MAX: Final = 16 << 10
"""Bodies up to this size are stepped through as quickly."""
_HEAD_BYTES: Final = 5
"""Of a tag and the longest length."""

I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]


@frozen(eq=False)
class Pieces:
    """Points of metrics, in the order of the body.

    starts, ends: int64[p], of their content.  counts: int64[m], how many each metric has.  stops: int64[m], where the last
    one ends, or the first would begin.
    """

    starts: I64
    ends: I64
    counts: I64
    stops: I64


def cut(data: U8, size: int, begins: I64, ends: I64, points_max: int) -> Pieces | None:
    """Return the points that stand from each of `begins` on, without a gap; None: something is damaged, or too much.

    data: a body of some size, and `PADDING_BYTES`.  ends: where the data of each metric ends.
    """
    guess = _guesses(data, begins, ends) if size > _STEP_BYTES_MAX and len(begins) else None
    if guess is None or not len(guess[0]):
        none = np.zeros(0, np.int64)
        return _stepped(data, begins, ends, points_max, none, none, np.zeros(len(begins), np.int64), begins.copy())
    heads, content, stops = guess
    # Mostly all guesses are right, and each metric has some.
    last = np.append((stops[:-1] != heads[1:]).nonzero()[0], len(heads) - 1)
    if len(last) == len(begins):
        counts = np.diff(last, prepend=-1)
        if ((heads[last - counts + 1] == begins) & (stops[last] > begins) & (stops[last] <= ends)).all():
            return _stepped(data, begins, ends, points_max, content, stops, counts, stops[last])
    # Only what begins where a metric's points do, or where another guess ends, may be a point.
    behind, first = (np.minimum(heads.searchsorted(places), len(heads) - 1) for places in (stops, begins))
    may_begin = np.zeros(len(heads), np.bool_)
    may_begin[behind[heads[behind] == stops]] = True
    may_begin[first] = True
    stays = may_begin.nonzero()[0]
    heads, content, stops = heads[stays], content[stays], stops[stays]
    breaks = np.append((stops[:-1] != heads[1:]).nonzero()[0], len(heads) - 1)
    first = np.minimum(heads.searchsorted(begins), len(heads) - 1)
    last = np.minimum(breaks[breaks.searchsorted(first)], np.maximum(heads.searchsorted(ends) - 1, 0))
    fits = (heads[first] == begins) & (last >= first) & (stops[last] <= ends) & (stops[last] > begins)
    counts = np.where(fits, last - first + 1, 0)
    chosen = spread(first[fits], counts[fits])
    return _stepped(
        data, begins, ends, points_max, content[chosen], stops[chosen], counts, np.where(fits, stops[last], begins)
    )


def _guesses(data: U8, begins: I64, ends: I64) -> tuple[I64, I64, I64] | None:
    """Return (where points of metrics may begin, their content, their ends), None where they are too many."""
    firsts = _firsts(data, begins[begins < ends])
    if not firsts:
        return None
    start, stop = int(begins[0]), int(ends[-1])
    places, room = [], min(_PART_BYTES, stop - start) + _HEAD_BYTES
    is_first, likely = np.empty(room, np.bool_), np.empty(room, np.bool_)
    for at in range(start, stop, _PART_BYTES):
        n = min(_PART_BYTES, stop - at)
        part = data[at : at + n + _HEAD_BYTES]
        first, found = is_first[: len(part)], likely[:n]
        _equal(part, firsts[0], first)
        for tag in firsts[1:]:
            first |= _equal(part, tag, likely[: len(part)])
        # The length has one byte, two, or four where it was written last.
        np.logical_or(first[2 : 2 + n], first[3 : 3 + n], out=found)
        found |= first[5 : 5 + n]
        found &= np.equal(part[:n], _TAG, out=first[:n])
        places.append(found.nonzero()[0] + at)
    heads = np.concatenate(places)
    if len(heads) * _BYTES_PER_GUESS > stop - start:
        return None
    return heads, *read_heads(data, heads)


def _firsts(data: U8, begins: I64) -> list[int]:
    """Return the tags that the first points of metrics begin with."""
    heads = begins[data[begins] == _TAG]
    counts = np.bincount(data[read_heads(data, heads)[0]], minlength=256)
    tags = (-counts).argsort(kind="stable")[: min(np.count_nonzero(counts), _FIRSTS_MAX)].tolist()
    return list(dict.fromkeys(_VALUE if tag & int(_VALUE_MASK) == _VALUE else tag for tag in tags))


def _equal(part: U8, tag: int, out: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tell where a tag is, or that of either kind of value."""
    return np.equal(part & _VALUE_MASK if tag == _VALUE else part, tag, out=out)


def _stepped(
    data: U8, begins: I64, ends: I64, points_max: int, starts: I64, stops: I64, counts: I64, behind: I64
) -> Pieces | None:
    """Return all points where some were cut already, and others are left."""
    left = ((behind < ends) & (data[behind] == _TAG)).nonzero()[0]
    if int(counts.sum()) > points_max:
        return None
    if not len(left):
        return Pieces(starts, stops, counts, behind)
    more = _Steps(points_max - int(counts.sum()))
    body = data.tobytes()
    for i in left.tolist():
        found = more.take(body, int(behind[i]), int(ends[i]))
        if found is None:
            return None
        counts[i] += found[0]
        behind[i] = found[1]
    all_starts = np.concatenate([starts, np.array(more.starts, np.int64)])
    order = np.argsort(all_starts, kind="stable")
    return Pieces(all_starts[order], np.concatenate([stops, np.array(more.ends, np.int64)])[order], counts, behind)


class _Steps:
    """Points found one by one, up to a number of them."""

    def __init__(self, points_max: int) -> None:
        self.points_max = points_max
        self.starts: list[int] = []
        self.ends: list[int] = []

    def take(self, body: bytes, at: int, end: int) -> tuple[int, int] | None:
        """Take the points that stand at a place; return their number and where they end, None where they are damaged."""
        add_start, add_end = self.starts.append, self.ends.append
        before = len(self.starts)
        end_max = len(body)
        while at < end and body[at] == _TAG:
            size, at = body[at + 1], at + 2
            if size >= 0x80:
                high = body[at]
                if high < 0x80:
                    size, at = size & 0x7F | high << 7, at + 1
                else:
                    try:
                        size, at = read_varint(body, at - 1)
                    except WireError:
                        return None
            add_start(at)
            at += size
            add_end(at)
            if at > end_max or len(self.starts) > self.points_max:
                return None
        return (len(self.starts) - before, at) if at <= end else None
