"""Limits on what one series looks like: how many labels, and how long names and values are."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from ...config.limit_settings import LimitSettings
from ...model import labels as lb
from ...model.gate import Candidates
from ...model.hash_table import MISSING
from ...model.registry import SeriesRegistry
from .refusals import Refusals

_UNDECIDED: Final = 0
_GOOD: Final = 1
_BAD: Final = 2


class Shapes:
    """Looks once at each label pair that the registry remembers, and at others each time they come."""

    def __init__(self, registry: SeriesRegistry, settings: LimitSettings, refusals: Refusals) -> None:
        self._registry, self._settings, self._refusals = registry, settings, refusals
        self._pairs: NDArray[np.uint8] = np.zeros(1024, np.uint8)

    def screen(self, candidates: Candidates, out: NDArray[np.uint32]) -> None:
        """Put what stands for them at the places of series that nothing was decided on and that are beyond a limit."""
        s, columns = self._settings, candidates.columns
        counts = np.count_nonzero(columns >= 0, axis=1)
        if s.labels_per_series_max:
            over = (counts > s.labels_per_series_max) & (out == MISSING)
            if over.any():
                out[over] = self._refusals.of("labels_per_series_max", s.labels_per_series_max, is_cardinality=False)
        bad = [i for i in self._unknown(columns) if self._fault(*candidates.texts.pair(i)) != MISSING]
        known = columns < len(self._pairs)
        hit = known & (columns >= 0) & (self._pairs.take(columns, mode="clip") == _BAD)
        if bad:
            hit |= np.isin(columns, bad)
        for row in np.flatnonzero(hit.any(axis=1) & (out == MISSING)).tolist():
            first = int(columns[row][hit[row]][0])
            out[row] = self._fault(*candidates.texts.pair(first))

    def _unknown(self, columns: NDArray[np.int64]) -> list[int]:
        """Return the pairs that the registry does not remember; decide on those that it does."""
        count = self._registry.pair_count
        if len(self._pairs) < count:
            grown = np.zeros(2 * count, np.uint8)
            grown[: len(self._pairs)] = self._pairs
            self._pairs = grown
        ids = columns[columns >= 0]
        new = ids >= count
        old = ids[~new]
        for i in np.unique(old[self._pairs[old] == _UNDECIDED]).tolist():
            self._pairs[i] = _GOOD if self._fault(*self._registry.pair(i)) == MISSING else _BAD
        return np.unique(ids[new]).tolist() if new.any() else []

    def _fault(self, name: str, value: str) -> int:
        """Return `MISSING`, or what stands for series with a label."""
        s = self._settings
        value_max = s.label_value_bytes_max
        if name == lb.NAME and s.metric_name_bytes_max and _is_longer(value, s.metric_name_bytes_max):
            limit, bytes_max, subject = "metric_name_bytes_max", s.metric_name_bytes_max, ""
        elif s.label_name_bytes_max and _is_longer(name, s.label_name_bytes_max):
            limit, bytes_max, subject = "label_name_bytes_max", s.label_name_bytes_max, ""
        elif value_max and _is_longer(value, value_max):
            limit, bytes_max, subject = "label_value_bytes_max", value_max, f"label {name[:80]}"
        else:
            return MISSING
        return self._refusals.of(limit, bytes_max, subject, is_cardinality=False)


def _is_longer(text: str, bytes_max: int) -> bool:
    """Tell whether a text is longer as UTF-8; a character has four bytes at most, so few texts need to be encoded."""
    return len(text) * 4 > bytes_max and len(text.encode("utf-8", "surrogatepass")) > bytes_max
