"""What stands behind the series in a line of Prometheus text that somebody pushes, where a target would not write it so.

    value [timestamp] [# {labels} value [timestamp]]        an exemplar, as in OpenMetrics
    value [timestamp] [# anything else]                     a comment

Timestamps are milliseconds, or seconds where they lie between plus and minus 2^31, with or without a fraction: the lines
of OpenMetrics that lost their content type on the way are read alike.  Source of the rule: VictoriaMetrics
lib/protoparser/prometheus/parser.go.  Bodies without any of this are read in bulk (`tails.py`).
"""

from __future__ import annotations

import re
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .floats import parse_float, printable
from .lexing import ExemplarText, Malformed, read_openmetrics_tail, read_text_tail

SECONDS_BELOW: Final = 1 << 31
"""Timestamps between minus this and this are seconds: until the year 2038, and from 25 January 1970 on if they were not."""
_TIME_MS_MAX: Final = float(1 << 62)
_PLAIN: Final = re.compile(rb"([^ \t]+)[ \t]*(?:([^ \t]+)[ \t]*)?\Z")
_BEFORE_EXEMPLAR: Final = b"0 # "


def read_pushed_tail(tail: bytes) -> tuple[float, int | None, ExemplarText | None]:
    """Return (value, timestamp in ms or None, exemplar or None); raises `Malformed`."""
    try:
        value, time = read_text_tail(tail)
    except Malformed:
        plain, hash_, rest = tail.partition(b"#")
        match = _PLAIN.match(plain)
        if match is None or not (hash_ or match[2]):
            raise
        value = _number(match[1], 0)
        time = None if match[2] is None else _time_ms(match[2], match.start(2))
        return value, time, _exemplar(rest, len(plain) + 1)
    if time is not None and time < SECONDS_BELOW:
        time *= 1000
    return value, time, None


def to_milliseconds(times: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return timestamps in ms, those that are seconds multiplied; others, also those that stand for none, as they are."""
    seconds = (times > -SECONDS_BELOW) & (times < SECONDS_BELOW)
    return np.where(seconds, times * 1000, times) if seconds.any() else times


def _time_ms(token: bytes, at: int) -> int:
    number = _number(token, at)
    time_ms = number * 1000 if abs(number) < SECONDS_BELOW else number
    if not abs(time_ms) < _TIME_MS_MAX:  # nor is NaN
        raise Malformed(f"timestamp out of range: {printable(token)}", at)
    return round(time_ms)


def _exemplar(text: bytes, at: int) -> ExemplarText | None:
    bare = text.lstrip(b" \t")
    if not bare.startswith(b"{"):
        return None
    try:
        return read_openmetrics_tail(_BEFORE_EXEMPLAR + bare.rstrip(b" \t"))[2]
    except Malformed as e:
        raise Malformed(e.reason, at + len(text) - len(bare) + max(e.at - len(_BEFORE_EXEMPLAR), 0)) from None


def _number(token: bytes, at: int) -> float:
    try:
        return parse_float(token)
    except ValueError as e:
        raise Malformed(str(e), at) from None
