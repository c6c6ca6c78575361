"""The newest exemplars of all series: a ring of bounded size, found again by series.

A new exemplar takes the place of the oldest one, whatever its series.  Which are taken in follows prometheus
tsdb/exemplar.go: one that equals the newest of its series is ignored; one that stands before it is refused, where
equal times are ordered by value and then by labels; so are labels that are too long.  One that stands before the newest
and is kept already is ignored, where upstream refuses it: a sender whose request was stored and its answer lost sends
all of it again.  Adding a second time what the ring has changes nothing, so that a log may hold it twice.

Kept are columns and the bytes of labels, about 150 bytes an exemplar.  The writer thread adds, any thread reads.
"""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Final

import numpy as np
from attrs import Factory, define

from ..model.exemplars import LABEL_CHARACTERS_MAX, Exemplar, ExemplarRefused
from .wal_exemplars import HAS_TIME, StoredExemplar, decode_labels, encode_labels

LABEL_BYTES_MAX: Final = 32 << 20
"""Bytes of labels that all exemplars may have together; beyond it the oldest go before the ring is full."""
REPEATED_MAX: Final = 128
"""Newest exemplars of a series among which one that is out of order is looked for."""
_NONE: Final = -1

Pending = dict[int, tuple[StoredExemplar, ...]]
"""The newest exemplars of each series, ascending, that are on their way into the ring."""


@define
class Judged:
    """The verdict on the exemplars of a batch."""

    accepted: list[StoredExemplar] = Factory(list)
    refused: Counter[ExemplarRefused] = Factory(Counter)


@define
class ExemplarFigures:
    """What the ring holds now.  newest_ms: time of the exemplar that came last, 0 without one."""

    count: int
    series: int
    newest_ms: int
    size_max: int


class ExemplarRing:
    """At most `size_max` exemplars; 0 keeps none."""

    def __init__(self, size_max: int) -> None:
        self._lock = threading.Lock()
        self._newest: dict[int, int] = {}
        """Number of the newest exemplar of each series; exemplars are numbered in order of their coming."""
        self._first = self._next = self._bytes = 0
        self._newest_ms = 0
        self._make(size_max)

    def _make(self, size_max: int) -> None:
        self.size_max = size_max
        self._refs = np.zeros(size_max, np.uint32)
        self._times = np.zeros(size_max, np.int64)
        self._values = np.zeros(size_max, np.float64)
        self._flags = np.zeros(size_max, np.uint8)
        self._before = np.zeros(size_max, np.int64)
        self._labels: list[bytes] = []

    # -- adding ------------------------------------------------------------------------------------------------

    def judge(self, exemplars: Iterable[Exemplar], pending: Pending) -> Judged:
        """Decide which exemplars are taken in, as if `pending` were in already; it is updated.

        They are taken in their order, whatever the order in which they stand: what comes at one time is never late.
        """
        judged, news = Judged(), []
        for e in exemplars:
            if not self.size_max:
                judged.refused[ExemplarRefused.DISABLED] += 1
            elif sum([len(n) + len(v) for n, v in e.labels]) > LABEL_CHARACTERS_MAX:
                judged.refused[ExemplarRefused.LABELS_TOO_LONG] += 1
            else:
                flags = HAS_TIME * e.has_time
                news.append(StoredExemplar(e.ref, e.timestamp_ms, e.value, flags, encode_labels(e.labels)))
        news.sort(key=_order)
        for new in news:
            before = pending.get(new.ref, ())
            if before:
                known: StoredExemplar | None = before[-1]
            else:
                with self._lock:
                    known = self._newest_of(new.ref)
            if known is not None:
                if _equal(known, new):
                    continue
                if _order(new) < _order(known):
                    if not self._is_kept(new, before):
                        judged.refused[ExemplarRefused.OUT_OF_ORDER] += 1
                    continue
            pending[new.ref] = (*before[1 - REPEATED_MAX :], new)
            judged.accepted.append(new)
        return judged

    def add(self, exemplars: Iterable[StoredExemplar]) -> None:
        """Take in exemplars that were judged."""
        with self._lock:
            if self.size_max:
                for e in exemplars:
                    self._add(e)

    def replay(self, exemplars: Iterable[StoredExemplar]) -> None:
        """Take in exemplars of the log, which may have been in it before."""
        with self._lock:
            if self.size_max:
                for e in exemplars:
                    known = self._newest_of(e.ref)
                    if known is None or (not _equal(known, e) and _order(e) >= _order(known)):
                        self._add(e)

    def resize(self, size_max: int) -> None:
        """Keep at most so many from now on; the newest stay."""
        with self._lock:
            kept = [self._at(i) for i in range(max(self._first, self._next - size_max), self._next)]
            self._newest.clear()
            self._first = self._next = self._bytes = 0
            self._make(size_max)
            for e in kept:
                self._add(e)

    # -- reading -----------------------------------------------------------------------------------------------

    def all(self) -> list[StoredExemplar]:
        """Return all exemplars in the order of their coming."""
        with self._lock:
            return [self._at(i) for i in range(self._first, self._next)]

    def refs(self) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
        """Return the series that have exemplars, ascending."""
        with self._lock:
            return np.sort(np.fromiter(self._newest, np.uint32, len(self._newest)))

    def of_series(self, ref: int, mint_ms: int, maxt_ms: int) -> tuple[Exemplar, ...]:
        """Return the exemplars of a series in a range of time, both ends included, ascending."""
        with self._lock:
            found = [e for e in self._chain(ref) if mint_ms <= e.time_ms <= maxt_ms]
        return tuple(
            [
                Exemplar(e.ref, decode_labels(e.labels), e.value, e.time_ms, bool(e.flags & HAS_TIME))
                for e in reversed(found)
            ]
        )

    def figures(self) -> ExemplarFigures:
        """Return the figures."""
        with self._lock:
            return ExemplarFigures(self._next - self._first, len(self._newest), self._newest_ms, self.size_max)

    # -- private -----------------------------------------------------------------------------------------------

    def _add(self, e: StoredExemplar) -> None:
        while self._next - self._first >= self.size_max or (
            self._first < self._next and self._bytes + len(e.labels) > LABEL_BYTES_MAX
        ):
            self._drop_oldest()
        at = self._next % self.size_max
        self._refs[at], self._times[at], self._values[at], self._flags[at] = e.ref, e.time_ms, e.value, e.flags
        self._before[at] = self._newest.get(e.ref, _NONE)
        if at == len(self._labels):
            self._labels.append(e.labels)
        else:
            self._labels[at] = e.labels
        self._bytes += len(e.labels)
        self._newest[e.ref] = self._next
        self._newest_ms = e.time_ms
        self._next += 1

    def _drop_oldest(self) -> None:
        at = self._first % self.size_max
        ref = int(self._refs[at])
        if self._newest.get(ref) == self._first:
            del self._newest[ref]
        self._bytes -= len(self._labels[at])
        self._labels[at] = b""
        self._first += 1

    def _at(self, number: int) -> StoredExemplar:
        at = number % self.size_max
        flags = int(self._flags[at])
        return StoredExemplar(
            int(self._refs[at]), int(self._times[at]), float(self._values[at]), flags, self._labels[at]
        )

    def _newest_of(self, ref: int) -> StoredExemplar | None:
        number = self._newest.get(ref)
        return None if number is None else self._at(number)

    def _is_kept(self, e: StoredExemplar, pending: tuple[StoredExemplar, ...]) -> bool:
        """Tell whether an exemplar is among the newest of its series, or of those that are about to be."""
        with self._lock:
            for known in islice(chain(reversed(pending), self._chain(e.ref)), REPEATED_MAX):
                if _equal(known, e):
                    return True
                if _order(known) < _order(e):
                    break
        return False

    def _chain(self, ref: int) -> Iterator[StoredExemplar]:
        """Yield the exemplars of a series, newest first."""
        number = self._newest.get(ref, _NONE)
        while number >= self._first:
            yield self._at(number)
            number = int(self._before[number % self.size_max])


def _equal(known: StoredExemplar, new: StoredExemplar) -> bool:
    """Tell whether two exemplars of a series are the same; times count where either has one of its own."""
    same = known.labels == new.labels and (known.value == new.value or known.value != known.value != new.value)
    return same and (known.time_ms == new.time_ms or not (known.flags | new.flags) & HAS_TIME)


def _order(e: StoredExemplar) -> tuple[int, bool, float, bytes]:
    """Return what says which of two exemplars of a series is the later one: time, then value, NaN last, then labels."""
    nan = math.isnan(e.value)
    return e.time_ms, nan, 0.0 if nan else e.value, e.labels
