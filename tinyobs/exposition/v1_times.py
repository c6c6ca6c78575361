"""Times as the first TinyObs writes and reads them: RFC 3339 or the same without a zone, and Go's durations.

A time without a zone is UTC.  Not here: the query API of Prometheus, which also knows numbers (`web/api_v1/parameters.py`).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

import numpy as np
from numpy.typing import NDArray

ZERO: Final = "0001-01-01T00:00:00Z"
"""What Go writes for a time that was never set."""
ZERO_MS: Final = -62_135_596_800_000
SECONDS_KEPT: Final = 4096
"""Seconds whose text is remembered: samples of one batch have few of them."""

_WHOLE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", re.ASCII)
_REST = re.compile(r"(?:[.,](\d+))?(?:(Z)|([+-])(\d\d):(\d\d))?", re.ASCII)
_DURATION_CHARACTERS_MAX: Final = 100
"""So many digits are a number that is not infinite."""
_DURATION = re.compile(r"(?:\d++\.?+\d*+|\.\d++)(?:ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_UNIT_MS: Final = {"ns": 1e-6, "us": 1e-3, "µs": 1e-3, "μs": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4, "h": 3.6e6}


class TimeReader:
    """Reads times; what a second is written as is worked out once."""

    def __init__(self) -> None:
        self._seconds: dict[str, int] = {}

    def read(self, text: str) -> int:
        """Return milliseconds since 1970, what is finer cut off; raises `ValueError`."""
        whole = self._seconds.get(text[:19])
        if whole is None:
            whole = self._learn(text[:19])
        rest = text[19:]
        if rest == "Z":
            return whole
        if len(rest) > 4 and rest[0] == "." and rest[-1] == "Z" and rest[1:-1].isdigit() and rest.isascii():
            return whole + int(rest[1:4])
        found = _REST.fullmatch(rest)
        if found is None:
            lost = ": + is written %2B in a URL" if " " in rest else ""
            raise ValueError(f"{text[:60]!r} is no time such as 2025-01-31T08:00:00Z{lost}")
        fraction, _, sign, hours, minutes = found.groups()
        if fraction:
            whole += int(fraction[:3].ljust(3, "0"))
        if sign:
            offset = (int(hours) * 60 + int(minutes)) * 60_000
            whole -= -offset if sign == "-" else offset
        return whole

    def _learn(self, text: str) -> int:
        if _WHOLE.fullmatch(text) is None:
            raise ValueError(f"{text!r} is no time such as 2025-01-31T08:00:00Z")
        try:
            seconds = datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()
        except ValueError as e:
            raise ValueError(f"{text!r} is no time: {e}") from None
        if len(self._seconds) >= SECONDS_KEPT:
            self._seconds.clear()
        found = self._seconds[text] = int(seconds) * 1000
        return found


def read_time(text: str) -> int:
    """Return milliseconds since 1970; raises `ValueError`."""
    return TimeReader().read(text)


def write_time(time_ms: int) -> str:
    """Return a time in RFC 3339, milliseconds as a fraction where there are any."""
    return write_times(np.array([time_ms], np.int64))[0].replace(".000Z", "Z")


def write_times(times_ms: NDArray[np.int64]) -> list[str]:
    """Return times in RFC 3339, all with three decimals."""
    return [f"{text}Z" for text in np.datetime_as_string(times_ms.astype("datetime64[ms]"), unit="ms").tolist()]


def read_duration(text: str) -> float:
    """Return milliseconds of a duration of Go, `1m30s` or `250ms`; raises `ValueError`."""
    if len(text) > _DURATION_CHARACTERS_MAX:
        raise ValueError(f"{text[:60]!r}... is longer than a duration such as 15s or 1m30s can be")
    parts = _DURATION.findall(text)
    if not parts or "".join(parts) != text:
        raise ValueError(f"{text[:60]!r} is no duration such as 15s or 1m30s")
    total = 0.0
    for part in parts:
        unit = part.lstrip("0123456789.")
        total += float(part.removesuffix(unit)) * _UNIT_MS[unit]
    return total


def write_duration(milliseconds: int) -> str:
    """Return a duration as Go writes it: `1h2m3.5s`, `0s`."""
    seconds, rest = divmod(max(milliseconds, 0), 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    if not (hours or minutes or seconds) and rest:
        return f"{rest}ms"
    fraction = f".{rest:03}".rstrip("0") if rest else ""
    head = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{head}{seconds}{fraction}s"
