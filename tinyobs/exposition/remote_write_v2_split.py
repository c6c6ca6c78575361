"""A Request of remote write 2.0 cut into its symbols and its series without looking at one byte after the other.

A request is a list of fields `22 <varint: length> <symbol>` and `2a <varint: length> <series>`.  Where a field ends is known
only from where it begins, but a guess of all beginnings can be checked at once.  Series may begin at every 2a whose content begins
with a tag 0a behind a length of up to two bytes, symbols at every 22; those that do begin there are the ones that are reached from
the first byte, where each ends where the next one begins.  Senders write all symbols first, or all last, so they are looked for there,
and only then everywhere.  Requests of any other kind are walked through field by field.
"""

from __future__ import annotations

from array import array
from typing import Final

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from ..errors import LimitExceeded, WireError
from ..model.block_hash import Blocks
from ..model.label_block import read_varint
from .field_heads import read_heads

FIELDS_MAX: Final = 1 << 20
"""Symbols and series that one request may have, unknown fields included: 32 bytes each in the longest one."""

_SYMBOL_TAG: Final = 0x22
_SERIES_TAG: Final = 0x2A
_REFS_TAG: Final = 0x0A
_PART_BYTES: Final = 240 << 10
"""Bytes that are compared in one step, so that what is compared stays in the processor's cache."""
_REFS_BEHIND_MAX: Final = 3
"""Bytes from the tag of a series to that of its references, if its length has up to two."""
_TAG_MIN: Final = 8
_BREAKS_MAX: Final = 64
"""Places from which the next one is not reached that are looked at one by one."""
_HEAD_BYTES_MAX: Final = 20
"""Bytes of a tag and a number behind it."""

I64 = NDArray[np.int64]


@frozen(eq=False)
class Parts:
    """The symbols of a request, and its series."""

    symbols: Blocks
    series: Blocks


def split(data: NDArray[np.uint8], size: int) -> Parts:
    """Return the parts of the request in the first `size` bytes of `data`, which go on behind it (`PADDING_BYTES`).

    Raises `WireError` where it is malformed, with the offset, and `LimitExceeded` where it has too many parts.
    """
    series = _likely(data, size)
    for symbols in (_outside, _everywhere):
        begins = symbols(data, series, size)
        if 0 < len(begins) <= FIELDS_MAX:
            followed = _follow(data, begins, size)
            if followed is not None:
                return _parts(data, *followed)
    return _parts(data, *_walk(data, size))


def _parts(data: NDArray[np.uint8], begins: I64, content: I64, ends: I64) -> Parts:
    both = Blocks(data, content, ends - content)
    is_series = data.take(begins) == _SERIES_TAG
    first = len(begins) - int(np.count_nonzero(is_series))
    if np.count_nonzero(is_series[first:]) == len(begins) - first:
        return Parts(both.slice(0, first), both.slice(first, len(begins)))
    return Parts(both.take((~is_series).nonzero()[0]), both.take(is_series.nonzero()[0]))


def _likely(data: NDArray[np.uint8], size: int) -> I64:
    """Return where series may begin."""
    places: list[I64] = []
    for at in range(0, size, _PART_BYTES):
        part = data[at : min(at + _PART_BYTES, size) + _REFS_BEHIND_MAX]
        refs = part == _REFS_TAG
        likely = refs[_REFS_BEHIND_MAX - 1 : -1] | refs[_REFS_BEHIND_MAX:]
        likely &= part[:-_REFS_BEHIND_MAX] == _SERIES_TAG
        found = likely.nonzero()[0]
        places.append(found + at if at else found)
    if len(places) == 1:
        return places[0]
    return np.concatenate([np.zeros(0, np.int64), *places])


def _outside(data: NDArray[np.uint8], series: I64, size: int) -> I64:
    """Return where fields may begin if series follow one another, and all symbols are either before or behind them."""
    first, last = (int(series[0]), int(series[-1])) if len(series) else (size, size)
    if first or not len(series):
        return np.concatenate(((data[:first] == _SYMBOL_TAG).nonzero()[0], series))
    end = max(int(read_heads(data, series[-1:])[1][0]), last)
    symbols = (data[end:size] == _SYMBOL_TAG).nonzero()[0]
    return np.concatenate((series, symbols + end)) if len(symbols) else series


def _everywhere(data: NDArray[np.uint8], series: I64, size: int) -> I64:
    """Return where fields may begin."""
    begins: I64 = np.concatenate(((data[:size] == _SYMBOL_TAG).nonzero()[0], series))
    begins.sort()
    return begins


def _follow(data: NDArray[np.uint8], begins: I64, size: int) -> tuple[I64, I64, I64] | None:
    """Return (begin, begin of the content, end) of the fields that follow one another from 0 to `size`, None if they do not.

    begins: where some may begin, ascending.  From most of them the next one is reached; others are looked at one by one, or taken
    out together before where they are many.
    """
    if begins[0]:
        return None
    content, ends = read_heads(data, begins)
    following = _following(begins, size)
    breaks = (ends != following).nonzero()[0]
    if len(breaks) > _BREAKS_MAX:
        stays = _likelier(begins, ends, size)
        if not stays[0]:
            return None
        begins, content, ends = begins[stays], content[stays], ends[stays]
        following = _following(begins, size)
        breaks = (ends != following).nonzero()[0]
    if not len(breaks):
        return begins, content, ends
    behind = ends[breaks]
    found = following.searchsorted(behind)
    is_found = following.take(found, mode="clip") == behind
    false: list[int] = []
    reached = 0
    for last, follow, goes_on in zip(breaks.tolist(), found.tolist(), is_found.tolist(), strict=True):
        if last >= reached:
            if not goes_on:
                return None
            false.extend(range(last + 1, follow + 1))
            reached = follow + 1
    stays = np.ones(len(begins), np.bool_)
    stays[false] = False
    return begins[stays], content[stays], ends[stays]


def _following(begins: I64, size: int) -> I64:
    """Return for each place the one behind it, `size` for the last."""
    following = np.empty_like(begins)
    following[:-1], following[-1] = begins[1:], size
    return following


def _likelier(begins: I64, ends: I64, size: int) -> NDArray[np.bool_]:
    """Tell which places fields may begin at that end where another may begin, and begin where another may end."""
    found = np.zeros(size + 1, np.bool_)
    found[begins] = found[size] = True
    stays = found.take(ends, mode="clip")
    found[:] = False
    found[np.minimum(ends, size)] = found[0] = True
    stays &= found.take(begins)
    return stays


def _walk(data: NDArray[np.uint8], size: int) -> tuple[I64, I64, I64]:
    """Return what `_follow` does, step by step; fields that are unknown are passed over."""
    raw = data[:size].tobytes()
    found = array("q")
    """Begin, begin of the content and end of each field."""
    at = steps = 0
    while at < size:
        begin = at
        steps += 1
        if steps > FIELDS_MAX:
            raise LimitExceeded("fields_max", f"the request has more than {FIELDS_MAX} symbols and series")
        try:
            tag, content = _number(raw, at)
            kind = tag & 7
            if tag < _TAG_MIN:
                raise WireError("no field has number 0", begin)
            if kind == 0:
                at = _number(raw, content)[1]
                continue
            if kind in (1, 5):
                at = content + (8 if kind == 1 else 4)
            elif kind == 2:
                length, content = _number(raw, content)
                at = content + length
            else:
                raise WireError("unknown kind of field", begin)
        except WireError as e:
            raise WireError(f"malformed write request: {e.reason}", begin) from None
        if at > size:
            raise WireError("malformed write request: cut", begin)
        if tag in (_SYMBOL_TAG, _SERIES_TAG):
            found.extend((begin, content, at))
    table = np.frombuffer(found, np.int64).reshape(-1, 3) if found else np.zeros((0, 3), np.int64)
    return table[:, 0], table[:, 1], table[:, 2]


def _number(raw: bytes, at: int) -> tuple[int, int]:
    value, behind = read_varint(raw[at : at + _HEAD_BYTES_MAX], 0)
    return value, at + behind
