"""All rules of one place at work: which samples go on beside their aggregates, and what is put out when.

Native histograms that no output of a rule can be made of go on as if that rule had not taken them, and are counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from ..model.batch import Batch
from ..model.growing import grown
from ..model.histograms import is_handle
from ..model.labels import Labels
from ..model.registry import SeriesRegistry
from .aggregator import HISTOGRAM, Aggregator
from .rule import AggregationRule
from .series_table import NO_MATCH

_UNKNOWN, _NONE, _SOME = 0, 1, 2


@frozen
class AggregationPlan:
    """Rules, and what becomes of their input: by default what any rule took is dropped."""

    rules: tuple[AggregationRule, ...] = ()
    keep_input: bool = False
    drop_input: bool = False


class Engine:
    """The rules of a plan; `replan` keeps the state of those that stay."""

    def __init__(
        self,
        plan: AggregationPlan,
        registry: SeriesRegistry,
        start_ms: int,
        labels_of: Callable[[int], Labels] | None = None,
    ) -> None:
        self._registry, self._labels_of = registry, labels_of
        self._verdicts: NDArray[np.uint8] = np.zeros(0, np.uint8)
        self.aggregators: list[Aggregator] = []
        self.plan = AggregationPlan()
        self.dropped = 0
        """Samples that did not go on."""
        self.replan(plan, start_ms)

    def replan(self, plan: AggregationPlan, now_ms: int) -> Sequence[Aggregator]:
        """Take over another plan; return the aggregators of rules that are gone."""
        left = list(self.aggregators)
        made = []
        for rule in plan.rules:
            same = next((a for a in left if a.rule == rule), None)
            if same is not None:
                left.remove(same)
                same.rule = rule
            made.append(same or Aggregator(rule, self._registry, now_ms, self._labels_of))
        self.plan, self.aggregators = plan, made
        self._verdicts[:] = _UNKNOWN
        return left

    def take(self, batch: Batch, now_ms: int) -> NDArray[np.bool_] | None:
        """Let the rules take samples; return which samples go on, None for all."""
        if not len(batch) or not (self.aggregators or self.plan.drop_input):
            return None
        verdicts = self._verdicts_of(batch.refs)
        some = verdicts == _SOME
        if not some.any():
            return self._goes_on(np.ones(len(batch), np.bool_))
        at = slice(None) if some.all() else np.flatnonzero(some)
        refs, times, values = batch.refs[at], batch.timestamps_ms[at], batch.values[at]
        taken = np.zeros(len(refs), np.bool_)
        floats = None if batch.histograms is None else ~is_handle(values)
        for aggregator in self.aggregators:
            matches = aggregator.matches(refs)
            if floats is None or aggregator.takes_histograms:
                taken |= matches
                aggregator.take(refs, times, values, now_ms, batch.histograms)
            else:
                taken |= matches & floats
                aggregator.counts.ignore(HISTOGRAM, int(np.count_nonzero(matches & ~floats)))
                aggregator.take(refs[floats], times[floats], values[floats], now_ms)
        goes_on = np.ones(len(batch), np.bool_)
        goes_on[at] = ~taken
        return self._goes_on(goes_on)

    def drops(self, refs: NDArray[np.uint32]) -> NDArray[np.bool_]:
        """Return which series do not go on; the rules have seen them, or decide now."""
        if self.plan.keep_input or not len(refs):
            return np.zeros(len(refs), np.bool_)
        dropped = np.full(len(refs), self.plan.drop_input)
        for aggregator in self.aggregators:
            dropped |= aggregator.matches(refs)
        return dropped

    def due_ms(self) -> int | None:
        """Return when the next rule has something to do, None without rules."""
        return min((a.due_ms for a in self.aggregators), default=None)

    def due(self, now_ms: int) -> list[Aggregator]:
        """Return the rules that have something to do by now."""
        return [a for a in self.aggregators if a.due_ms <= now_ms]

    def _goes_on(self, not_taken: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
        """Return which samples go on as the plan says; None for all."""
        if self.plan.keep_input:
            return None
        if self.plan.drop_input:
            not_taken[:] = False
        dropped = len(not_taken) - int(np.count_nonzero(not_taken))
        self.dropped += dropped
        return not_taken if dropped else None

    def _verdicts_of(self, refs: NDArray[np.uint32]) -> NDArray[np.uint8]:
        """Return by sample whether any rule may take its series; asked of the rules once for each series."""
        self._verdicts = grown(self._verdicts, max(len(self._registry), int(refs.max()) + 1))
        found = self._verdicts[refs]
        unknown = found == _UNKNOWN
        if unknown.any():
            new = np.unique(refs[unknown])
            some = np.zeros(len(new), np.bool_)
            for aggregator in self.aggregators:
                some |= aggregator.table.find(new) != NO_MATCH
            self._verdicts[new] = np.where(some, _SOME, _NONE)
            found = self._verdicts[refs]
        return found
