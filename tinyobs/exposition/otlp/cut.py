"""The data of many metrics cut into data points at once.

A point is a field `0a <varint: length> <point>`.  Where it ends is known only from where it begins, but a guess of all
beginnings can be checked at once: the first of a metric is known, behind each comes the next, and behind the last the end of
the metric.  The guess: what begins with the same tag as the first point of some metric, or with the other kind of value, has
the same tag behind it where the first one is of a number, and stands behind a tag 0a and a length.  Metrics for which it
fails are stepped through.
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
_PART_BYTES: Final = 64 << 10
"""Bytes that are compared in one step, so that what is compared stays in the processor's cache."""
_BYTES_PER_GUESS: Final = 16
"""With more guesses than one for so many bytes the body is nothing usual, and all is stepped through."""
_STEP_BYTES_MAX: Final = 16 << 10
"""Bodies up to this size are stepped through as quickly."""
_SECONDS_MAX: Final = 4
"""Tags of second fields which are looked at."""
_WORD_TYPE: Final = 1
"""The wire type of a number of eight bytes."""
_WORD_FIELD: Final = 9
"""Bytes of such a field."""
_MORE: Final = 0x80
"""The bit of the bytes of a length but the last."""

I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]
Firsts = dict[int, list[int]]


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


def cut(data: U8, size: int, begins: I64, ends: I64, points_max: int, firsts: Firsts | None = None) -> Pieces | None:
    """Return the points that stand from each of `begins` on, without a gap; None: something is damaged, or too much.

    data: a body of some size, and `PADDING_BYTES`.  ends: where the data of each metric ends.  firsts: what `firsts_of` said
    of a body like this one.
    """
    guess = None
    if size > _STEP_BYTES_MAX and len(begins):
        guess = _guesses(data, begins, ends, firsts_of(data, begins[begins < ends]) if firsts is None else firsts)
    if guess is None or not len(guess[0]):
        none = np.zeros(0, np.int64)
        return _stepped(data, begins, ends, points_max, none, none, np.zeros(len(begins), np.int64), begins.copy())
    heads, content, stops = guess
    # Mostly all guesses are right, and each metric has some.
    is_last = np.ones(len(heads), np.bool_)
    np.not_equal(stops[:-1], heads[1:], out=is_last[:-1])
    last = is_last.nonzero()[0]
    if len(last) == len(begins):
        counts = last + 1
        counts[1:] -= counts[:-1].copy()
        behind = stops[last]
        if ((heads[last + 1 - counts] == begins) & (behind > begins) & (behind <= ends)).all():
            return _stepped(data, begins, ends, points_max, content, stops, counts, behind)
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


def _guesses(data: U8, begins: I64, ends: I64, firsts: Firsts) -> tuple[I64, I64, I64] | None:
    """Return (where points of metrics may begin, their content, their ends), None where they are too many."""
    if not firsts:
        return None
    start, stop = int(begins[0]), int(ends[-1])
    content = [_contents(data, start, stop, tag, seconds) for tag, seconds in firsts.items()]
    heads = _heads(data, content[0] if len(content) == 1 else np.sort(np.concatenate(content)))
    if len(heads) * _BYTES_PER_GUESS > stop - start:
        return None
    return heads, *read_heads(data, heads)


def firsts_of(data: U8, begins: I64) -> Firsts:
    """Return the tags that the first points of metrics begin with, and which ones may stand behind each, [] where that is not known."""
    content = read_heads(data, begins[data[begins] == _TAG])[0]
    tags, seconds = data[content], data[content + _WORD_FIELD]
    tags = np.where(tags & _VALUE_MASK == _VALUE, np.uint8(_VALUE), tags)
    counts = np.bincount(tags, minlength=256)
    found = counts.nonzero()[0]
    if len(found) > _FIRSTS_MAX:
        found = (-counts).argsort(kind="stable")[:_FIRSTS_MAX]
    if len(found) == 1:
        return {int(found[0]): _seconds(int(found[0]), seconds)}
    return {tag: _seconds(tag, seconds[tags == tag]) for tag in found.tolist()}


def _seconds(tag: int, behind: U8) -> list[int]:
    """Return the tags among bytes that stand where the first field ends, if its tag is that of a number."""
    if tag & 7 != _WORD_TYPE:
        return []
    found: list[int] = np.bincount(behind).nonzero()[0].tolist()
    return found if len(found) <= _SECONDS_MAX else []


def _contents(data: U8, start: int, stop: int, tag: int, seconds: list[int]) -> I64:
    """Return where between two places a tag is, and behind its eight bytes one of others if there are any."""
    room = min(_PART_BYTES, stop - start)
    masked, found, more = np.empty(room, np.uint8), np.empty(room, np.bool_), np.empty(room, np.bool_)
    places = []
    for at in range(start, stop, _PART_BYTES):
        n = min(_PART_BYTES, stop - at)
        part, its, others = data[at : at + n], found[:n], more[:n]
        np.equal(np.bitwise_and(part, _VALUE_MASK, out=masked[:n]) if tag == _VALUE else part, tag, out=its)
        if seconds:
            behind = data[at + _WORD_FIELD : at + n + _WORD_FIELD]
            np.equal(behind, seconds[0], out=others)
            for other in seconds[1:]:
                others |= behind == other
            its &= others
        places.append(its.nonzero()[0] + at)
    return places[0] if len(places) == 1 else np.concatenate(places)


def _heads(data: U8, content: I64) -> I64:
    """Return where points begin, tag and length, whose content begins at places; their length has one byte, two, or four
    where it was written last.  What has no such beginning is left out.
    """
    last, before = data[content - 1], data[content - 2]
    ends = last < _MORE
    one = ends & (before == _TAG)
    if one.all():
        return content - 2
    ends &= before >= _MORE
    third = data[content - 3]
    two = ends & (third == _TAG)
    size = np.where(one, 2, 3 * two)
    four = (ends > two).nonzero()[0]
    if len(four):
        at = content[four]
        four = four[(third[four] >= _MORE) & (data[at - 4] >= _MORE) & (data[at - 5] == _TAG)]
        size[four] = 5
    found = size.nonzero()[0]
    heads: I64 = content[found] - size[found]
    if len(four):
        heads.sort()
    return heads


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
