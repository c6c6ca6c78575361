r"""JSON text of query results: `[1435781451.781,"1.5"]` for millions of points, in bulk.

Only the values of a result are written here; the envelope around them is the web layer's.  Source of the format:
prometheus web/api/v1/json_codec.go and util/jsonutil/marshal.go (3.5).  A value is a JSON string in the shortest
decimal that reads back as the same float, without an exponent from 1e-6 up to 1e21; a time is seconds, with three
decimals where there are milliseconds.

The speed rests on three facts.  Python's `repr` of a float is the same shortest decimal and differs only in ".0" and
in the range of plain notation; so few values need a second look.  Integral values, the most frequent kind, are seven
times faster to print as integers.  Series of a range query share their timestamps, so one template serves them all.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..model.columns import SeriesColumns
from ..model.labels import Labels

CHUNK_POINTS: Final = 1 << 16
"""Points written per yielded chunk, about 2 MB of text."""

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
_INTEGER_MAX: Final = 2.0**53


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
        text = self[pair] = f"{dump(pair[0])}:{dump(pair[1])}"
        return text


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
    """Return the texts of float64[n] in bulk; the same as `format_float` of each."""
    if not len(values):
        return []
    integral, special = _kinds(values)
    if integral.all():
        return list(map(str, values.astype(np.int64).tolist()))
    texts = (repr(values.tolist())[1:-1] + ", ").replace(".0, ", ", ").split(", ")
    texts.pop()
    for i in np.flatnonzero(special).tolist():
        texts[i] = format_float(float(values[i]))
    return texts


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
        times = map(_cached_time, columns.timestamps_ms[first:last].tolist())
        values = format_floats(columns.values[first:last])
        names = map(labels.write, columns.labels[first:last])
        text = ",".join([f'{{"metric":{m},"value":[{t},"{v}"]}}' for m, t, v in zip(names, times, values, strict=True)])
        yield f",{text}" if first else text
    yield "]"


def matrix(columns: SeriesColumns) -> Iterator[str]:
    """Yield the array of a matrix in chunks of about `CHUNK_POINTS` points."""
    yield "["
    pending: list[str] = []
    points = 0
    writer, names = _SeriesWriter(), LabelWriter()
    for i in range(len(columns)):
        labels, times, values = columns.one(i)
        pending.append(f'{"," if i else ""}{{"metric":{names.write(labels)},"values":[')
        for at in range(0, len(values), CHUNK_POINTS):
            part = slice(at, at + CHUNK_POINTS)
            pending.append("," if at else "")
            pending.append(writer.points(times[part], values[part]))
            points += len(values[part])
            if points >= CHUNK_POINTS:
                yield "".join(pending)
                pending.clear()
                points = 0
        pending.append("]}")
    pending.append("]")
    yield "".join(pending)


class _SeriesWriter:
    """Writes the points of one series after another, keeping the template of the timestamps that they share."""

    def __init__(self) -> None:
        self._times: NDArray[np.int64] = np.empty(0, np.int64)
        self._template = ""

    def points(self, times: NDArray[np.int64], values: NDArray[np.float64]) -> str:
        """Return `[t,"v"],[t,"v"]`."""
        if not np.array_equal(times, self._times):
            self._times = times
            self._template = ",".join([f'[{_cached_time(t)},"%s"]' for t in times.tolist()])
        integral, special = _kinds(values)
        if integral.all():
            return self._template % tuple(values.astype(np.int64).tolist())
        if special.any():
            return self._template % tuple(format_floats(values))
        # Every value is followed by a quote, so ".0" can be cut for all of them at once.
        return (self._template % tuple(values.tolist())).replace('.0"', '"')


def _kinds(values: NDArray[np.float64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return where a value prints as an integer, and where `repr` differs in more than ".0"."""
    size = np.abs(values)
    with np.errstate(invalid="ignore"):
        integral = (np.trunc(values) == values) & (size < _INTEGER_MAX)
        plain = ((size >= 1e-4) & (size < 1e16)) | (size < 1e-6) | ((size >= 1e21) & (size < np.inf))
    integral &= ~(np.signbit(values) & (values == 0.0))
    return integral, ~plain


def _without_exponent(text: str) -> str:
    """Return "1.5e-05" as "0.000015" and "1.5e+16" as "15000000000000000"."""
    mantissa, _, exponent = text.partition("e")
    sign = "-" if mantissa.startswith("-") else ""
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    digits, power = whole + fraction, int(exponent)
    if power < 0:
        return f"{sign}0.{'0' * (-power - 1)}{digits}"
    return sign + digits.ljust(power + 1, "0")


@lru_cache(maxsize=1 << 14)
def _cached_time(time_ms: int) -> str:
    return format_time(time_ms)
