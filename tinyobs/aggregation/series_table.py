"""What a rule knows of series: whether it takes them, and the numbers of their input series and groups.

Decided when a series is first seen and remembered in 4 bytes for each series of the agent.  Input series are told apart
after relabelling, so that several series may be one.  Labels that come of relabelling or grouping get numbers from the
registry of series, as any series does, whether or not anything is stored for them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..model.growing import grown
from ..model.labels import NAME, Labels, drop, from_pairs, metric_name
from ..model.registry import SeriesRegistry
from ..model.selectors import AnyOf
from ..relabel import apply
from .arrays import I64
from .rule import AggregationRule

UNKNOWN: Final = -1
NO_MATCH: Final = -2
DROPPED: Final = -3
"""Matched, and dropped by `input_relabel_configs`."""
NO_ROOM: Final = -4
"""Matched, and beyond `series_max`."""


class SeriesTable:
    """The decisions of one rule."""

    def __init__(self, rule: AggregationRule, registry: SeriesRegistry, labels_of: Callable[[int], Labels]) -> None:
        """labels_of: the labels of a series as the rule sees them."""
        self._rule, self._registry, self._labels_of = rule, registry, labels_of
        self._match = AnyOf(rule.match) if rule.match else None
        self._has_inputs = bool(rule.drop_input_labels or rule.input_relabel_configs)
        self._input_of_ref: NDArray[np.int32] = np.zeros(0, np.int32)
        self._input_of_key: NDArray[np.int32] = np.zeros(0, np.int32)
        self._group_of_key: NDArray[np.int32] = np.zeros(0, np.int32)
        self.group_of_input: I64 = np.zeros(0, np.int64)
        self.input_keys: I64 = np.zeros(0, np.int64)
        self.group_keys: I64 = np.zeros(0, np.int64)
        self.inputs = self.groups = 0

    def find(self, refs: NDArray[np.uint32]) -> NDArray[np.int32]:
        """Return the number of the input series of each series, or why it has none."""
        if len(refs) and int(refs.max()) >= len(self._input_of_ref):
            self._input_of_ref = grown(self._input_of_ref, max(int(refs.max()) + 1, len(self._registry)), UNKNOWN)
        found = self._input_of_ref[refs]
        unknown = found == UNKNOWN
        if unknown.any():
            for ref in np.unique(refs[unknown]).tolist():
                self._input_of_ref[ref] = self._decide(ref)
            found = self._input_of_ref[refs]
        return found

    def group_labels(self, group: int) -> Labels:
        """Return the labels of a group, its name with the suffix of the rule where names are not kept."""
        labels = self._registry.labels(int(self.group_keys[group]))
        if not self._rule.keep_metric_names:
            return labels
        name = metric_name(labels).removesuffix(self._rule.suffix)
        return from_pairs([(k, name if k == NAME else v) for k, v in labels])

    def keep(self, inputs: I64, groups: I64) -> None:
        """Keep only these input series and groups, numbered anew in this order; the others are decided again."""
        new_group = np.full(self.groups, UNKNOWN, np.int64)
        new_group[groups] = np.arange(len(groups))
        self._group_of_key[self.group_keys[: self.groups]] = UNKNOWN
        self._input_of_key[self.input_keys[: self.inputs]] = UNKNOWN
        self._renumber(inputs)
        self.group_of_input = new_group[self.group_of_input[inputs]]
        self.input_keys, self.group_keys = self.input_keys[inputs], self.group_keys[groups]
        self.inputs, self.groups = len(inputs), len(groups)
        self._input_of_key[self.input_keys] = np.arange(self.inputs)
        self._group_of_key[self.group_keys] = np.arange(self.groups)

    def look_again(self) -> None:
        """Decide once more on series that there was no room for."""
        self._input_of_ref[self._input_of_ref == NO_ROOM] = UNKNOWN

    def _renumber(self, inputs: I64) -> None:
        new = np.full(self.inputs, UNKNOWN, np.int32)
        new[inputs] = np.arange(len(inputs))
        at = np.flatnonzero(self._input_of_ref >= 0)
        self._input_of_ref[at] = new[self._input_of_ref[at]]

    def _decide(self, ref: int) -> int:
        rule, labels = self._rule, self._labels_of(ref)
        if self._match is not None:
            values = dict(labels)
            if not self._match.matches(lambda name: values.get(name, "")):
                return NO_MATCH
        key = ref
        if self._has_inputs:
            left = drop(labels, frozenset(rule.drop_input_labels))
            found = apply(left, rule.input_relabel_configs)
            if not found:
                return DROPPED
            key, labels = self._registry.intern(found, gated=False), found
        elif self._labels_of != self._registry.labels:
            key = self._registry.intern(labels, gated=False)
        return self._input(key, labels)

    def _input(self, key: int, labels: Labels) -> int:
        self._input_of_key = grown(self._input_of_key, key + 1, UNKNOWN)
        known = int(self._input_of_key[key])
        if known >= 0:
            return known
        if self._rule.series_max and self.inputs >= self._rule.series_max:
            return NO_ROOM
        group = self._group(labels)
        number = self.inputs
        self.group_of_input = grown(self.group_of_input, number + 1)
        self.input_keys = grown(self.input_keys, number + 1)
        self.group_of_input[number], self.input_keys[number] = group, key
        self._input_of_key[key] = number
        self.inputs += 1
        return number

    def _group(self, labels: Labels) -> int:
        grouped = self._rule.grouped(labels)
        name = metric_name(grouped) + self._rule.suffix
        key = self._registry.intern(from_pairs([*grouped, (NAME, name)]), gated=False)
        self._group_of_key = grown(self._group_of_key, key + 1, UNKNOWN)
        known = int(self._group_of_key[key])
        if known >= 0:
            return known
        number = self.groups
        self.group_keys = grown(self.group_keys, number + 1)
        self.group_keys[number] = key
        self._group_of_key[key] = number
        self.groups += 1
        return number
