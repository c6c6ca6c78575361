"""Limits on what may be stored, whichever way it comes in: labels of a series, lengths of names and values, series.

A processor in front of the storage.  Whether a series is within the limits is decided when its ref is first seen and
remembered in an array; a batch then costs one index.  Refused samples are counted and reported to the sender; the good
ones of the same batch go on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import structlog
from attrs import evolve
from numpy.typing import NDArray

from ..abc import Processor, Services
from ..hookspecs import hookimpl
from ..model import labels as lb
from ..model.batch import Batch, Refused
from ..model.labels import Labels

_UNDECIDED: Final = 0
_GOOD: Final = 1
_BAD: Final = 2

log = structlog.get_logger("limits")


@hookimpl
def tinyobs_processors(services: Services) -> Sequence[Processor]:
    """Return the one processor."""
    return [Limits(services)]


class Limits(Processor):
    """Takes samples of series beyond a limit out of every batch."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._settings: Any = None
        self._decisions: NDArray[np.uint8] = np.zeros(1024, np.uint8)
        self._good_count = 0

    def process(self, batch: Batch) -> Batch:
        """Return the batch without samples of refused series."""
        settings = self._services.config.tinyobs.limits
        if settings != self._settings:
            self._settings = settings
            self._decisions[:] = _UNDECIDED
            self._good_count = 0
        if len(self._decisions) < len(self._services.registry):
            grown = np.zeros(2 * len(self._services.registry), np.uint8)
            grown[: len(self._decisions)] = self._decisions
            self._decisions = grown
        decided = self._decisions[batch.refs]
        if decided.min(initial=_GOOD) == _UNDECIDED:
            self._decide(np.unique(batch.refs[decided == _UNDECIDED]).tolist())
            decided = self._decisions[batch.refs]
        if decided.max(initial=_GOOD) == _GOOD:
            return batch
        return self._without(batch, decided != _GOOD)

    def _without(self, batch: Batch, bad: NDArray[np.bool_]) -> Batch:
        keep = ~bad
        refused = dict(batch.refused)
        refused[Refused.LIMIT] = refused.get(Refused.LIMIT, 0) + int(np.count_nonzero(bad))
        # A series over the limit of series may be taken later, when others have gone.
        undecided = np.unique(batch.refs[bad])
        self._decisions[undecided] = _UNDECIDED
        return evolve(
            batch,
            refs=batch.refs[keep],
            timestamps_ms=batch.timestamps_ms[keep],
            values=batch.values[keep],
            refused=refused,
        )

    def _decide(self, refs: list[int]) -> None:
        first = ""
        for ref in refs:
            reason = self._fault(self._services.registry.labels(ref))
            self._decisions[ref] = _BAD if reason else _GOOD
            self._good_count += not reason
            first = first or reason
        if first:
            log.warning("series refused", first=first)

    def _fault(self, labels: Labels) -> str:
        """Return why a series is refused, "" when it is not."""
        limits = self._settings
        if limits.labels_per_series_max and len(labels) > limits.labels_per_series_max:
            return f"{lb.metric_name(labels)} has {len(labels)} labels (labels_per_series_max {limits.labels_per_series_max})"
        for name, value in labels:
            if limits.label_name_bytes_max and len(name.encode()) > limits.label_name_bytes_max:
                return f"label name {name[:80]!r} is too long (label_name_bytes_max {limits.label_name_bytes_max})"
            if limits.label_value_bytes_max and len(value.encode()) > limits.label_value_bytes_max:
                return f"the value of label {name!r} is too long (label_value_bytes_max {limits.label_value_bytes_max})"
        if limits.series_max and self._good_count >= limits.series_max:
            # Exact only at the limit: the count here never forgets series that are gone.
            self._good_count = self._services.open_storage().statistics().head_series
            if self._good_count >= limits.series_max:
                return f"there are {self._good_count} series (series_max {limits.series_max})"
        return ""
