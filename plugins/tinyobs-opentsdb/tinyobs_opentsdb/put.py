"""OpenTSDB's `/api/put`: a data point or a list of them, as JSON."""

from __future__ import annotations

import math
from typing import Any, Final

import orjson
from tinyobs.errors import WireError
from tinyobs.exposition.floats import parse_float
from tinyobs.exposition.pushed import Pushed

from .points import MALFORMED, Points, SeriesMemory, time_ms

FAILED_SHOWN_MAX: Final = 100
"""Data points that an answer with details shows."""

Failed = list[tuple[Any, str]]


def read_put(body: bytes, memory: SeriesMemory) -> tuple[Pushed, Failed]:
    """Return the data points of a body, and (data point, reason) of the first that failed; raises `WireError`."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as e:
        raise WireError(f"not JSON: {e.msg}", e.pos) from None
    points = Points()
    failed: Failed = []
    for index, point in enumerate(found if isinstance(found, list) else [found]):
        try:
            _take(point, memory, points)
        except (ValueError, TypeError, OverflowError) as e:
            points.faults.add(MALFORMED, f"data point {index}: {e}")
            if len(failed) < FAILED_SHOWN_MAX:
                failed.append((point, str(e)))
    return points.pushed(), failed


def _take(point: Any, memory: SeriesMemory, points: Points) -> None:
    if not isinstance(point, dict):
        raise ValueError("a data point is an object")
    metric, tags = point.get("metric"), point.get("tags") or {}
    if not isinstance(metric, str):
        raise ValueError("a data point has no metric")
    if not isinstance(tags, dict):
        raise ValueError("tags are an object")
    at = point.get("timestamp")
    if isinstance(at, bool) or not isinstance(at, int | float | str):
        raise ValueError("a data point has no timestamp")
    time = time_ms(at)
    value = _value(point.get("value"))
    for name, tag in tags.items():
        if not isinstance(tag, str):
            tags = {**tags, name: _text(tag)}  # 1, 1.0 and true would be one key
    key = (metric, *tags.items())
    ref = memory.find(key)
    if ref is None:
        ref = memory.remember(key, metric, tags.items())
    points.add(ref, time, value)


def _value(found: Any) -> float:
    if isinstance(found, bool) or not isinstance(found, int | float | str):
        raise ValueError("a data point has no value")
    value = parse_float(found.encode()) if isinstance(found, str) else float(found)
    if math.isnan(value):
        raise ValueError("a value that is not a number")
    return value


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("the value of a tag must be a text")
    return str(value)
