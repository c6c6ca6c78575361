"""Which series a sink takes: decided once for each, then looked up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..model.batch import Batch
from ..model.registry import SeriesRegistry
from ..promql.parser import parse_selector

_UNKNOWN, _NO, _YES = 0, 1, 2
_FIRST_SIZE: Final = 1024


class Chosen:
    """The series that fulfil any of some selectors, all where there are none."""

    def __init__(self, registry: SeriesRegistry, selectors: Sequence[str]) -> None:
        self._registry = registry
        self._sets = [parse_selector(text) for text in selectors]
        self._verdicts: NDArray[np.uint8] = np.zeros(_FIRST_SIZE, np.uint8)

    def of(self, batch: Batch) -> Batch:
        """Return the batch with the samples of chosen series only."""
        if not self._sets or not len(batch):
            return batch
        flags = self._flags(batch.refs)
        return batch if flags.all() else batch.take(flags)

    def _flags(self, refs: NDArray[np.uint32]) -> NDArray[np.bool_]:
        if int(refs.max()) >= len(self._verdicts):
            longer = np.zeros(max(2 * len(self._verdicts), len(self._registry)), np.uint8)
            longer[: len(self._verdicts)] = self._verdicts
            self._verdicts = longer
        for ref in np.unique(refs[self._verdicts[refs] == _UNKNOWN]).tolist():
            self._verdicts[ref] = _YES if self._is_chosen(ref) else _NO
        chosen: NDArray[np.bool_] = self._verdicts[refs] == _YES
        return chosen

    def _is_chosen(self, ref: int) -> bool:
        labels = dict(self._registry.labels(ref))
        return any(all(m.matches(labels.get(m.name, "")) for m in matchers) for matchers in self._sets)
