"""The part of a rule that works on native histograms; it is made when the first one comes.

A group is of floats, of exponential or of custom buckets, as its first sample says; samples of other kinds do not go together
with it, and are left out until the group is forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..model.growing import grown
from ..model.histograms import CUSTOM_SCHEMA, Histograms, ResetHint, stacked
from ..promql.native.table import concatenated
from .arrays import I64
from .counters import NEVER, in_order
from .histogram_growth import increases, nothing_of, words_of
from .histogram_outputs import (
    HistogramGrowth,
    HistogramOutput,
    HistogramRates,
    HistogramSamples,
    HistogramTotal,
    NewestHistogram,
    OfHistogramGrowth,
    OfHistograms,
    QuantilesOfObservations,
    SumsOfSamples,
)
from .kept_histograms import KeptHistograms
from .output import Column
from .rule import AggregationRule, quantiles_of

COUNTING: Final = ("count_samples", "count_series")
"""Outputs that do not look at values: those of floats count histograms as well."""
_TAKEN: Final = (
    *COUNTING,
    "avg",
    "increase",
    "increase_prometheus",
    "last",
    "rate_avg",
    "rate_sum",
    "sum_samples",
    "sum_samples_total",
    "total",
    "total_prometheus",
)
_FLOATS, _EXPONENTIAL, _CUSTOM = 0, 1, 2


def takes_histograms(output: str) -> bool:
    """Tell whether an output can be made of native histograms."""
    return output in _TAKEN or quantiles_of(output) is not None


class Natives:
    """The histograms of one rule."""

    def __init__(self, rule: AggregationRule) -> None:
        self._bytes_max = rule.histograms_bytes_max
        self._outputs = _outputs(rule)
        self._last = KeptHistograms()
        self._times: I64 = np.zeros(0, np.int64)
        self._deadlines: I64 = np.zeros(0, np.int64)
        self._kinds: NDArray[np.uint8] = np.zeros(0, np.uint8)
        self.resets = self.out_of_order = 0

    def grow(self, groups: int, inputs: int) -> None:
        """Make room for so many groups and input series."""
        self._kinds = grown(self._kinds, groups, _FLOATS)
        self._times, self._deadlines = grown(self._times, inputs, NEVER), grown(self._deadlines, inputs, NEVER)

    def are_floats(self, groups: I64) -> NDArray[np.bool_]:
        """Return which groups may have floats."""
        found: NDArray[np.bool_] = self._kinds[groups] == _FLOATS
        return found

    def fitting(self, groups: I64, histograms: Histograms, is_new: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return which histograms go together with their groups; is_new: by group, whether it has no samples yet."""
        kinds = np.where(histograms.schemas() == CUSTOM_SCHEMA, _CUSTOM, _EXPONENTIAL).astype(np.uint8)
        new = np.flatnonzero((self._kinds[groups] == _FLOATS) & is_new[groups])
        found, first = np.unique(groups[new], return_index=True)
        self._kinds[found] = kinds[new[first]]
        fits: NDArray[np.bool_] = self._kinds[groups] == kinds
        return fits

    def with_room(self, inputs: I64, histograms: Histograms) -> NDArray[np.bool_]:
        """Return for which histograms there is room."""
        grow = np.maximum(8 * np.diff(histograms.offsets) - self._last.sizes(inputs), 0)
        room = self._bytes_max - self._last.nbytes - sum(o.nbytes for o in self._outputs)
        fits: NDArray[np.bool_] = (grow == 0) | (np.cumsum(grow) <= room)
        return fits

    def add(self, samples: HistogramSamples, now_ms: int, deadline_ms: int, counts_firsts: bool) -> None:
        """Take samples in the order in which they came."""
        for output in self._outputs:
            if isinstance(output, OfHistograms):
                output.add(samples)
        of_growth = [output for output in self._outputs if isinstance(output, OfHistogramGrowth)]
        if of_growth and (growth := self._growth(samples, now_ms, deadline_ms)) is not None:
            for output in of_growth:
                output.add(growth, counts_firsts)

    def columns(self, groups: I64, group_of_input: I64) -> Iterator[Column]:
        """Yield what is put out."""
        groups = groups[~self.are_floats(groups)]
        for output in self._outputs:
            yield from output.columns(groups, group_of_input)

    def forget(self, groups: I64, inputs: I64) -> None:
        """Let groups and input series be as if they had never been."""
        for output in self._outputs:
            output.forget(groups)
        self._kinds[groups] = _FLOATS
        self._times[inputs] = NEVER
        self._last.drop(inputs)

    def keep(self, groups: I64, inputs: I64) -> None:
        """Keep only these groups and input series, which are numbered anew in this order."""
        for output in self._outputs:
            output.keep(groups, inputs)
        self._kinds, self._times, self._deadlines = self._kinds[groups], self._times[inputs], self._deadlines[inputs]
        self._last.keep(inputs)

    def _growth(self, samples: HistogramSamples, now_ms: int, deadline_ms: int) -> HistogramGrowth | None:
        """Return what series grew by, and remember where they stand; samples older than one before are skipped."""
        order = np.argsort(samples.inputs, kind="stable")
        inputs, times = samples.inputs[order], samples.times[order]
        before = self._times[inputs]
        before[self._deadlines[inputs] < now_ms] = NEVER
        taken = in_order(inputs, times, before)
        self.out_of_order += int(np.count_nonzero(~taken))
        order, inputs, times, before = order[taken], inputs[taken], times[taken], before[taken]
        if not len(order):
            return None
        found = HistogramSamples(samples.groups[order], inputs, times, samples.histograms.take(order))
        growth = self._differences(found, before == NEVER)
        last = np.append(inputs[1:] != inputs[:-1], True)
        self._times[inputs[last]], self._deadlines[inputs[last]] = times[last], deadline_ms
        self._last.put(inputs[last], found.histograms.take(np.flatnonzero(last)))
        return growth

    def _differences(self, samples: HistogramSamples, is_unknown: NDArray[np.bool_]) -> HistogramGrowth:
        """Return what each sample grew by since the one before of its series; is_unknown: where none is remembered."""
        inputs, n = samples.inputs, len(samples.inputs)
        first = np.ones(n, np.bool_)
        first[1:] = inputs[1:] != inputs[:-1]
        known = np.flatnonzero(first & ~is_unknown)
        before = np.arange(n) - 1
        before[known] = n + np.arange(len(known))
        both = stacked([samples.histograms, self._last.take(inputs[known])])
        firsts = first & is_unknown
        later, new = np.flatnonzero(~firsts), np.flatnonzero(firsts)
        made, resets = increases(samples.histograms.take(later), both.take(before[later]))
        self.resets += int(np.count_nonzero(resets))
        deltas = concatenated((made, nothing_of(samples.histograms.take(new)))).take(np.argsort(np.append(later, new)))
        return HistogramGrowth(samples, words_of(deltas, ResetHint.UNKNOWN), firsts)


def _outputs(rule: AggregationRule) -> list[HistogramOutput]:
    found: list[HistogramOutput] = []
    sums = tuple(name for name in rule.outputs if name in ("sum_samples", "avg"))
    if sums:
        found.append(SumsOfSamples(sums))
    rates = tuple(name for name in rule.outputs if name in ("rate_sum", "rate_avg"))
    if rates:
        found.append(HistogramRates(rates))
    for name in rule.outputs:
        phis = quantiles_of(name)
        if phis is not None:
            found.append(QuantilesOfObservations(phis))
        elif name == "sum_samples_total":
            found.append(SumsOfSamples((name,)))
        elif name == "last":
            found.append(NewestHistogram())
        elif name.startswith(("total", "increase")):
            found.append(HistogramTotal(name))
    return found
