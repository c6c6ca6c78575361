"""Numbers and durations of PromQL: their text, their value, and back.

A number is decimal, hexadecimal (`0x1f`) or octal (`017`), with `_` between digits and an exponent; a duration is a run
of counts and units (`1h30m`) from the largest unit to the smallest.  Source: prometheus promql/parser/lex.go (what is
accepted), Go strconv (what it means), prometheus common model/time.go (durations).
"""

from __future__ import annotations

import math
import re
from decimal import Decimal
from functools import lru_cache
from typing import Final

from .strings import quote

NANOSECONDS_MAX: Final = 2**63
"""A duration of this many nanoseconds or more does not fit; about 292 years."""
DURATION_LENGTH_MAX: Final = 64
"""Longest duration, in characters; leading zeros are what could make one longer."""
_INTEGER_MAX: Final = 2**63 - 1
_UNITS: Final = {
    "y": 31_536_000_000,
    "w": 604_800_000,
    "d": 86_400_000,
    "h": 3_600_000,
    "m": 60_000,
    "s": 1000,
    "ms": 1,
}
_ORDER: Final = tuple(_UNITS)
_PART = re.compile(r"([0-9]+)([^0-9]+)")
_DECIMAL = re.compile(r"(?:[1-9][0-9]*|0)(?:\.[0-9]+)?\Z")
_FLOAT = re.compile(r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\Z")
_UNDERSCORES = re.compile(r"[0-9a-fA-F](?:_?[0-9a-fA-F])*")


def number_value(text: str) -> float:
    """Return the value of a number token; `ValueError` with Go's words where it has none."""
    if _DECIMAL.match(text):
        return _finite(float(text), text)
    lower = text.lower()
    if lower in ("inf", "nan"):
        return math.inf if lower == "inf" else math.nan
    if lower.startswith("0x"):
        digits = lower[2:].removeprefix("_")
        if not _UNDERSCORES.fullmatch(digits) or (value := int(digits, 16)) > _INTEGER_MAX:
            raise ValueError(f"strconv.ParseFloat: parsing {quote(text)}: invalid syntax")
        return float(value)
    digits = lower.replace("_", "")
    if len(digits) > 1 and digits[0] == "0" and all(c in "01234567" for c in digits):
        value = int(digits, 8)
        if value <= _INTEGER_MAX:  # a longer one is read as decimal, as Go does
            return float(value)
    if not _FLOAT.match(digits):
        raise ValueError(f"strconv.ParseFloat: parsing {quote(text)}: invalid syntax")
    return _finite(float(digits), text)


def _finite(value: float, text: str) -> float:
    if value == math.inf:
        raise ValueError(f"strconv.ParseFloat: parsing {quote(text)}: value out of range")
    return value


@lru_cache(maxsize=1024)
def duration_ms(text: str) -> int:
    """Return the milliseconds of a duration token such as `1h30m`; `ValueError` with upstream's words."""
    if len(text) > DURATION_LENGTH_MAX:
        raise ValueError(f"not a valid duration string: {quote(text)}")
    total, last, at = 0, -1, 0
    while at < len(text):
        part = _PART.match(text, at)
        if part is None or int(part[1]) >= 1 << 64:
            raise ValueError(f"not a valid duration string: {quote(text)}")
        unit = part[2]
        if unit not in _UNITS:
            raise ValueError(f"unknown unit {quote(unit)} in duration {quote(text)}")
        position = _ORDER.index(unit)
        if position <= last:
            raise ValueError(f"not a valid duration string: {quote(text)}")
        last, at = position, part.end()
        total += int(part[1]) * _UNITS[unit]
        if total * 1_000_000 >= NANOSECONDS_MAX:
            raise ValueError("duration out of range")
    return total


def seconds_to_ms(seconds: float) -> int:
    """Return the whole milliseconds of a number of seconds, as upstream: rounded to nanoseconds, then cut.

    Where a float no longer holds nanoseconds (from about a hundred days on), to the nearest millisecond it may mean.
    """
    exact = abs(seconds) * 1000
    nearest = round(exact)
    if abs(exact - nearest) > max(5e-7, exact * 1e-15):
        nearest = int(exact)
    return -nearest if seconds < 0 else nearest


def format_duration(milliseconds: int) -> str:
    """Return the shortest usual text of a duration; years and weeks only where nothing remains below them."""
    if milliseconds == 0:
        return "0s"
    text, rest = "-" if milliseconds < 0 else "", abs(milliseconds)
    for unit, size in _UNITS.items():
        if rest >= size and not (unit in "yw" and rest % size):
            text += f"{rest // size}{unit}"
            rest %= size
    return text


def format_number(value: float) -> str:
    """Return a float as Go's `FormatFloat(v, 'f', -1, 64)`: the fewest digits, never an exponent."""
    if value != value:
        return "NaN"
    if value in (math.inf, -math.inf):
        return "+Inf" if value > 0 else "-Inf"
    text = format(Decimal(repr(value)), "f")
    return text.removesuffix(".0")


def scan_number(text: str, start: int) -> tuple[int, bool, bool]:
    """Find the end of a number or duration; return (end, whether it is well formed, whether it is a duration).

    Of a malformed one, `end` is where reading stopped: the message shows the text up to there.
    """
    end, good = _scan_plain(text, start)
    if good:
        return end, True, False
    return *_scan_units(text, end), True


def _scan_plain(text: str, at: int) -> tuple[int, bool]:
    start, digits = at, "0123456789"
    if text[at] == "0":
        at += 1
        if text[at : at + 1] in ("x", "X"):
            at += 2 if text[at + 1 : at + 2] == "_" else 1
            digits = "0123456789abcdefABCDEF"
    if text[at : at + 1] == ".":
        at += 1
    dot = exponent = False
    while (char := text[at : at + 1]) and char in digits + "._eE":
        at += 1
        if char in digits:
            continue
        after = text[at : at + 1]
        if char == ".":
            if dot or after in ("_", "."):
                return at + (not dot), False
            dot = True
            if len(digits) > 10:  # no fractions in hexadecimal
                return at, False
        elif char == "_":
            if not after or after in "._eE":
                return at + bool(after), False
        else:
            if exponent:
                return at, False
            exponent = True
            at += after in ("+", "-")
            after = text[at : at + 1]
            if not after or after in "._eE":
                return at + bool(after), False
    return at, at > start and not _is_word(text[at : at + 1])


def _scan_units(text: str, at: int) -> tuple[int, bool]:
    units = "smhdwy"
    while True:
        if not text[at : at + 1] or text[at] not in units:
            return at, False
        at += 1
        at += text[at : at + 1] == "s"
        units = "smhdw"  # a year may only come first
        count = at
        while text[at : at + 1] and text[at] in "0123456789":
            at += 1
        if at == count:
            after = text[at : at + 1]
            return (at + 1, False) if _is_word(after) else (at, True)


def _is_word(char: str) -> bool:
    return char == "_" or (char.isascii() and char.isalnum())
