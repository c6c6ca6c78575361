"""Carbon's pickle protocol: lists of `(path, (timestamp, value))` as Python's pickle writes them, and nothing else.

Pickle is a little program for a stack machine, which may call anything.  The machine here knows texts, numbers, tuples, lists and
the memory of what was read before; every other instruction is an error, so that nothing is ever looked up or called.  It reads
protocols 0 to 5.  Sources: Python's Lib/pickletools.py; graphite.readthedocs.io, "The Pickle Protocol".
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Final

STACK_MAX: Final = 1 << 20
"""Things on the stack; a list of so many data points does not fit a message."""
LONG_BYTES_MAX: Final = 16
LINE_BYTES_MAX: Final = 64 << 10

Point = tuple[bytes, Any, Any]
"""A path, and a timestamp and a value as they were written."""


def _long(data: bytes) -> int:
    return int.from_bytes(data, "little", signed=True)


def _utf8(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")


def _quoted(data: bytes) -> bytes:
    """Return a text between quotes; escapes stay, as no path has any."""
    if len(data) < 2 or data[:1] not in (b"'", b'"') or data[:1] != data[-1:]:
        raise ValueError("a text without quotes")
    return data[1:-1]


_FIXED: Final[dict[int, struct.Struct]] = {
    ord("K"): struct.Struct("<B"),
    ord("M"): struct.Struct("<H"),
    ord("J"): struct.Struct("<i"),
    ord("G"): struct.Struct(">d"),
}
"""Instruction -> how the number behind it is written."""
_SIZED: Final[dict[int, tuple[int, Callable[[bytes], Any]]]] = {
    ord("U"): (1, bytes),
    ord("T"): (4, bytes),
    ord("C"): (1, bytes),
    ord("B"): (4, bytes),
    ord("X"): (4, _utf8),
    0x8C: (1, _utf8),
    0x8D: (8, _utf8),
    0x8A: (1, _long),
}
"""Instruction -> (bytes of the length, what is made of what follows)."""
_LINES: Final[dict[int, Callable[[bytes], Any]]] = {
    ord("I"): lambda text: int(text[:40]),
    ord("L"): lambda text: int(text[:40].rstrip(b"L")),
    ord("F"): lambda text: float(text[:400]),
    ord("S"): _quoted,
    ord("V"): lambda text: text.decode("raw-unicode-escape"),
}
"""Instruction -> what is made of the line behind it."""
_TUPLES: Final = {0x85: 1, 0x86: 2, 0x87: 3}
_CONSTANTS: Final[dict[int, Any]] = {ord("N"): None, 0x88: True, 0x89: False}
_PUT: Final = {ord("q"): 1, ord("r"): 4}
_GET: Final = {ord("h"): 1, ord("j"): 4}
_SKIPPED: Final = {0x80: 1, 0x95: 8}
"""Version and frames, with the bytes behind them."""
_STOP: Final = ord(".")
_MARK: Final = object()


def read_points(data: bytes) -> list[Point | None]:
    """Return the data points of a message, None for one that is none.  Raises `ValueError` for what is no such message."""
    found = _Machine(data).run()
    if not isinstance(found, list | tuple):
        raise ValueError("a message of pickle must hold a list")
    return [_point(item) for item in found]


def _point(item: Any) -> Point | None:
    if not (isinstance(item, list | tuple) and len(item) == 2):
        return None
    path, pair = item
    if isinstance(path, str):
        path = path.encode("utf-8", "surrogatepass")
    if not (isinstance(path, bytes) and isinstance(pair, list | tuple) and len(pair) == 2):
        return None
    return path, *pair


class _Machine:
    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0
        self._stack: list[Any] = []
        self._memory: dict[int, Any] = {}

    def run(self) -> Any:
        """Return what is made; raises `ValueError` with a position."""
        begin = 0
        try:
            while True:
                begin = self._at
                code = self._take(1)[0]
                if code == _STOP:
                    return self._stack.pop()
                self._step(code)
                if len(self._stack) > STACK_MAX:
                    raise ValueError("too much on the stack")
        except (ValueError, IndexError, KeyError, AttributeError, OverflowError) as e:
            reason = str(e) if type(e) is ValueError else "nothing to work on"
            raise ValueError(f"byte {begin} of pickle: {reason}") from None

    def _step(self, code: int) -> None:
        push = self._stack.append
        if (fixed := _FIXED.get(code)) is not None:
            push(fixed.unpack(self._take(fixed.size))[0])
        elif (sized := _SIZED.get(code)) is not None:
            length = int.from_bytes(self._take(sized[0]), "little")
            if code == 0x8A and length > LONG_BYTES_MAX:
                raise ValueError("a number that is too large")
            push(sized[1](self._take(length)))
        elif (line := _LINES.get(code)) is not None:
            push(line(self._line()))
        elif (size := _TUPLES.get(code)) is not None:
            push(tuple(self._pop(size)))
        elif (size := _PUT.get(code)) is not None:
            self._memory[int.from_bytes(self._take(size), "little")] = self._stack[-1]
        elif (size := _GET.get(code)) is not None:
            push(self._memory[int.from_bytes(self._take(size), "little")])
        elif (size := _SKIPPED.get(code)) is not None:
            self._take(size)
        elif code in _CONSTANTS:
            push(_CONSTANTS[code])
        else:
            self._other(chr(code))

    def _other(self, code: str) -> None:
        push = self._stack.append
        if code == "(":
            push(_MARK)
        elif code == "]":
            push([])
        elif code == ")":
            push(())
        elif code == "t":
            push(tuple(self._marked()))
        elif code == "l":
            push(self._marked())
        elif code in "ae":
            items = self._marked() if code == "e" else self._pop(1)
            self._list().extend(items)
        elif code == "\x94":
            self._memory[len(self._memory)] = self._stack[-1]
        elif code == "p":
            self._memory[int(self._line())] = self._stack[-1]
        elif code == "g":
            push(self._memory[int(self._line())])
        else:
            raise ValueError(f"instruction {code!r}, which is neither for texts nor for numbers, tuples and lists")

    def _list(self) -> list[Any]:
        found = self._stack[-1]
        if not isinstance(found, list):
            raise ValueError("something is added to what is no list")
        return found

    def _take(self, count: int) -> bytes:
        end = self._at + count
        if end > len(self._data):
            raise ValueError("the message ends too early")
        found = self._data[self._at : end]
        self._at = end
        return found

    def _line(self) -> bytes:
        end = self._data.find(b"\n", self._at, self._at + LINE_BYTES_MAX)
        if end < 0:
            raise ValueError("a line without an end")
        found = self._data[self._at : end]
        self._at = end + 1
        return found

    def _pop(self, count: int) -> list[Any]:
        if len(self._stack) < count or _MARK in self._stack[-count:]:
            raise ValueError("too little on the stack")
        found = self._stack[-count:]
        del self._stack[-count:]
        return found

    def _marked(self) -> list[Any]:
        """Return what was put on the stack since the last mark."""
        at = len(self._stack) - 1
        while self._stack[at] is not _MARK:  # an `IndexError` where there is none
            at -= 1
            if at < 0:
                raise ValueError("no mark")
        found = self._stack[at + 1 :]
        del self._stack[at:]
        return found
