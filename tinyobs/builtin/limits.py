"""Limits on what may be stored, whichever way it comes in: labels of a series, lengths of names and values, series.

A processor in front of the storage.  Whether a series is within the limits is decided when its ref is first seen and
remembered in an array; a batch then costs one index.  A series beyond the number of series is decided anew with each
batch, since others may have gone.  Refused samples are counted and reported to the sender; the good ones of the same
batch go on.
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
_NO_ROOM: Final = 3
"""Beyond `series_max`: may be taken later, when others have gone."""
LOG_EVERY_MS: Final = 60_000
"""Refusals are logged this often at most; every one is counted."""

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
        self._pairs: NDArray[np.uint8] = np.zeros(1024, np.uint8)
        """What was decided on label pairs."""
        self._good_count = 0
        self._log_again_ms = 0

    def process(self, batch: Batch) -> Batch:
        """Return the batch without samples of refused series."""
        settings = self._services.config.tinyobs.limits
        if settings != self._settings:
            self._settings = settings
            self._decisions[:] = _UNDECIDED
            self._pairs[:] = _UNDECIDED
            self._good_count = 0
        if len(self._decisions) < len(self._services.registry):
            grown = np.zeros(2 * len(self._services.registry), np.uint8)
            grown[: len(self._decisions)] = self._decisions
            self._decisions = grown
        decided = self._decisions[batch.refs]
        waiting = (decided == _UNDECIDED) | (decided == _NO_ROOM)
        if waiting.any():
            self._decide(np.unique(batch.refs[waiting]))
            decided = self._decisions[batch.refs]
        if decided.max(initial=_GOOD) == _GOOD:
            return batch
        return _without(batch, decided != _GOOD)

    def _decide(self, refs: NDArray[np.uint32]) -> None:
        """Decide on series: at once on those that are surely good, on the others one by one."""
        good = self._surely_good(refs)
        count, limit = int(np.count_nonzero(good)), self._settings.series_max
        if not limit or self._good_count + count <= limit:
            self._decisions[refs[good]] = _GOOD
            self._good_count += count
            refs = refs[~good]
        self._decide_each(refs.tolist())

    def _surely_good(self, refs: NDArray[np.uint32]) -> NDArray[np.bool_]:
        """Return which series have labels within the limits; each distinct pair is looked at once."""
        limits, registry = self._settings, self._services.registry
        starts, ids = registry.pairs_of(refs)
        if len(self._pairs) < registry.pair_count:
            grown = np.zeros(2 * registry.pair_count, np.uint8)
            grown[: len(self._pairs)] = self._pairs
            self._pairs = grown
        for i in np.unique(ids[self._pairs[ids] == _UNDECIDED]).tolist():
            self._pairs[i] = _BAD if self._pair_fault(*registry.pair(i)) else _GOOD
        counts = np.diff(starts.view(np.int64))
        few = counts <= (limits.labels_per_series_max or len(ids))
        bad = np.flatnonzero(self._pairs[ids] == _BAD)
        few[np.searchsorted(starts, bad, side="right") - 1] = False
        return few

    def _decide_each(self, refs: Sequence[int]) -> None:
        """Decide on series; how many there are is asked of the storage once at most."""
        limit, first, asked, before = self._settings.series_max, "", False, self._good_count
        for ref in refs:
            reason = self._fault(self._services.registry.labels(ref))
            decision = _BAD if reason else _GOOD
            if not reason and limit and self._good_count >= limit:
                if not asked:
                    # The count here never forgets series that are gone; the storage knows none of this batch yet.
                    self._good_count, asked = self._stored_series() + self._good_count - before, True
                if self._good_count >= limit:
                    decision, reason = _NO_ROOM, f"there are {self._good_count} series (series_max {limit})"
            self._decisions[ref] = decision
            self._good_count += decision == _GOOD
            first = first or reason
        if first and self._services.clock.now_ms() >= self._log_again_ms:
            self._log_again_ms = self._services.clock.now_ms() + LOG_EVERY_MS
            log.warning("series refused", first=first)

    def _stored_series(self) -> int:
        return int(self._services.open_storage().statistics().head_series)

    def _fault(self, labels: Labels) -> str:
        """Return why a series is refused, "" when it is not."""
        limits = self._settings
        if limits.labels_per_series_max and len(labels) > limits.labels_per_series_max:
            return f"{lb.metric_name(labels)} has {len(labels)} labels (labels_per_series_max {limits.labels_per_series_max})"
        return next(filter(None, (self._pair_fault(name, value) for name, value in labels)), "")

    def _pair_fault(self, name: str, value: str) -> str:
        limits = self._settings
        if limits.label_name_bytes_max and _is_longer(name, limits.label_name_bytes_max):
            return f"label name {name[:80]!r} is too long (label_name_bytes_max {limits.label_name_bytes_max})"
        if limits.label_value_bytes_max and _is_longer(value, limits.label_value_bytes_max):
            return f"the value of label {name!r} is too long (label_value_bytes_max {limits.label_value_bytes_max})"
        return ""


def _is_longer(text: str, bytes_max: int) -> bool:
    """Tell whether a text is longer as UTF-8; a character has four bytes at most, so few texts need to be encoded."""
    return len(text) * 4 > bytes_max and len(text.encode()) > bytes_max


def _without(batch: Batch, bad: NDArray[np.bool_]) -> Batch:
    """Return the batch without some samples, which are counted as refused."""
    refused = dict(batch.refused)
    refused[Refused.LIMIT] = refused.get(Refused.LIMIT, 0) + int(np.count_nonzero(bad))
    return evolve(batch.take(~bad), refused=refused)
