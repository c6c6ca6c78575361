"""The series of one target: from the parser's numbers to refs, decided once per series.

Also remembers which refs the last scrape had, so that those that vanish get a staleness marker.  Source of the rules
(label conflicts, metric relabelling, limits): prometheus scrape/scrape.go `mutateSampleLabels`, `verifyLabelLimits`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from ...errors import LimitExceeded
from ...model import labels as lb
from ...model.labels import Labels
from ...model.metadata import MetricMetadata
from ...model.registry import SeriesRegistry
from ...relabel import Rule, apply
from .fetch import ScrapeError
from .type_labels import TypeLabels

DROPPED: Final = -1
_NONE: Final[NDArray[np.uint32]] = np.empty(0, np.uint32)


@frozen
class SeriesRules:
    """How a target's series get their labels, and what they may look like; a limit of 0 is none."""

    honor_labels: bool = False
    metric_rules: tuple[Rule, ...] = ()
    label_limit: int = 0
    label_name_length_limit: int = 0
    label_value_length_limit: int = 0
    legacy_names: bool = False
    """Whether names beyond `[a-zA-Z_:][a-zA-Z0-9_:]*` fail the scrape (`metric_name_validation_scheme: legacy`)."""
    type_and_unit: bool = False
    """Whether series get `__type__` and `__unit__`, before relabelling."""


@frozen
class Change:
    """How the series of one scrape differ from those of the one before."""

    tracked: NDArray[np.uint32]
    """The refs of the scrape, in its order."""
    current: NDArray[np.uint32]
    """The same, sorted and distinct."""
    gone: NDArray[np.uint32]
    added: int
    """How many distinct refs the last scrape did not have."""
    native: NDArray[np.uint32] = _NONE
    """The refs of the scrape whose samples are native histograms."""


class TargetSeries:
    """What is known of the series of one target.

    `refs` and `compare` may run in a worker thread, one at a time; what the last scrape had changes with `take` alone.
    """

    def __init__(self, registry: SeriesRegistry, target: Labels, rules: SeriesRules) -> None:
        self._registry = registry
        self._generation = registry.generation
        self._target = dict(target)
        self._rules = rules
        self._types = TypeLabels() if rules.type_and_unit else None
        self._refs = np.full(256, DROPPED, np.int64)
        self._undecided: dict[int, Labels] = {}
        self._last = Change(_NONE, _NONE, _NONE, 0)
        self._newest_exemplars: dict[int, int] = {}

    @property
    def last(self) -> Change:
        """What the last scrape had."""
        return self._last

    @property
    def current(self) -> NDArray[np.uint32]:
        """Refs of the last scrape that a marker is due for when they vanish, sorted."""
        return self._last.current

    def refs(
        self,
        numbers: NDArray[np.int32],
        new: Mapping[int, Labels],
        metadata: Mapping[str, MetricMetadata] = MappingProxyType({}),
    ) -> NDArray[np.int64]:
        """Return the ref of each series number, `DROPPED` for those that relabelling drops.

        new: labels of the numbers that mean another series than before.  metadata: families of the body, where it
        differs from the body before.  Raises `LimitExceeded` when a label limit is
        exceeded, and `ScrapeError` for names that may not be; nothing of the scrape may then be stored, and the series is judged again when it comes again.
        """
        if self._types is not None and (new or metadata):
            new = self._types.typed(new, metadata)
        if new:
            highest = max(new)
            if highest >= len(self._refs):
                self._refs = np.resize(self._refs, max(highest + 1, 2 * len(self._refs)))
            self._undecided.update(new)
        if self._undecided:
            due = list(self._undecided) if len(new) == len(self._undecided) else self._due(numbers)
            kept = {n: labels for n in due if (labels := self._decide(self._undecided[n])) is not None}
            self._refs[due] = DROPPED
            self._refs[list(kept)] = self._registry.intern_many(kept.values())
            for number in due:
                del self._undecided[number]
        return self._refs[numbers]

    def _due(self, numbers: NDArray[np.int32]) -> list[int]:
        """Return the undecided numbers that stand in this body."""
        return sorted(self._undecided.keys() & set(numbers.tolist()))

    def forget(self) -> None:
        """Decide all series anew: the parser has started to number afresh."""
        self._undecided.clear()
        self._generation = self._registry.generation
        if self._types is not None:
            self._types = TypeLabels()

    @property
    def is_outdated(self) -> bool:
        """Whether refs may have been given that are good no more, so that the parser must number afresh."""
        return self._generation != self._registry.generation

    def ref_of(self, number: int) -> int:
        """Return the ref of a series number that `refs` has been asked for; `DROPPED` where relabelling drops it."""
        return int(self._refs[number])

    def is_newer_exemplar(self, ref: int, time_ms: int) -> bool:
        """Tell whether an exemplar is newer than all of its series that were asked for before it."""
        is_newer = time_ms > self._newest_exemplars.get(ref, -1)
        if is_newer:
            self._newest_exemplars[ref] = time_ms
        return is_newer

    def compare(self, tracked: NDArray[np.uint32], native: NDArray[np.uint32] = _NONE) -> Change:
        """Return how the refs of a scrape (any order) differ from those of the last one; changes nothing.

        native: those whose samples are native histograms.
        Cheap where the series are the same in the same order, and where there are none.
        """
        last = self._last
        if not len(tracked):
            return Change(tracked, tracked, last.current, 0)
        if np.array_equal(tracked, last.tracked):
            return Change(tracked, last.current, _NONE, 0, native)
        current = np.unique(tracked)
        gone = np.setdiff1d(last.current, current, assume_unique=True)
        return Change(tracked, current, gone, len(current) - len(last.current) + len(gone), native)

    def take(self, change: Change) -> None:
        """Let `change`, of `compare`, be the last scrape."""
        self._last = change

    def inherit(self, earlier: TargetSeries) -> None:
        """Take over what another object's last scrape had."""
        self._last = earlier._last

    def end(self) -> None:
        """Have no series any more."""
        self._last = self.compare(_NONE)

    def _decide(self, scraped: Labels) -> Labels | None:
        """Return the labels that a series is stored with, None where it is dropped."""
        merged = merge(scraped, self._target, self._rules.honor_labels)
        kept = apply(merged, self._rules.metric_rules) if self._rules.metric_rules else merged
        if kept is None:
            return None
        if not lb.metric_name(kept):
            raise ScrapeError(
                f"missing metric name (__name__ label): {lb.to_text(merged)} after metric_relabel_configs"
            )
        if self._rules.legacy_names and not has_legacy_names(kept):
            raise ScrapeError(f"invalid metric name or label names: {lb.to_text(kept)}")
        self._check_limits(kept)
        return kept

    def _check_limits(self, labels: Labels) -> None:
        rules = self._rules
        if rules.label_limit and len(labels) > rules.label_limit:
            raise LimitExceeded(
                "label_limit",
                f"label_limit exceeded (metric: {lb.metric_name(labels)!r}, number of labels: {len(labels)}, "
                f"limit: {rules.label_limit})",
            )
        for name, value in labels:
            if rules.label_name_length_limit and len(name.encode()) > rules.label_name_length_limit:
                raise LimitExceeded(
                    "label_name_length_limit",
                    f"label_name_length_limit exceeded (metric: {lb.metric_name(labels)!r}, label name: {name!r}, "
                    f"limit: {rules.label_name_length_limit})",
                )
            if rules.label_value_length_limit and len(value.encode()) > rules.label_value_length_limit:
                raise LimitExceeded(
                    "label_value_length_limit",
                    f"label_value_length_limit exceeded (metric: {lb.metric_name(labels)!r}, label name: {name!r}, "
                    f"value of {len(value.encode())} bytes, limit: {rules.label_value_length_limit})",
                )


def has_legacy_names(labels: Labels) -> bool:
    """Tell whether the metric name and all label names are valid without UTF-8 support."""
    return all(lb.is_legacy_metric_name(v) if k == lb.NAME else lb.is_legacy_label_name(k) for k, v in labels)


def merge(scraped: Labels, target: dict[str, str], honor_labels: bool) -> Labels:
    """Return the labels of a series with those of its target.

    A label that both have stays the target's and moves to `exported_<name>` (repeated until the name is free); with
    `honor_labels` it stays the scraped one.
    """
    own = dict(scraped)
    if honor_labels:
        return lb.from_mapping({**target, **own})
    merged = {**own, **target}
    for name in sorted((n for n in own if n in target), key=len):
        moved = "exported_" + name
        while moved in merged:
            moved = "exported_" + moved
        merged[moved] = own[name]
    return lb.from_mapping(merged)


def report_refs(registry: SeriesRegistry, target: Labels, names: Sequence[str]) -> NDArray[np.uint32]:
    """Return the refs of a target's synthetic series (`up` and the like)."""
    series = (lb.from_pairs((*target, (lb.NAME, name))) for name in names)
    return registry.intern_many(series, gated=False)  # they are kept for as long as the target is
