"""The tails of sample lines (value, timestamp, exemplar) of a whole body at once.

Bodies with bare values and bodies in which every sample has a timestamp are read in bulk; one that mixes forms or has
exemplars is read tail by tail with the readers of `lexing.py`, which also decide what is an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from .floats import parse_floats
from .lexing import ExemplarText, Malformed, read_openmetrics_tail, read_text_tail

NO_TIMESTAMP: Final = -(1 << 63)
"""Stands in `timestamps_ms` for a sample without a timestamp."""

_SECONDS_MAX: Final = 9e15
_DIGITS_MAX: Final = 18


class MalformedTail(Malformed):
    """Tail number `index` is malformed at its byte `at`."""

    def __init__(self, reason: str, at: int, index: int) -> None:
        super().__init__(reason, at)
        self.index = index


@frozen(eq=False)
class Tails:
    """values: float64[n].  timestamps_ms: int64[n] with `NO_TIMESTAMP`, or None.  exemplars: with their index."""

    values: NDArray[np.float64]
    timestamps_ms: NDArray[np.int64] | None = None
    exemplars: tuple[tuple[int, ExemplarText], ...] = ()


def read_tails(tails: Sequence[bytes], openmetrics: bool, joined: bytes | None = None) -> Tails:
    """Return the columns of the tails; raises `MalformedTail` for the first one that is malformed.

    joined: the tails as one string, where the caller happens to have it.
    """
    try:
        return Tails(parse_floats(tails, joined))
    except ValueError:
        pass
    try:
        return _read_stamped(tails, openmetrics)
    except ValueError:
        return _read_each(tails, openmetrics)


def _read_stamped(tails: Sequence[bytes], openmetrics: bool) -> Tails:
    """Read tails that all are `value timestamp`; raises `ValueError` when one is not."""
    tokens, _, stamps = zip(*[t.partition(b" ") for t in tails], strict=True)
    if openmetrics:
        seconds = parse_floats(stamps)
        if not (np.abs(seconds) < _SECONDS_MAX).all():
            raise ValueError("not a timestamp")
        return Tails(parse_floats(tokens), (seconds * 1000).astype(np.int64))
    if not b"".join(stamps).isdigit() or max(map(len, stamps)) > _DIGITS_MAX:
        raise ValueError("not a timestamp")
    return Tails(parse_floats(tokens), np.fromiter(map(int, stamps), np.int64, len(stamps)))


def _read_each(tails: Sequence[bytes], openmetrics: bool) -> Tails:
    values = np.empty(len(tails), np.float64)
    times = np.full(len(tails), NO_TIMESTAMP, np.int64)
    exemplars: list[tuple[int, ExemplarText]] = []
    for i, tail in enumerate(tails):
        try:
            if openmetrics:
                values[i], time, exemplar = read_openmetrics_tail(tail)
                if exemplar is not None:
                    exemplars.append((i, exemplar))
            else:
                values[i], time = read_text_tail(tail)
        except Malformed as e:
            raise MalformedTail(e.reason, e.at, i) from None
        if time is not None:
            times[i] = time
    stamped = bool((times != NO_TIMESTAMP).any())
    return Tails(values, times if stamped else None, tuple(exemplars))
