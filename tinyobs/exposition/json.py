r"""JSON text of query results: `[1435781451.781,"1.5"]` for millions of points, in bulk.

Only the values of a result are written here; the envelope around them is the web layer's.  Source of the format:
prometheus web/api/v1/json_codec.go and util/jsonutil/marshal.go (3.5).  A value is a JSON string in the shortest
decimal that reads back as the same float, without an exponent from 1e-6 up to 1e21; a time is seconds, with three
decimals where there are milliseconds.

The speed rests on two facts.  orjson writes the shortest decimals of many floats at once, nearly as they have to be.
Series of a range query share their timestamps, so that one template serves them all.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from ..model.columns import SeriesColumns
from ..model.labels import Labels

CHUNK_POINTS: Final = 1 << 14
"""Points written per yielded chunk, about half a MB of text: the arrays of a chunk fit the cache."""

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode

PAIRS_KEPT: Final = 4096
"""Label pairs whose text is kept from one answer to the next: about a megabyte."""


def dump(value: Any) -> str:
    """Return compact JSON of plain Python values; text stays as it is, lone surrogates become U+FFFD."""
    text = _encode(value)
    return text if text.isascii() else text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")


class LabelWriter:
    """Writes label sets as JSON objects; each distinct pair is escaped once in the life of the writer."""

    def __init__(self) -> None:
        self._pairs = _PairTexts()

    def write(self, labels: Labels) -> str:
        """Return a label set as a JSON object."""
        pairs = self._pairs
        return "{" + ",".join([pairs[p] for p in labels]) + "}"


class _PairTexts(dict[tuple[str, str], str]):
    def __missing__(self, pair: tuple[str, str]) -> str:
        text = self[pair] = _pair_text(pair)
        return text


@lru_cache(PAIRS_KEPT)
def _pair_text(pair: tuple[str, str]) -> str:
    return f"{dump(pair[0])}:{dump(pair[1])}"


def format_float(value: float) -> str:
    """Return one float as Prometheus writes it: "1", "0.00001", "1e-07", "+Inf", "NaN"."""
    if value != value:
        return "NaN"
    text = repr(value)
    if text.endswith("inf"):
        return "-Inf" if value < 0 else "+Inf"
    if "e" in text and 1e-6 <= abs(value) < 1e21:
        return _without_exponent(text)
    return text.removesuffix(".0")


def format_plain(value: float) -> str:
    """Return one float without an exponent whatever its size, as scalars and syntax trees have it."""
    text = format_float(value)
    return _without_exponent(text) if "e" in text else text


def format_floats(values: NDArray[np.float64]) -> list[str]:
    """Return the texts of float64[n] in bulk; the same as `format_float` of each.

    orjson finds the same shortest digits as `repr`, many times as fast; it differs in ".0" behind integral values, in
    exponents, and in having null for what JSON has no number for.
    """
    if not len(values):
        return []
    text = orjson.dumps(np.ascontiguousarray(values, np.float64), option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].decode()
    found = text.replace(".0,", ",").removesuffix(".0").split(",")
    if "e" in text or "n" in text:
        for i, each in enumerate(found):
            if "e" in each or "n" in each:
                found[i] = format_float(float(values[i]))
    return found


def format_time(time_ms: int) -> str:
    """Return milliseconds as seconds: "1435781451.781", "1.100", "0", "-1.500"."""
    seconds, fraction = divmod(abs(time_ms), 1000)
    sign = "-" if time_ms < 0 else ""
    return f"{sign}{seconds}.{fraction:03}" if fraction else f"{sign}{seconds}"


def scalar(time_ms: int, value: float) -> str:
    """Return the pair of a scalar result, whose value never has an exponent (prometheus promql/value.go `Scalar`)."""
    return f'[{format_time(time_ms)},"{format_plain(value)}"]'


def string(time_ms: int, text: str) -> str:
    """Return the pair of a string result."""
    return f"[{format_time(time_ms)},{dump(text)}]"


def vector(columns: SeriesColumns) -> Iterator[str]:
    """Yield the array of an instant vector in chunks; every series has exactly one sample."""
    labels = LabelWriter()
    yield "["
    for first in range(0, len(columns), CHUNK_POINTS):
        last = min(first + CHUNK_POINTS, len(columns))
        times = map(lru_cache(1000)(format_time), columns.timestamps_ms[first:last].tolist())
        values = format_floats(columns.values[first:last])
        names = map(labels.write, columns.labels[first:last])
        text = ",".join([f'{{"metric":{m},"value":[{t},"{v}"]}}' for m, t, v in zip(names, times, values, strict=True)])
        yield f",{text}" if first else text
    yield "]"


def matrix(columns: SeriesColumns) -> Iterator[str]:
    """Yield the array of a matrix in chunks of about `CHUNK_POINTS` points: of many series, or of a part of one."""
    names, template = LabelWriter(), _Template()
    offsets = columns.offsets
    yield "["
    first = 0
    while first < len(columns):
        start = int(offsets[first])
        last = max(first + 1, int(np.searchsorted(offsets, start + CHUNK_POINTS, side="right")) - 1)
        if first:
            yield ","
        if int(offsets[last]) - start > CHUNK_POINTS:
            yield f'{{"metric":{names.write(columns.labels[first])},"values":['
            yield from _long_series(columns, start, int(offsets[last]), template)
            yield "]}"
        else:
            values = format_floats(columns.values[start : int(offsets[last])])
            pieces = []
            for i in range(first, last):
                a, b = int(offsets[i]), int(offsets[i + 1])
                points = template.of(columns.timestamps_ms[a:b]) % tuple(values[a - start : b - start])
                pieces.append(f'{{"metric":{names.write(columns.labels[i])},"values":[{points}]}}')
            yield ",".join(pieces)
        first = last
    yield "]"


def _long_series(columns: SeriesColumns, start: int, end: int, template: _Template) -> Iterator[str]:
    """Yield the points from `start` to `end` of one series."""
    for a in range(start, end, CHUNK_POINTS):
        b = min(a + CHUNK_POINTS, end)
        points = template.of(columns.timestamps_ms[a:b]) % tuple(format_floats(columns.values[a:b]))
        yield f",{points}" if a > start else points


class _Template:
    """`[t,"%s"],[t,"%s"]` for the timestamps of a series, kept for the next one, which mostly has the same."""

    def __init__(self) -> None:
        self._times: NDArray[np.int64] = np.empty(0, np.int64)
        self._text = ""

    def of(self, times: NDArray[np.int64]) -> str:
        """Return the template for these timestamps."""
        if not np.array_equal(times, self._times):
            self._times = times
            self._text = _template(times)
        return self._text


def _template(times: NDArray[np.int64]) -> str:
    """Return the template for some timestamps; written at once where all or none of them are whole seconds."""
    if len(times) and int(times.min()) >= 0:
        seconds, rest = np.divmod(times, 1000)
        if not rest.any():
            return (',[%d,"%%s"]' * len(times) % tuple(seconds.tolist()))[1:]
        if rest.all():
            both = np.column_stack((seconds, rest)).ravel().tolist()
            return (',[%d.%03d,"%%s"]' * len(times) % tuple(both))[1:]
    return ",".join([f'[{format_time(t)},"%s"]' for t in times.tolist()])


def _without_exponent(text: str) -> str:
    """Return "1.5e-05" as "0.000015" and "1.5e+16" as "15000000000000000"."""
    mantissa, _, exponent = text.partition("e")
    sign = "-" if mantissa.startswith("-") else ""
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    digits, power = whole + fraction, int(exponent)
    if power < 0:
        return f"{sign}0.{'0' * (-power - 1)}{digits}"
    return sign + digits.ljust(power + 1, "0")
