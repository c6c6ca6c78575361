"""Times as layouts of Go describe them: `02/Jan/2006:15:04:05 -0700` is how Go would write one certain moment.

A layout becomes one regular expression, in which everything is matched once and never tried otherwise, as Go's scanner
does it.  Source: Go `time/format.go`, `Parse`: numbers without a leading zero have one or two digits, a fraction may follow
seconds also where the layout has none, a blank stands for any number of them, names of days are read over, what is missing
is the first of January of the year 0, and times without a zone are in UTC.

Unlike Go: abbreviations of zones other than UTC and GMT are refused, for Go takes those that its machine does not know for
UTC, even `GMT+3`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from typing import Final

import numpy as np
from attrs import define, field, frozen
from numpy.typing import NDArray

from ..errors import UsageError
from ..exposition.floats import printable
from .numbers import Faults

LAYOUT_BYTES_MAX: Final = 256
"""Longest layout."""
TEXT_BYTES_MAX: Final = 256
"""Longest text of a time."""

_MONTHS: Final = (
    *(b"january", b"february", b"march", b"april", b"may", b"june"),
    *(b"july", b"august", b"september", b"october", b"november", b"december"),
)
_DAYS: Final = (b"sunday", b"monday", b"tuesday", b"wednesday", b"thursday", b"friday", b"saturday")
_OFFSETS: Final = (("070000", r"\d{6}"), ("07:00:00", r"\d\d:\d\d:\d\d"), ("0700", r"\d{4}"), ("07:00", r"\d\d:\d\d"))
_ZONE: Final = r"UTC|GMT(?![+-])"

_CHUNK: Final = re.compile(
    r"January|Jan(?![a-z])|Monday|Mon(?![a-z])|MST|002|0[1-6]|15|1|2006|_2006|__2|_2|2|3|4|5|PM|pm"
    r"|[-Z]07(?:0000|:00:00|00|:00)?|[.,](?:0+|9+)(?!\d)"
)
"""The parts of a layout that stand for something, in the order in which Go looks for them."""


@define
class _Found:
    """What the parts of one text said; -1 for nothing."""

    year: int = 0
    month: int = -1
    day: int = -1
    year_day: int = -1
    hour: int = 0
    minute: int = 0
    second: int = 0
    nanoseconds: int = 0
    offset: int = 0
    is_utc: bool = False
    half: bytes = b""


@frozen(eq=False)
class GoLayout:
    """A layout; make one with `read_layout`."""

    text: str
    pattern: re.Pattern[bytes]
    setters: Sequence[Callable[[_Found, bytes], None]] = field(repr=False)
    """For each group of the pattern: notes what it captured, or raises `ValueError`."""

    def read(self, text: bytes) -> int:
        """Return the time in ms since 1970, rounded down; raises `ValueError`."""
        match = self.pattern.fullmatch(text) if len(text) <= TEXT_BYTES_MAX else None
        if match is None:
            raise ValueError("no match")
        found = _Found()
        for setter, part in zip(self.setters, match.groups(), strict=True):
            if part is not None:
                setter(found, part)
        return _milliseconds(found)

    def read_all(self, texts: Sequence[bytes]) -> tuple[NDArray[np.int64], Faults]:
        """Return int64[n] in ms, and the faults; equal texts are read once."""
        times = np.zeros(len(texts), np.int64)
        faults: Faults = {}
        known: dict[bytes, int] = {}
        for i, text in enumerate(texts):
            time_ms = known.get(text)
            if time_ms is None:
                try:
                    time_ms = known[text] = self.read(text)
                except ValueError:
                    faults[i] = f"not a time like {self.text!r}: {printable(text)}"
                    continue
            times[i] = time_ms
        return times, faults


def read_layout(text: str) -> GoLayout:
    """Return what a layout means; raises `UsageError` where it says no time at all."""
    if len(text.encode()) > LAYOUT_BYTES_MAX:
        raise UsageError(f"a layout of times has at most {LAYOUT_BYTES_MAX} bytes")
    parts: list[str] = []
    setters: list[Callable[[_Found, bytes], None]] = []
    for literal, chunk, following in _chunks(text):
        parts += _literal(literal)
        if chunk:
            expression, setter = _part(chunk)
            parts.append(f"(?>({expression}))")
            setters.append(setter)
        if chunk in ("5", "05") and following[:1] not in (".", ","):
            parts.append(r"(?>([.,]\d+))?+")
            setters.append(_set_fraction)
    if not setters:
        raise UsageError(f"the layout of times {text[:100]!r} names no part of 2006-01-02T15:04:05Z07:00")
    return GoLayout(text, re.compile("".join(parts).encode(), re.DOTALL), tuple(setters))


def _chunks(layout: str) -> Iterator[tuple[str, str, str]]:
    """Yield (what stands literally, a part or "", the part that follows or "")."""
    matches = list(_CHUNK.finditer(layout))
    spans = [(m.start() + 1, m.end()) if m[0] == "_2006" else m.span() for m in matches]
    at = 0
    for i, (start, end) in enumerate(spans):
        following = layout[slice(*spans[i + 1])] if i + 1 < len(spans) else ""
        yield layout[at:start], layout[start:end], following
        at = end
    yield layout[at:], "", ""


def _literal(text: str) -> list[str]:
    """Return expressions for what stands literally: any blanks for blanks, also none at the end."""
    return [r"(?> +|\Z)" if part[0] == " " else _escaped(part) for part in re.findall(r" +|[^ ]+", text)]


def _escaped(text: str) -> str:
    return "".join(re.escape(chr(byte)) if byte < 0x80 else f"\\x{byte:02x}" for byte in text.encode())


def _part(chunk: str) -> tuple[str, Callable[[_Found, bytes], None]]:
    """Return the expression for a part of a layout, and what notes it."""
    if chunk in _FIXED:
        return _FIXED[chunk]
    if chunk[0] in "-Z":
        digits = dict(_OFFSETS).get(chunk[1:], r"\d\d")
        zulu = "Z|" if chunk[0] == "Z" else ""
        return f"{zulu}[+-]{digits}", _set_offset
    return (rf"[.,]\d{{{len(chunk) - 1}}}" if chunk[1] == "0" else r"(?:[.,]\d+)?"), _set_fraction


def _number(name: str, low: int, high: int) -> Callable[[_Found, bytes], None]:
    """Return what notes a number within bounds."""

    def note(found: _Found, part: bytes) -> None:
        value = int(part)
        if not low <= value <= high:
            raise ValueError(f"{name} out of range")
        setattr(found, name, value)

    return note


def _set_short_year(found: _Found, part: bytes) -> None:
    found.year = int(part) + (1900 if int(part) >= 69 else 2000)


def _set_month_name(found: _Found, part: bytes) -> None:
    found.month = 1 + next(i for i, name in enumerate(_MONTHS) if name[:3] == part[:3].lower())


def _set_half(found: _Found, part: bytes) -> None:
    found.half = part.lower()


def _set_fraction(found: _Found, part: bytes) -> None:
    if part:
        found.nanoseconds = int(part[1:10].ljust(9, b"0"))


def _set_offset(found: _Found, part: bytes) -> None:
    if part == b"Z":
        found.is_utc = True
        return
    hours, minutes, seconds = (int(part[1:].replace(b":", b"").ljust(6, b"0")[i : i + 2]) for i in (0, 2, 4))
    if hours > 24 or minutes > 60 or seconds > 60:
        raise ValueError("offset out of range")
    found.offset = (-1 if part[:1] == b"-" else 1) * (3600 * hours + 60 * minutes + seconds)


def _set_zone(found: _Found, part: bytes) -> None:
    found.is_utc = found.is_utc or part == b"UTC"


def _pass_over(found: _Found, part: bytes) -> None:
    """Note nothing."""


def _names(names: Sequence[bytes], length: int | None = None) -> str:
    return "(?i:" + "|".join(name[:length].decode() for name in names) + ")"


_FIXED: Final[Mapping[str, tuple[str, Callable[[_Found, bytes], None]]]] = {
    "January": (_names(_MONTHS), _set_month_name),
    "Jan": (_names(_MONTHS, 3), _set_month_name),
    "Monday": (_names(_DAYS), _pass_over),
    "Mon": (_names(_DAYS, 3), _pass_over),
    "MST": (_ZONE, _set_zone),
    "2006": (r"\d{4}", _number("year", 0, 9999)),
    "06": (r"\d\d", _set_short_year),
    "01": (r"\d\d", _number("month", 1, 12)),
    "1": (r"\d\d?", _number("month", 1, 12)),
    "02": (r"\d\d", _number("day", 0, 99)),
    "_2": (r" ?\d\d?", _number("day", 0, 99)),
    "2": (r"\d\d?", _number("day", 0, 99)),
    "002": (r"\d{3}", _number("year_day", 1, 366)),
    "__2": (r" {0,2}\d{1,3}", _number("year_day", 1, 366)),
    "15": (r"\d\d?", _number("hour", 0, 23)),
    "03": (r"\d\d", _number("hour", 0, 12)),
    "3": (r"\d\d?", _number("hour", 0, 12)),
    "04": (r"\d\d", _number("minute", 0, 59)),
    "4": (r"\d\d?", _number("minute", 0, 59)),
    "05": (r"\d\d", _number("second", 0, 59)),
    "5": (r"\d\d?", _number("second", 0, 59)),
    "PM": ("[AP]M", _set_half),
    "pm": ("[ap]m", _set_half),
}


def _milliseconds(found: _Found) -> int:
    hour = found.hour
    if found.half == b"pm" and hour < 12:
        hour += 12
    elif found.half == b"am" and hour == 12:
        hour = 0
    # Python's calendar begins with the year 1; that of 400 years later has the same days.
    year, shift = (found.year, 0) if found.year else (400, 146_097)
    first = date(year, 1, 1).toordinal()
    if found.year_day >= 0:
        day = date.fromordinal(first + found.year_day - 1)
        if day.year != year or found.month not in (-1, day.month) or found.day not in (-1, day.day):
            raise ValueError("the day of the year is another day")
    else:
        day = date(year, max(found.month, 1), 1 if found.day < 0 else found.day)
    days = day.toordinal() - shift - date(1970, 1, 1).toordinal()
    seconds = days * 86_400 + hour * 3600 + found.minute * 60 + found.second
    if not found.is_utc:  # which goes before an offset
        seconds -= found.offset
    return seconds * 1000 + found.nanoseconds // 1_000_000
