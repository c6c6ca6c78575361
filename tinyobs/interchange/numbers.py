"""Values and times of text formats, many at a time: exact both ways.

A value is the shortest decimal that reads back as the same float (`exposition/json.py`).  NaN is "NaN", whatever its
bits, but for the staleness marker, which is "StaleNaN" where a format has room for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..exposition.floats import parse_float, parse_floats, printable
from ..exposition.json import format_floats
from ..model.histograms import without_handles
from ..model.staleness import STALE_NAN, is_stale
from .chunks import TIME_MS_MAX
from .decimals import read_decimals

STALE: Final = "StaleNaN"
"""How text formats write the staleness marker."""

_DIGITS_MAX: Final = 15
"""Digits of numbers that are read as columns."""
_DECIMALS: Final = 3

Faults = dict[int, str]
"""By position: why a text is refused."""


def read_values(texts: Sequence[bytes]) -> tuple[NDArray[np.float64], Faults]:
    """Return float64[n] of the texts, and the faults; a faulty one has value 0."""
    quick = read_decimals(texts)
    if quick is None:
        return _read_floats(texts)
    values, others = quick
    if not len(others):
        return values, {}
    at = others.tolist()
    values[others], faults = _read_floats([texts[i] for i in at])
    return values, {at[i]: reason for i, reason in faults.items()}


def write_values(values: NDArray[np.float64]) -> list[str]:
    """Return the texts of values."""
    texts = format_floats(without_handles(values))
    for i in np.flatnonzero(is_stale(values)).tolist():
        texts[i] = STALE
    return texts


def read_integers(texts: Sequence[bytes]) -> tuple[NDArray[np.int64], Faults]:
    """Return int64[n] of decimal integers, and the faults."""
    quick = _fixed_digits(texts)
    if quick is not None:
        return quick, {}
    try:
        joined = b",".join(texts)
        if not joined.translate(None, b"0123456789,-") and b"-" not in joined[1:].replace(b",-", b","):
            found = np.fromiter(map(int, texts), np.int64, len(texts))
            return found, {}
    except (ValueError, OverflowError):
        pass
    return _each(texts, _integer, np.dtype(np.int64))


def read_seconds(texts: Sequence[bytes]) -> tuple[NDArray[np.int64], Faults]:
    """Return times in ms, int64[n], of decimal seconds, rounded to the nearest millisecond."""
    quick = _fixed_seconds(texts)
    if quick is not None:
        return quick, {}
    seconds, faults = read_values(texts)
    with np.errstate(invalid="ignore"):
        times = np.rint(seconds * 1000)
        good = np.abs(times) <= TIME_MS_MAX
    for i in np.flatnonzero(~good).tolist():
        faults.setdefault(i, f"a time that cannot be: {printable(texts[i])}")
    return np.where(good, times, 0).astype(np.int64), faults


def write_seconds(times_ms: NDArray[np.int64]) -> list[str]:
    """Return times as seconds with three decimals."""
    if len(times_ms) and int(times_ms.min()) >= 0:
        seconds, rest = np.divmod(times_ms, 1000)
        both = np.column_stack((seconds, rest)).ravel().tolist()
        return ("%d.%03d," * len(times_ms) % tuple(both)).split(",")[:-1]
    return [f"{'-' if t < 0 else ''}{abs(t) // 1000}.{abs(t) % 1000:03d}" for t in times_ms.tolist()]


def time_faults(times_ms: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the positions of times that cannot be."""
    return np.flatnonzero((times_ms > TIME_MS_MAX) | (times_ms < -TIME_MS_MAX))


def _fixed_digits(texts: Sequence[bytes]) -> NDArray[np.int64] | None:
    """Return the integers where all have the same number of digits, as the times of an era do; else None."""
    size = len(texts[0]) if texts else 0
    if not 0 < size <= _DIGITS_MAX or list(map(len, texts)).count(size) != len(texts):
        return None
    digits = np.frombuffer(b"".join(texts), np.uint8).reshape(-1, size) - np.uint8(ord("0"))
    return None if digits.max() > 9 else _sum(digits)


def _fixed_seconds(texts: Sequence[bytes]) -> NDArray[np.int64] | None:
    """Return milliseconds where all are seconds of the same length with three decimals; else None."""
    size = len(texts[0]) if texts else 0
    if not _DECIMALS + 1 < size <= _DIGITS_MAX or list(map(len, texts)).count(size) != len(texts):
        return None
    columns = np.frombuffer(b"".join(texts), np.uint8).reshape(-1, size)
    point = size - _DECIMALS - 1
    if (columns[:, point] != ord(".")).any():
        return None
    digits = np.delete(columns, point, axis=1) - np.uint8(ord("0"))
    return None if digits.max() > 9 else _sum(digits)


def _sum(digits: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the numbers of rows of up to 15 digits; floats hold them exactly."""
    powers = 10.0 ** np.arange(digits.shape[1] - 1, -1, -1)
    return (digits @ powers).astype(np.int64)


def _read_floats(texts: Sequence[bytes]) -> tuple[NDArray[np.float64], Faults]:
    try:
        return parse_floats(texts), {}
    except ValueError:
        return _each(texts, _value, np.dtype(np.float64))


def _value(text: bytes) -> float:
    return STALE_NAN if text == STALE.encode() else parse_float(text)


def _integer(text: bytes) -> int:
    try:
        number = int(text) if text.lstrip(b"-").isdigit() else None
    except ValueError:
        number = None
    if number is None or not -(1 << 63) <= number < 1 << 63:
        raise ValueError(f"not an integer: {printable(text)}")
    return number


def _each(texts: Sequence[bytes], read: Callable[[bytes], float], dtype: np.dtype) -> tuple[NDArray, Faults]:  # type: ignore[type-arg]
    found = np.zeros(len(texts), dtype)
    faults: Faults = {}
    for i, text in enumerate(texts):
        try:
            found[i] = read(text)
        except ValueError as e:
            faults[i] = str(e)
    return found, faults
