"""Timestamps of the Influx line protocol -> milliseconds."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

I64 = NDArray[np.int64]


class Precision(StrEnum):
    """What a timestamp counts."""

    AUTO = "auto"
    """The unit in which it lies between 1973 and 5138, else seconds: as VictoriaMetrics does without a precision."""
    NANOSECONDS = "ns"
    MICROSECONDS = "us"
    MILLISECONDS = "ms"
    SECONDS = "s"
    MINUTES = "m"
    HOURS = "h"


PRECISIONS: Final = {str(p): p for p in Precision} | {
    "n": Precision.NANOSECONDS,
    "u": Precision.MICROSECONDS,
    "µ": Precision.MICROSECONDS,
}
"""The names that clients use, with those of InfluxDB 1."""

_DIVISORS: Final = {Precision.NANOSECONDS: 1_000_000, Precision.MICROSECONDS: 1000, Precision.MILLISECONDS: 1}
_FACTORS: Final = {Precision.SECONDS: 1000, Precision.MINUTES: 60_000, Precision.HOURS: 3_600_000}
_UNITS: Final = ((10**17, 1_000_000), (10**14, 1000), (10**11, 1))
"""From this number on a timestamp counts so many to a millisecond."""
_SECONDS_MAX: Final = 10**11
_TIME_MAX: Final = (1 << 63) - 1


def to_ms(times: I64, precision: Precision, now_ms: int, trim_ms: int = 1) -> tuple[I64, NDArray[np.bool_]]:
    """Return (milliseconds, which of them can be told); 0 means now.

    Fractions are cut off, and what is left when dividing by `trim_ms` as well.  Now is cut to whole units.
    """
    good = np.ones(len(times), np.bool_)
    if precision in _FACTORS:
        factor = _FACTORS[precision]
        now_ms -= now_ms % factor
        good = np.abs(times) <= _TIME_MAX // factor
        out = np.where(good, times, 0) * factor
    elif precision in _DIVISORS:
        out = _divided(times, _DIVISORS[precision])
    else:
        out = _detected(times)
    out[times == 0] = now_ms
    if trim_ms > 1:
        out -= np.fmod(out, trim_ms)
    return out, good


def one_to_ms(time: int, precision: Precision, now_ms: int, trim_ms: int = 1) -> int | None:
    """Do as `to_ms` does for a single timestamp that is not negative; None where it cannot be told."""
    if precision in _FACTORS:
        factor = _FACTORS[precision]
        out = time * factor if time else now_ms - now_ms % factor
        if out > _TIME_MAX:
            return None
    elif not time:
        out = now_ms
    elif precision in _DIVISORS:
        out = time // _DIVISORS[precision]
    else:
        out = next((time // divisor for low, divisor in _UNITS if time >= low), time * 1000)
    return out - out % trim_ms


def _detected(times: I64) -> I64:
    sizes = np.abs(times)
    lowest, highest = int(sizes.min(initial=_TIME_MAX)), int(sizes.max(initial=0))
    if lowest >= _UNITS[0][0]:  # nanoseconds, as nearly always
        return _divided(times, _UNITS[0][1])
    out = np.where(sizes < _SECONDS_MAX, times, 0) * 1000
    for (low, divisor), end in zip(_UNITS, (highest + 1, 10**17, 10**14), strict=True):
        chosen = (sizes >= low) & (sizes < end)
        if chosen.any():
            out[chosen] = _divided(times[chosen], divisor)
    return out


def _divided(times: I64, divisor: int) -> I64:
    """Divide and round towards zero."""
    if divisor == 1:
        return times.copy()
    if len(times) and int(times.min()) >= 0:
        return times // divisor
    quotients: I64 = np.sign(times) * (np.abs(times) // divisor)
    return quotients
