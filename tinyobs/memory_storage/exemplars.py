"""The newest exemplars of all series, at most so many."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from typing import Final

import numpy as np
from attrs import define, evolve, field
from numpy.typing import NDArray

from ..model.batch import AppendResult
from ..model.exemplars import LABEL_CHARACTERS_MAX, Exemplar, ExemplarRefused, SeriesExemplars
from ..model.labels import Labels
from ..model.registry import SeriesRegistry

EXEMPLARS_MAX: Final = 100_000
"""Exemplars that are kept; the oldest go."""

_Order = tuple[int, bool, float, Labels]
_Key = tuple[int, _Order]


@define(eq=False)
class ExemplarRing:
    """Exemplars in order of arrival; one that came before is ignored, as a sender that was not answered sends all again."""

    registry: SeriesRegistry
    stored_total: int = 0
    _kept: dict[_Key, Exemplar] = field(init=False, factory=dict)
    _newest: dict[int, Exemplar] = field(init=False, factory=dict)
    _lock: threading.Lock = field(init=False, factory=threading.Lock)

    def add(self, exemplars: Sequence[Exemplar], result: AppendResult) -> AppendResult:
        """Keep the exemplars of a batch; return its result with what became of them."""
        if not exemplars:
            return result
        stored, refused = 0, dict[ExemplarRefused, int]()
        with self._lock:
            for e in sorted(exemplars, key=_order):
                reason = self._refusal(e)
                if reason is not None:
                    refused[reason] = refused.get(reason, 0) + 1
                elif _key(e) not in self._kept and not _is_same(e, self._newest.get(e.ref)):
                    self._keep(e)
                    stored += 1
        self.stored_total += stored
        return evolve(result, exemplars_stored=stored, exemplars_refused=refused)

    def find(self, refs: NDArray[np.uint32], mint_ms: int, maxt_ms: int) -> list[SeriesExemplars]:
        """Return the exemplars of series in a time range, by label set."""
        wanted = set(refs.tolist())
        found: dict[int, list[Exemplar]] = {}
        with self._lock:
            for e in self._kept.values():
                if e.ref in wanted and mint_ms <= e.timestamp_ms <= maxt_ms:
                    found.setdefault(e.ref, []).append(e)
        named = sorted((self.registry.labels(ref), tuple(kept)) for ref, kept in found.items())
        return [SeriesExemplars(labels, kept) for labels, kept in named]

    def _refusal(self, e: Exemplar) -> ExemplarRefused | None:
        if sum(len(n) + len(v) for n, v in e.labels) > LABEL_CHARACTERS_MAX:
            return ExemplarRefused.LABELS_TOO_LONG
        newest = self._newest.get(e.ref)
        late = (
            newest is not None and _order(e) < _order(newest) and _key(e) not in self._kept and not _is_same(e, newest)
        )
        return ExemplarRefused.OUT_OF_ORDER if late else None

    def _keep(self, e: Exemplar) -> None:
        if len(self._kept) == EXEMPLARS_MAX:
            oldest = self._kept.pop(next(iter(self._kept)))
            if self._newest.get(oldest.ref) is oldest:
                del self._newest[oldest.ref]
        self._kept[_key(e)] = e
        self._newest[e.ref] = e


def _is_same(e: Exemplar, known: Exemplar | None) -> bool:
    """Tell whether an exemplar repeats the newest of its series; times count where either has one of its own."""
    if known is None or _order(e)[1:] != _order(known)[1:]:
        return False
    return e.timestamp_ms == known.timestamp_ms or not (e.has_time or known.has_time)


def _key(e: Exemplar) -> _Key:
    """Return what exemplars that are the same have in common."""
    return e.ref, _order(e)


def _order(e: Exemplar) -> _Order:
    """Return what says which of two exemplars of a series is the later one: time, then value, NaN last, then labels."""
    nan = math.isnan(e.value)
    return e.timestamp_ms, nan, 0.0 if nan else e.value, e.labels
