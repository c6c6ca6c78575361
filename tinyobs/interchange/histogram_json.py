"""A native histogram as a JSON object: every field of the model by its name, exact.

    {"schema":0,"zero_threshold":0.001,"zero_count":1,"count":7,"sum":12.5,"positive_spans":[[0,2]],
     "positive_buckets":[4,2],"integer":true,"reset_hint":"no"}

Buckets are absolute counts.  Left out are empty lists, `"integer":false` and `"reset_hint":"unknown"`.  Floats that JSON
cannot write are texts, as among values (`json_lines_reader.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from ..exposition.json import dump
from ..model.histogram_checks import fault_of
from ..model.histograms import Histogram, ResetHint
from ..model.staleness import NORMAL_NAN, STALE_NAN, is_stale_value
from .numbers import STALE

_HINTS: Final = {hint.name.lower(): hint for hint in ResetHint}
_WORDS: Final = {
    "Infinity": float("inf"),
    "+Inf": float("inf"),
    "-Infinity": float("-inf"),
    "-Inf": float("-inf"),
    "NaN": NORMAL_NAN,
    STALE: STALE_NAN,
}
_COUNT_MAX: Final = (1 << 64) - 1


def read_float(value: Any) -> float:
    """Return the float of a JSON value: a number, null for NaN, or a word; raises `ValueError`."""
    if value is None:
        return NORMAL_NAN
    if isinstance(value, str):
        word = _WORDS.get(value)
        if word is None:
            raise ValueError(f"not a number: {dump(value[:64])}")
        return word
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"not a number: {dump(value)[:64]}")
    try:
        number = float(value)
    except OverflowError:
        raise ValueError("a number out of range") from None
    return number if number == number else NORMAL_NAN


def write_float(value: float) -> str:
    """Return a float as JSON."""
    if value != value:
        return f'"{STALE}"' if is_stale_value(value) else "null"
    if value in (float("inf"), float("-inf")):
        return '"Infinity"' if value > 0 else '"-Infinity"'
    text = repr(float(value))
    return text if text == "-0.0" else text.removesuffix(".0")


def read_histogram(plain: Any) -> Histogram:
    """Return the histogram of a decoded JSON object; raises `ValueError` where it is none or inconsistent."""
    if not isinstance(plain, dict):
        raise ValueError("a histogram is a JSON object")
    is_integer = plain.get("integer", False) is True
    hint = _HINTS.get(str(plain.get("reset_hint", "unknown")))
    schema = plain.get("schema")
    if hint is None or not isinstance(schema, int) or isinstance(schema, bool):
        raise ValueError("a histogram needs a schema, and a reset_hint that exists")
    count = _integer_count if is_integer else read_float
    h = Histogram(
        schema,
        read_float(plain.get("zero_threshold", 0)),
        count(plain.get("zero_count", 0)),
        count(plain.get("count", 0)),
        read_float(plain.get("sum", 0)),
        _spans(plain.get("positive_spans", ())),
        tuple(count(b) for b in _list(plain.get("positive_buckets", ()))),
        _spans(plain.get("negative_spans", ())),
        tuple(count(b) for b in _list(plain.get("negative_buckets", ()))),
        tuple(read_float(b) for b in _list(plain.get("custom_values", ()))),
        hint,
        is_integer,
    )
    fault = fault_of(h)
    if fault:
        raise ValueError(fault)
    return h


def write_histogram(h: Histogram) -> str:
    """Return a histogram as a JSON object."""
    count = _write_count if h.is_integer else write_float
    parts = [f'"schema":{h.schema}', f'"zero_threshold":{write_float(h.zero_threshold)}']
    parts += [f'"zero_count":{count(h.zero_count)}', f'"count":{count(h.count)}', f'"sum":{write_float(h.sum)}']
    sides = (("positive", h.positive_spans, h.positive_buckets), ("negative", h.negative_spans, h.negative_buckets))
    for side, spans, buckets in sides:
        if spans:
            inside = ",".join(f"[{offset},{length}]" for offset, length in spans)
            parts.append(f'"{side}_spans":[{inside}],"{side}_buckets":[{",".join(map(count, buckets))}]')
    if h.custom_values:
        parts.append(f'"custom_values":[{",".join(map(write_float, h.custom_values))}]')
    if h.is_integer:
        parts.append('"integer":true')
    if h.reset_hint is not ResetHint.UNKNOWN:
        parts.append(f'"reset_hint":"{h.reset_hint.name.lower()}"')
    return "{" + ",".join(parts) + "}"


def _write_count(count: float) -> str:
    return str(int(count))


def _integer_count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _COUNT_MAX:
        raise ValueError("a count of an integer histogram is an integer")
    return value


def _list(value: Any) -> Sequence[Any]:
    if not isinstance(value, list | tuple):
        raise ValueError("buckets, spans and custom values are lists")
    return value


def _spans(value: Any) -> tuple[tuple[int, int], ...]:
    spans = []
    for span in _list(value):
        if not (isinstance(span, list) and len(span) == 2 and all(type(n) is int for n in span)):
            raise ValueError("a span is [offset, length]")
        offset, length = span
        if not (-(1 << 31) <= offset < 1 << 31 and 0 <= length < 1 << 32):
            raise ValueError("a span out of range")
        spans.append((offset, length))
    return tuple(spans)
