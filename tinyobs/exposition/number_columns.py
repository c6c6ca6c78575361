"""Numbers that stand somewhere in one buffer of bytes -> arrays, eight characters at a time in a machine word.

Decimals without exponent of up to 16 characters become an integer and a power of ten, whose quotient, rounded once, is the
float nearest to the decimal as long as the integer is below 2^53 (Clinger, How to Read Floating Point Numbers Accurately,
1990).  The others are laid out as one JSON array for the parser of `orjson`, which rounds correctly as well.  What is no plain
number is left to whoever asked.

Eight digits in a word: three multiplications add up neighbours, pairs, and pairs of pairs (Lemire, "Quickly parsing
eight digits", 2018).  The first digit is in the lowest byte.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]
F64 = NDArray[np.float64]
Bools = NDArray[np.bool_]

PADDING_BYTES: Final = 32
"""Bytes that a buffer must have before its first number."""
DIGITS_MAX: Final = 19
"""Digits of the longest integer that always fits 64 bits."""

_WORD: Final = 8
_SHORT_BYTES: Final = 2 * _WORD
"""Characters of the longest text that is read as two words."""
_ROW_BYTES: Final = 24
"""Bytes of a text that goes through the JSON parser, with the comma before it."""
_EXACT: Final = np.uint64(1 << 53)


def _every(byte: int) -> np.uint64:
    return np.uint64(int.from_bytes(bytes([byte]) * _WORD, "little"))


_ZEROS, _LOW, _HIGH_BITS, _POINTS = _every(0x30), _every(0x01), _every(0x80), _every(0x2E)
_BEYOND_NINE: Final = _every(0x76)
"""Added to a byte from 0 to 9 this leaves the highest bit clear."""
_ONE, _SEVEN, _BYTE, _TOP = (np.uint64(n) for n in (1, 7, 8, 56))
LAST_BYTES: Final = np.array([((1 << 64) - 1) ^ ((1 << 8 * (_WORD - n)) - 1) for n in range(_WORD + 1)], np.uint64)
"""By count of characters: a mask of as many bytes at the end of a word."""
_FILL: Final = _ZEROS & ~LAST_BYTES
_TENS: Final = 10.0 ** np.arange(_WORD + 1)
_JSON_BYTES: Final = b"0123456789+-.eE,\0"
"""Bytes of numbers, and what stands between and before them."""
_OTHERS: Final = np.ones(256, np.bool_)
_OTHERS[np.frombuffer(_JSON_BYTES, np.uint8)] = False


def _by_length(inside: bytes, outside: bytes, first: bytes) -> U64:
    """Return for each length of a text three words, with a byte where the text stands, and others before it."""
    rows = [(first + (_ROW_BYTES - 1 - n) * outside + n * inside)[:_ROW_BYTES] for n in range(_ROW_BYTES)]
    return np.frombuffer(b"".join(rows), np.uint64).reshape(_ROW_BYTES, -1)


_TEXT: Final = _by_length(b"\xff", b"\0", b"\0")
_AROUND: Final = _by_length(b"\0", b" ", b",")
"""A comma and spaces before the text."""


def read_integers(data: NDArray[np.uint8], ends: I64, lengths: I64) -> tuple[U64, Bools]:
    """Return (values, which of them are digits only, one at least and `DIGITS_MAX` at most)."""
    words = words_of(data)
    longest = min(int(lengths.max(initial=0)), DIGITS_MAX)
    values = np.zeros(len(ends), np.uint64)
    wrong = np.zeros(len(ends), np.uint64)
    for i in range(-(-longest // _WORD)):
        digits = words[ends - (i + 1) * _WORD]
        digits ^= _ZEROS
        digits &= LAST_BYTES.take(lengths - i * _WORD, mode="clip")
        part, bad = _eight_digits(digits)
        if i:
            part *= np.uint64(10 ** (i * _WORD))
        values += part
        wrong |= bad
    return values, (wrong == 0) & (lengths > 0) & (lengths <= DIGITS_MAX)


def are_alike(data: NDArray[np.uint8], ends: I64, lengths: I64) -> bool:
    """Tell whether all texts are the same; they are no longer than what is before the first one, or are not looked at."""
    length = int(lengths[0])
    if length > PADDING_BYTES or not (lengths == length).all():
        return False
    words = words_of(data)
    for i in range(-(-length // _WORD)):
        some = words[ends - (i + 1) * _WORD] & LAST_BYTES[min(length - i * _WORD, _WORD)]
        if not (some == some[0]).all():
            return False
    return True


def read_floats(data: NDArray[np.uint8], starts: I64, ends: I64) -> tuple[F64, Bools]:
    """Return (values, which of them could be read): decimals with sign, point and exponent as JSON has them, and finite."""
    negative = data[starts] == ord("-")
    begins = starts + negative
    lengths = ends - begins
    long = lengths > _SHORT_BYTES
    if not long.any():
        values, good = _short(data, ends, lengths)
    else:
        values, good = np.zeros(len(starts)), np.zeros(len(starts), np.bool_)
        short = np.flatnonzero(~long)
        if len(short):
            values[short], good[short] = _short(data, ends[short], lengths[short])
    left = ~good & (lengths > 0) & (ends - starts < _ROW_BYTES)
    if left.any():
        rest = np.flatnonzero(left & (data[begins] - np.uint8(ord("0")) < 10))
        values[rest], good[rest] = _by_json(data, ends[rest], lengths[rest])
    np.negative(values, out=values, where=negative)
    return values, good


def _short(data: NDArray[np.uint8], ends: I64, lengths: I64) -> tuple[F64, Bools]:
    """Read what has up to `_SHORT_BYTES` characters without sign, and a point, if any, among the last eight."""
    words = words_of(data)
    last = words[ends - _WORD] & LAST_BYTES.take(lengths, mode="clip") | _FILL.take(lengths, mode="clip")
    is_long = bool((lengths > _WORD).any())
    first: U64 | None = None
    if is_long:
        beyond = lengths - _WORD
        first = words[ends - 2 * _WORD] & LAST_BYTES.take(beyond, mode="clip") | _FILL.take(beyond, mode="clip")
    differ = last ^ _POINTS
    found = (differ - _LOW) & ~differ & _HIGH_BITS
    decimals: Any = None
    if found.any():
        # All bits below the byte of the point, whose lowest bit is `point`; none where there is no point.
        point = (found & (~found + _ONE)) >> _SEVEN
        pointed = found != 0
        before = np.where(pointed, point - _ONE, np.uint64(0))
        places = ((before & _LOW) * _LOW) >> _TOP
        after = np.where(pointed, ~(before | (point * np.uint64(255))), ~before)
        moved = (before & last) << _BYTE
        carried: Any = np.uint64(0x30)
        if first is not None:
            carried = first >> _TOP
            first = np.where(pointed, first << _BYTE | np.uint64(0x30), first)
        last = np.where(pointed, last & after | moved | carried, last)
        decimals = np.where(pointed, _SEVEN - places, np.uint64(0)).astype(np.intp)
    number, wrong = _eight_digits(last ^ _ZEROS)
    digits_min = np.int64(1)
    good = wrong == 0
    if first is not None:
        upper, wrong = _eight_digits(first ^ _ZEROS)
        number = number + upper * np.uint64(10**_WORD)
        good &= wrong == 0
    good &= number < _EXACT
    values = number.astype(np.float64)
    if decimals is None:
        return values, good & (lengths >= digits_min)
    # A point needs a digit before and behind it, as in JSON; other texts are rare.
    good &= lengths >= np.where(pointed, decimals + 2, digits_min)
    good &= ~pointed | (decimals > 0)
    values /= _TENS[decimals]
    return values, good


def _by_json(data: NDArray[np.uint8], ends: I64, lengths: I64) -> tuple[F64, Bools]:
    """Read texts without sign that are shorter than `_ROW_BYTES`."""
    windows = np.ndarray((len(data) - _ROW_BYTES + 1,), f"V{_ROW_BYTES}", data, 0, (1,))
    table = windows[ends - _ROW_BYTES].view(np.uint64).reshape(-1, _ROW_BYTES // _WORD)
    table &= _TEXT[lengths]
    if table.tobytes().translate(None, _JSON_BYTES):
        good: Bools = np.asarray(~_OTHERS[table.view(np.uint8)].any(axis=1))
        values = np.zeros(len(ends))
        if good.any():
            values[good], good[good] = _by_json(data, ends[good], lengths[good])
        return values, good
    table |= _AROUND[lengths]
    text = table.tobytes()
    try:
        found = orjson.loads(b"[" + text[1:] + b"]")
    except orjson.JSONDecodeError:
        found = list(map(_float, text[1:].split(b",")))
    if len(found) != len(ends):  # a comma within a text
        return np.zeros(len(ends)), np.zeros(len(ends), np.bool_)
    values = np.fromiter(found, np.float64, len(found))
    return values, np.isfinite(values)


def _float(text: bytes) -> float:
    """Return a number as JSON has it, or NaN."""
    try:
        return float(orjson.loads(text))
    except orjson.JSONDecodeError:
        return np.nan


def _eight_digits(digits: U64) -> tuple[U64, U64]:
    """Return (numbers, what is not zero where a byte is no digit) of words that hold digits as numbers, from 0 to 9."""
    wrong = digits + _BEYOND_NINE
    wrong |= digits
    wrong &= _HIGH_BITS
    digits = digits * np.uint64(2561)
    digits >>= _BYTE
    digits &= np.uint64(0x00FF00FF00FF00FF)
    digits *= np.uint64(6553601)
    digits >>= np.uint64(16)
    digits &= np.uint64(0x0000FFFF0000FFFF)
    digits *= np.uint64(42949672960001)
    digits >>= np.uint64(32)
    return digits, wrong


def words_of(data: NDArray[np.uint8]) -> U64:
    """Return the word that begins at each byte, in the order of bytes of this format whatever the machine's."""
    return np.ndarray((len(data) - _WORD + 1,), "<u8", data, 0, (1,))
