"""The step before storage that gives samples to the rules, and keeps back what they have taken."""

from __future__ import annotations

from attrs import evolve

from ...abc import Processor, Services
from ...aggregation.aggregator import ORIGIN
from ...model.batch import Batch
from .shared import Shared


class Aggregating(Processor):
    """Feeds the engine.  Senders are told that samples which are kept back are stored."""

    def __init__(self, services: Services, shared: Shared) -> None:
        self._services, self._shared = services, shared

    def process(self, batch: Batch) -> Batch:
        """Return the batch without what was aggregated and is not kept."""
        if batch.origin == ORIGIN:
            return batch
        with self._shared.lock:
            goes_on = self._shared.engine.take(batch, self._services.clock.now_ms())
        if goes_on is None or goes_on.all():
            return batch
        left = batch.take(goes_on)
        absorbed = batch.absorbed + len(batch) - len(left)
        if batch.exemplars:
            gone = set(batch.refs[~goes_on].tolist())
            left = evolve(left, exemplars=[e for e in batch.exemplars if e.ref not in gone])
        return evolve(left, absorbed=absorbed)
