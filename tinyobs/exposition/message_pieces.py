"""A large message of protobuf cut into several that mean the same together, so that they can be decoded one after the other.

What a decoder makes of a message is many times as large as the message.  It is cut between the elements of a list in it, and
where one of them is too large, between those of the list within that; what stands around the lists goes with every piece.
Only the framing is looked at.  Source: https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from attrs import Factory, define, frozen

from ..errors import LimitExceeded, WireError
from ..model.label_block import read_varint, varint

_LENGTH_KIND: Final = 2
_FIXED_BYTES: Final = {1: 8, 5: 4}
_HEAD_BYTES_MAX: Final = 16
"""More than a tag and a length take."""
_CHECK_BYTES: Final = 128 << 10
"""How much is looked at between two checks, 20 ms where fields have two bytes."""

Check = Callable[[], object]


@frozen
class Level:
    """Where a message may be cut.  lists: tag of a repeated field -> where one of its elements may be, None: nowhere."""

    lists: Mapping[int, Level | None]


def cut_message(
    message: bytes | memoryview, level: Level, bytes_max: int, check: Check = lambda: None
) -> Iterator[bytes]:
    """Yield messages of about `bytes_max` bytes at most, which together have the elements of `message` in their order.

    An element that cannot be cut may be larger.  Raises `WireError` where the framing is damaged, before anything is yielded
    unless that is within an element, and `LimitExceeded` where what goes with every piece is too much.

    check: called now and then, may raise to end it: a message of tiny fields takes 0.3 us for each before the first piece.
    """
    view = memoryview(message)
    yield from _cut(view, 0, len(view), level, bytes_max, check)


@define
class _Group:
    """Neighbours that go into one piece."""

    around: bytes
    parts: list[bytes] = Factory(list)
    size: int = 0
    begin: int = 0
    end: int = 0
    """Bytes that are not in `parts` yet: elements that stand side by side are taken as one."""

    def add(self, view: memoryview, begin: int, end: int) -> None:
        if begin != self.end:
            self.close(view)
            self.begin = begin
        self.end = end
        self.size += end - begin

    def close(self, view: memoryview) -> None:
        if self.end > self.begin:
            self.parts.append(bytes(view[self.begin : self.end]))
        self.begin = self.end = 0

    def take(self, view: memoryview) -> bytes:
        self.close(view)
        made = b"".join((self.around, *self.parts))
        self.parts, self.size = [], 0
        return made


def _cut(view: memoryview, at: int, end: int, level: Level | None, bytes_max: int, check: Check) -> Iterator[bytes]:
    if level is None or end - at <= bytes_max:
        yield bytes(view[at:end])
        return
    around = _around(view, at, end, level, check)
    if len(around) > bytes_max // 2:
        raise LimitExceeded("message_pieces", f"{len(around)} bytes of a message go with each element of its list")
    room = bytes_max - len(around)
    group, yielded = _Group(around), False
    for tag, begin, start, stop in _fields(view, at, end, check):
        if tag not in level.lists:
            continue
        if group.size and group.size + stop - begin > room:
            yield group.take(view)
            yielded = True
        if stop - begin > room:
            head = bytes(view[begin : begin + 1])
            for piece in _cut(view, start, stop, level.lists[tag], max(room - _HEAD_BYTES_MAX, 1), check):
                yield b"".join((around, head, varint(len(piece)), piece))
            yielded = True
        else:
            group.add(view, begin, stop)
    if group.size or not yielded:
        yield group.take(view)


def _around(view: memoryview, at: int, end: int, level: Level, check: Check) -> bytes:
    """Return the fields that are no elements of the lists."""
    parts, begin = [], at
    for tag, first, _, stop in _fields(view, at, end, check):
        if tag in level.lists:
            if first > begin:
                parts.append(bytes(view[begin:first]))
            begin = stop
    return b"".join((*parts, view[begin:end]))


def _fields(view: memoryview, at: int, end: int, check: Check) -> Iterator[tuple[int, int, int, int]]:
    """Yield (tag, where it stands, begin of the content, end) of fields; tag 0 where it has more than one byte."""
    check_at = at + _CHECK_BYTES
    while at < end:
        if at > check_at:
            check()
            check_at = at + _CHECK_BYTES
        begin, tag, stop = at, view[at], -1
        try:
            if tag & 0x87 == _LENGTH_KIND and at + 1 < end and view[at + 1] < 0x80:
                at += 2
                stop = at + view[at - 1]
            else:
                tag, at, stop = _any_field(view, at, end)
        except WireError:
            raise WireError("malformed message", begin) from None
        if stop > end or stop < at:
            raise WireError("malformed message: it ends too early", begin)
        yield tag, begin, at, stop
        at = stop


def _any_field(view: memoryview, at: int, end: int) -> tuple[int, int, int]:
    """Return (tag, begin of the content, end) of any field."""
    head = bytes(view[at : min(at + 2 * _HEAD_BYTES_MAX, end)])
    tag, used = read_varint(head, 0)
    kind = tag & 7
    if kind == _LENGTH_KIND:
        length, used = read_varint(head, used)
        return (tag if tag < 0x80 else 0), at + used, at + used + length
    if kind == 0:
        return 0, at + used, at + read_varint(head, used)[1]
    if kind not in _FIXED_BYTES:
        raise WireError("a field of no known kind")
    return 0, at + used, at + used + _FIXED_BYTES[kind]
