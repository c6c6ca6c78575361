"""Lines of the Influx line protocol that came before, but for their values and times: read without asking what they mean.

For small bodies, where reading in bulk (`influx_scan.py`) does not pay.  What is remembered of a line is its key and the names of
its fields, byte for byte, with the series that they are.  A line that has the same of both, and numbers where there were
some, needs no more than a few operations on bytes; the numbers of all lines go through one JSON parser.  Everything else is
left to `influx_line.py`, which decides what is an error.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence
from itertools import accumulate, repeat
from typing import Final

import numpy as np
import orjson
from attrs import frozen
from numpy.typing import NDArray

from .influx_line import BOOLEANS, KEY, TIME_MAX, BadLine, parse_value
from .influx_names import Origin

LINES_BYTES_MAX: Final = 32 << 20
"""Memory for lines; when it is full, all are forgotten."""

_LINE_BYTES: Final = 300
_NAME_BYTES: Final = 50
"""What Python needs for a line and for a name, beside their bytes."""

_STRING: Final = re.compile(rb'="[^"\\\n]*"(?=[, \r\n]|\Z)')
"""A string, as long as there is no backslash; it is made empty, so that it is a word like any other."""
_EMPTY: Final = b'""'
_NOT_MARKS: Final = bytes(set(range(256)) - set(b",="))
_FIELDS_MAX: Final = 1000
_MARKS: Final = b"=," * _FIELDS_MAX
"""What stands between names and values, in turn."""
_DIGITS_MAX: Final = 19
_NUMBERS: Final = b"0123456789+-.eEi,"
_WORDS: Final = [(b",%s," % word, b",%d," % value) for word, value in BOOLEANS.items()]
_INTEGER_BYTES_MAX: Final = 19
"""Sign, digits and letter of an integer that surely has no more than 64 bits."""

Shape = tuple[bytes, tuple[bytes, ...]]
"""Key, and names of fields; those of strings end in `=""`, which no other name does."""


@frozen(eq=False)
class Recalled:
    """What is known of a body.  lines: their numbers, from 1.  counts, times: of these lines.  refs, values: of all fields.

    times: one where all are the same.

    left: (number, line) of all lines that are to be read with care.
    """

    lines: Sequence[int]
    counts: Sequence[int]
    times: NDArray[np.int64]
    refs: NDArray[np.uint32]
    values: NDArray[np.float64]
    string_count: int
    left: list[tuple[int, bytes]]


class LineMemory:
    """Remembers lines.  All methods may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lines: dict[Origin, dict[Shape, bytes]] = {}
        self._names: dict[tuple[bytes, ...], tuple[bytes, ...]] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return sum(map(len, self._lines.values()))

    def remember(self, lines: Sequence[bytes], counts: Sequence[int], refs: NDArray[np.uint32], origin: Origin) -> None:
        """Remember lines that were read.  counts: of their fields, without strings.  refs: of all of these."""
        at = 0
        with self._lock:
            if self._bytes >= LINES_BYTES_MAX:
                self._lines, self._names, self._bytes = {}, {}, 0
            known = self._lines.setdefault(origin, {})
            for line, count in zip(lines, counts, strict=True):
                apart = _taken_apart(_STRING.sub(b'=""', line) if b'"' in line else line)
                if apart is not None and len(apart[1]) == count and self._bytes < LINES_BYTES_MAX:
                    self._add(known, apart[0], refs[at : at + count].tobytes())
                at += count

    def recall(self, body: bytes, origin: Origin) -> Recalled | None:
        """Return what is known of a body; None where its strings, or one of its numbers, ask for more care."""
        known, plain = self._lines.get(origin), _without_strings(body)
        if known is None or plain is None:
            return None
        return _recalled_at_once(plain, known) or self._recalled(body, plain, known)

    def _recalled(self, body: bytes, plain: bytes, known: Mapping[Shape, bytes]) -> Recalled | None:
        """Do as `recall` does, line by line.  plain: the body with empty strings."""
        lines: list[int] = []
        refs: list[bytes] = []
        times: list[bytes] = []
        counts: list[int] = []
        values: list[bytes] = []
        left: list[tuple[int, bytes]] = []
        strings, has_returns = 0, b"\r" in body
        for number, line in enumerate(plain.split(b"\n"), 1):
            apart = _taken_apart(line.removesuffix(b"\r") if has_returns else line)
            if apart is None or (found := known.get(apart[0])) is None:
                left.append((number, line))
                continue
            _, given, time, string_count = apart
            lines.append(number)
            counts.append(len(given))
            refs.append(found)
            times.append(time)
            values += given
            strings += string_count
        numbers, stamps = _floats(values), _stamps(times)
        if numbers is None or stamps is None:
            return None
        if left:
            whole = body.split(b"\n")
            left = [(number, whole[number - 1].removesuffix(b"\r")) for number, _ in left]
        return Recalled(lines, counts, stamps, np.frombuffer(b"".join(refs), np.uint32), numbers, strings, left)

    def _add(self, known: dict[Shape, bytes], shape: Shape, refs: bytes) -> None:
        key, names = shape
        if names not in self._names:
            self._names[names] = names
            self._bytes += sum(map(len, names)) + _NAME_BYTES * len(names)
        shape = key, self._names[names]
        if shape not in known:
            self._bytes += len(key) + len(refs) + _LINE_BYTES
        known[shape] = refs


def _without_strings(body: bytes) -> bytes | None:
    """Return a body whose strings are empty, the same one where there are none; None where that is not easy to tell.

    Easy: no backslash, no quote before the first space of a line, and each quote belongs to a string that follows an equals sign
    and ends before a comma, a space or the end of its line.  Then no string goes beyond a line, whatever is wrong with it.
    """
    quotes = body.count(b'"')
    if not quotes:
        return body
    plain, count = _STRING.subn(b'=""', body)
    if 2 * count != quotes or b"\\" in body:
        return None
    for line in plain.split(b"\n"):
        if b'"' in line and b'"' in line.lstrip(b" \t\0").partition(b" ")[0]:
            return None
    return plain


def _recalled_at_once(plain: bytes, known: Mapping[Shape, bytes]) -> Recalled | None:
    """Return what is known of a body that came before as a whole; None where a line is new, or not like all others.

    Each line has two spaces, no escapes and a time, as nearly always, so that all are taken apart by the same few operations.
    """
    parts = plain.removesuffix(b"\n").split(b" ")
    ends, texts = parts[::2], parts[1::2]
    lines, fields = len(texts), b",".join(texts)
    flat = fields.replace(b"=", b",").split(b",")
    if (
        not len(parts) % 2
        or b"\\" in plain
        or b"\r" in plain
        or b"\n" in fields
        or list(map(bytes.count, ends, repeat(b"\n"))) != [0, *[1] * (lines - 1), 0]
        or len(flat) % 2
        or fields.translate(None, _NOT_MARKS) != (b"=," * (len(flat) // 2))[:-1]
    ):
        return None
    ends = b"\n".join(ends).split(b"\n")  # key and time in turn
    times, names, values = ends[1::2], flat[::2], flat[1::2]
    if not (all(times) and b"".join(times).isdigit()):
        return None
    totals = list(map(bytes.count, texts, repeat(b"=")))
    counts = totals
    if _EMPTY in values:
        names = [n + b'=""' if v == _EMPTY else n for n, v in zip(names, values, strict=True)]
        values = [v for v in values if v != _EMPTY]
        counts = [n - text.count(b'=""') for n, text in zip(totals, texts, strict=True)]
    refs = []
    for key, end, total in zip(ends[::2], accumulate(totals), totals, strict=True):
        found = known.get((key, tuple(names[end - total : end])))
        if found is None:
            return None
        refs.append(found)
    numbers, stamps = _floats(values), _stamps(times)
    if numbers is None or stamps is None:
        return None
    found_refs = np.frombuffer(b"".join(refs), np.uint32)
    return Recalled(range(1, lines + 1), counts, stamps, found_refs, numbers, sum(totals) - len(values), [])


def _taken_apart(line: bytes) -> tuple[Shape, list[bytes], bytes, int] | None:
    """Return (shape, values that are no strings, time as it stands, how many strings); None where it is no ordinary line.

    The strings of the line are empty.
    """
    if b"\\" in line:
        end = KEY.match(line).end()  # type: ignore[union-attr]  # an empty key matches
        if line.find(b"\\", end) >= 0:
            return None
        parts = [line[:end], *line[end + 1 :].split(b" ")]
    else:
        parts = line.split(b" ")
    if len(parts) == 3:
        key, fields, time = parts
        if not time.isdigit():
            return None
    elif len(parts) == 2:
        (key, fields), time = parts, b"0"
    else:
        return None
    flat = fields.replace(b"=", b",").split(b",")
    if fields.translate(None, _NOT_MARKS) != _MARKS[: len(flat) - 1] or len(flat) % 2:
        return None
    names, values = tuple(flat[::2]), flat[1::2]
    if _EMPTY not in values:
        return (key, names), values, time, 0
    names = tuple([n + b'=""' if v == _EMPTY else n for n, v in zip(names, values, strict=True)])
    left = [v for v in values if v != _EMPTY]
    return (key, names), left, time, len(values) - len(left)


def _floats(texts: list[bytes]) -> NDArray[np.float64] | None:
    """Return the values of fields; None where one of them has none."""
    try:
        return np.array(_numbers(texts), np.float64)
    except ValueError:  # that of JSON is one
        try:
            return np.array(list(map(parse_value, texts)), np.float64)
        except BadLine:
            return None


def _numbers(texts: list[bytes]) -> list[float]:
    """Return the values of fields; raises `ValueError` where JSON might not read them as they are meant."""
    text = b",".join([b"", *texts, b""])
    if text.translate(None, _NUMBERS):
        for word, number in _WORDS:
            if word in text:
                text = text.replace(word, number).replace(word, number)  # twice: neighbours share a comma
        if text.translate(None, _NUMBERS):
            raise ValueError("not only numbers")
    if b"-0," in text:
        raise ValueError("JSON loses the sign of this zero")
    if b"i" in text:
        integers = [t for t in texts if t.endswith(b"i")]
        if len(max(integers, key=len, default=b"")) > _INTEGER_BYTES_MAX or b"".join(integers).translate(
            None, b"-0123456789i"
        ):
            raise ValueError("not surely integers")
        text = text.replace(b"i,", b",")
    found: list[float] = orjson.loads(b"[%b]" % text[1:-1])
    if len(found) != len(texts):
        raise ValueError("the only value is missing")
    return found


def _stamps(texts: list[bytes]) -> NDArray[np.int64] | None:
    """Return the times of lines, which are digits, or one where all are the same; None where one of them is out of range."""
    if len(set(texts)) == 1:  # as usual
        found = [int(texts[0]) if len(texts[0]) <= _DIGITS_MAX else TIME_MAX + 1]
    else:
        found = [int(text) if len(text) <= _DIGITS_MAX else TIME_MAX + 1 for text in texts]
    return np.array(found, np.int64) if max(found, default=0) <= TIME_MAX else None
