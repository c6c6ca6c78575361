"""A Request of remote write 2.0 cut into its symbols and its series without looking at one byte after the other.

A request is a list of fields `22 <varint: length> <symbol>` and `2a <varint: length> <series>`.  Where a field ends is known
only from where it begins, but a guess of all beginnings can be checked at once.  Senders write all symbols first.  The guess of
series: every 2a whose content begins with a tag 0a behind a length of up to two bytes.  Of these only those stay that end where
another one begins, or the request ends, until what stays is a chain.  Before its first byte are the symbols: every 22 there is one of
them in the same way.  Requests of any other kind are walked through field by field.
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
_ROUNDS_MAX: Final = 8
"""How often false beginnings are taken out; they rarely point to one another."""
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
    parts = _guess(data, size)
    if parts is not None:
        return parts
    begins, content, ends = _walk(data, size)
    is_series = data[begins] == _SERIES_TAG
    both = Blocks(data, content, ends - content)
    return Parts(both.take(np.flatnonzero(~is_series)), both.take(np.flatnonzero(is_series)))


def _guess(data: NDArray[np.uint8], size: int) -> Parts | None:
    """Return the parts of a request whose symbols come first, None where the guess fails."""
    series = _chain(data, _likely(data, size), size)
    if series is None:
        return None
    first, blocks = series
    if not first:
        return Parts(blocks.slice(0, 0), blocks)
    symbols = _chain(data, (data[:first] == _SYMBOL_TAG).nonzero()[0], first)
    if symbols is None or symbols[0] or len(symbols[1]) + len(blocks) > FIELDS_MAX:
        return None
    return Parts(symbols[1], blocks)


def _likely(data: NDArray[np.uint8], size: int) -> I64:
    """Return where series may begin."""
    places = [np.zeros(0, np.int64)]
    for at in range(0, size, _PART_BYTES):
        part = data[at : min(at + _PART_BYTES, size) + _REFS_BEHIND_MAX]
        refs = part == _REFS_TAG
        likely = refs[_REFS_BEHIND_MAX - 1 : -1] | refs[_REFS_BEHIND_MAX:]
        likely &= part[:-_REFS_BEHIND_MAX] == _SERIES_TAG
        places.append(likely.nonzero()[0] + at)
    return np.concatenate(places)


def _chain(data: NDArray[np.uint8], begins: I64, end: int) -> tuple[int, Blocks] | None:
    """Return (where they begin, the contents) of fields that follow one another up to `end`; begins: where some may begin.

    False ones are those that do not end where one begins, and those, but for the first, that do not begin where one ends.
    """
    if len(begins) > FIELDS_MAX:
        return None
    content, ends = read_heads(data, begins)
    for _ in range(_ROUNDS_MAX):
        if not len(begins):
            return None
        if ends[-1] == end and (ends[:-1] == begins[1:]).all():
            return int(begins[0]), Blocks(data, content, ends - content)
        ends = np.minimum(ends, end + 1)  # where nothing begins; also for those that have no end
        stays = _is_in(begins, end, end + 2)[ends]
        stays &= _is_in(ends, int(begins[0]), end + 2)[begins]
        if stays.all():
            return None
        begins, content, ends = begins[stays], content[stays], ends[stays]
    return None


def _is_in(places: I64, one_more: int, size: int) -> NDArray[np.bool_]:
    """Return for each of `size` places whether it is among those."""
    found = np.zeros(size, np.bool_)
    found[places] = True
    found[one_more] = True
    return found


def _walk(data: NDArray[np.uint8], size: int) -> tuple[I64, I64, I64]:
    """Return what `_chain` does, step by step; fields that are unknown are passed over."""
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
