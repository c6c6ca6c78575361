"""Durations as Prometheus writes them: `1d12h`, `90s`, `500ms`; whole milliseconds inside.

A year has always 365 days, a week 7, a day 24 hours.  Units appear in falling order, each at most once.  Source of
the format: prometheus/common model/time.go.  Not here: durations of PromQL, which may be expressions.
"""

from __future__ import annotations

import re
from typing import Final, NewType

DurationMs = NewType("DurationMs", int)
"""A length of time in milliseconds; in configuration files written as `parse_duration` reads it."""

DURATION_MS_MAX: Final = (2**63 - 1) // 1_000_000
"""Longest duration, in milliseconds: what 64 bits of nanoseconds hold, about 292 years."""

_UNITS: Final = (
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
)
_SHAPE: Final = re.compile("".join(rf"(?:([0-9]+){unit})?" for unit, _ in _UNITS) + r"\Z")
_ONLY_WHOLE: Final = ("y", "w")
"""Units used in print only where nothing remains: 90d reads easier than 12w6d."""


def parse_duration(text: str) -> DurationMs:
    """Return the milliseconds of a duration; "0" needs no unit.

    Raises `ValueError` with the words of Prometheus when the text is none or too long.
    """
    if text == "0":
        return DurationMs(0)
    if not text:
        raise ValueError("empty duration string")
    found = _SHAPE.match(text) if text.isascii() else None
    if found is None:
        raise ValueError(f'not a valid duration string: "{text}"')
    total = 0
    for digits, (_, factor) in zip(found.groups(), _UNITS, strict=True):
        if digits:
            # A count of more digits than the maximum has cannot fit; int() of a huge text would be slow.
            if len(digits.lstrip("0")) > 13:
                raise ValueError("duration out of range")
            total += int(digits) * factor
    if total > DURATION_MS_MAX:
        raise ValueError("duration out of range")
    return DurationMs(total)


def format_duration(duration_ms: int) -> str:
    """Return a duration as text that `parse_duration` reads back (a negative one gets a sign in front)."""
    if duration_ms == 0:
        return "0s"
    sign, rest = ("-", -duration_ms) if duration_ms < 0 else ("", duration_ms)
    out = [sign]
    for unit, factor in _UNITS:
        if unit in _ONLY_WHOLE and rest % factor:
            continue
        count, rest = divmod(rest, factor)
        if count:
            out.append(f"{count}{unit}")
    return "".join(out)
