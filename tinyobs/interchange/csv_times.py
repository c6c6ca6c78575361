"""Times of a CSV column -> milliseconds, many at once: numbers in four units, and RFC 3339."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..exposition.floats import printable
from .csv_columns import TimeForm
from .go_layouts import GoLayout
from .numbers import Faults, read_integers, read_seconds, read_values, time_faults

Times = NDArray[np.int64]

_PER_MS: Final = {TimeForm.MS: 1, TimeForm.US: 1000, TimeForm.NS: 1_000_000}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_UTC_ODD: Final = b"-:.tT Z"
_RFC3339_BYTES: Final = (19, 35)


def read_times(texts: Sequence[bytes], form: TimeForm | GoLayout) -> tuple[Times, Faults]:
    """Return int64[n] in ms, rounded down (decimal seconds and milliseconds to the nearest), and the faults."""
    if isinstance(form, GoLayout):
        times, faults = form.read_all(texts)
    elif form is TimeForm.RFC3339:
        times, faults = _read_rfc3339(texts)
    elif form is TimeForm.S:
        times, faults = _read_whole_seconds(texts) or read_seconds(texts)
    else:
        times, faults = read_integers(texts)
        if faults and form is TimeForm.MS:
            times, faults = _read_decimal(texts)
        times //= _PER_MS[form]
    for i in time_faults(times).tolist():
        faults.setdefault(i, f"a time that cannot be: {printable(texts[i])}")
    return times, faults


def _read_whole_seconds(texts: Sequence[bytes]) -> tuple[Times, Faults] | None:
    if not b"".join(texts).isdigit():
        return None
    times, faults = read_integers(texts)
    good = times < 1 << 50
    for i in np.flatnonzero(~good).tolist():
        faults[i] = f"a time that cannot be: {printable(texts[i])}"
    return np.where(good, times, 0) * 1000, faults


def _read_decimal(texts: Sequence[bytes]) -> tuple[Times, Faults]:
    values, faults = read_values(texts)
    good = np.abs(values) < 1 << 60
    for i in np.flatnonzero(~good).tolist():
        faults.setdefault(i, f"a time that cannot be: {printable(texts[i])}")
    return np.rint(np.where(good, values, 0)).astype(np.int64), faults


def _read_rfc3339(texts: Sequence[bytes]) -> tuple[Times, Faults]:
    quick = _read_utc(texts)
    if quick is not None:
        return quick, {}
    times = np.zeros(len(texts), np.int64)
    faults: Faults = {}
    for i, text in enumerate(texts):
        try:
            times[i] = _read_one(text)
        except ValueError:
            faults[i] = f"not a time in RFC 3339: {printable(text)}"
    return times, faults


def _read_utc(texts: Sequence[bytes]) -> Times | None:
    """Return the times where all are in UTC and of one length, as a program writes them."""
    size = len(texts[0]) if texts else 0
    joined = b"".join(texts)
    if not 20 <= size <= 30 or len(joined) != size * len(texts):
        return None
    columns = np.frombuffer(joined, np.uint8).reshape(-1, size)
    if (columns[:, -1] != ord("Z")).any() or (columns[:, (4, 7)] != ord("-")).any() or set(map(len, texts)) != {size}:
        return None
    if (columns[:, (13, 16)] != ord(":")).any() or not joined.translate(None, _UTC_ODD).isdigit():
        return None
    plain = np.ascontiguousarray(columns[:, :-1]).view(f"S{size - 1}").ravel()
    try:
        fine = plain.astype("datetime64[us]" if size > 25 else "datetime64[ms]")
    except ValueError:
        return None
    return fine.astype("datetime64[ms]").astype(np.int64)


def _read_one(text: bytes) -> int:
    if not _RFC3339_BYTES[0] <= len(text) <= _RFC3339_BYTES[1] or text[4:5] != b"-":
        raise ValueError("not RFC 3339")
    moment = datetime.fromisoformat(text.decode("ascii").upper())
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    span = moment - _EPOCH
    return (span.days * 86_400 + span.seconds) * 1000 + span.microseconds // 1000
