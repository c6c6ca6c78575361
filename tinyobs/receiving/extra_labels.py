"""Labels that a request adds to all of its series (`extra_label` in the URL), for decoders that do not know of them."""

from __future__ import annotations

from typing import Final

import numpy as np
from attrs import evolve
from numpy.typing import NDArray

from ..model.batch import Batch
from ..model.gate import STAND_INS
from ..model.hash_table import MISSING
from ..model.labels import Labels, from_mapping
from ..model.registry import SeriesRegistry

SETS_MAX: Final = 16
"""Sets of additional labels for which it is remembered which series become which; beyond it the oldest is forgotten."""


class LabelAdder:
    """Remembers for each series which one it becomes; in the writer's thread or another, any number at a time."""

    def __init__(self, registry: SeriesRegistry) -> None:
        self._registry = registry
        self._known: dict[Labels, NDArray[np.uint32]] = {}
        """By added labels: the new series of each, `MISSING` where it is not known yet."""

    def add(self, batch: Batch, extra: Labels) -> Batch:
        """Return the batch with labels added; they replace labels of the same name."""
        wanted = np.unique(np.concatenate([batch.refs, np.array([e.ref for e in batch.exemplars], np.uint32)]))
        wanted = wanted[wanted < STAND_INS]  # others are refused, or folded: they have no labels of their own
        known = self._known.get(extra, np.zeros(0, np.uint32))
        longer = np.full(max(int(wanted.max(initial=0)) + 1, len(known)), MISSING, np.uint32)
        longer[: len(known)] = known
        new = wanted[longer[wanted] >= STAND_INS]
        series = [from_mapping(dict(self._registry.labels(ref)) | dict(extra)) for ref in new.tolist()]
        longer[new] = self._registry.intern_many(series)
        if len(self._known) >= SETS_MAX and extra not in self._known:
            self._known = dict(list(self._known.items())[1:])
        self._known[extra] = longer
        exemplars = [evolve(e, ref=int(longer[e.ref]) if e.ref < STAND_INS else e.ref) for e in batch.exemplars]
        own = batch.refs < STAND_INS
        refs = np.where(own, longer[np.where(own, batch.refs, 0)], batch.refs)
        return evolve(batch, refs=refs, exemplars=exemplars)
