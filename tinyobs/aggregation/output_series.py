"""The numbers of the series that a rule puts out, by output and group; made when they are first put out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from attrs import evolve
from numpy.typing import NDArray

from ..model.growing import grown
from ..model.histograms import renumbered
from ..model.labels import NAME, Labels, from_pairs, metric_name
from ..model.registry import SeriesRegistry
from ..relabel import apply
from .arrays import I64
from .output import Column
from .rule import AggregationRule

_UNKNOWN = -1
_DROPPED = -2


class OutputSeries:
    """Refs of the registry; what `output_relabel_configs` drops has none."""

    def __init__(self, rule: AggregationRule, registry: SeriesRegistry, group_labels: Callable[[int], Labels]) -> None:
        """group_labels: the labels of a group, the name with the suffix but without the output."""
        self._rule, self._registry, self._group_labels = rule, registry, group_labels
        self._refs: dict[tuple[str, tuple[str, str] | None], I64] = {}

    def of(self, column: Column) -> tuple[Column, NDArray[np.uint32]]:
        """Return the column without what is dropped, and the series of its values."""
        key, groups = (column.output, column.label), column.groups
        known = grown(self._refs.get(key, np.zeros(0, np.int64)), int(groups.max(initial=-1)) + 1, _UNKNOWN)
        self._refs[key] = known
        new = groups[known[groups] == _UNKNOWN]
        if len(new):
            known[new] = self._make(new, column)
        refs = known[groups]
        kept = refs != _DROPPED
        if not kept.all():
            refs = refs[kept]
            values, histograms = column.values[kept], column.histograms
            if histograms is not None:
                values, numbers = renumbered(values)
                histograms = histograms.take(numbers)
            column = evolve(column, groups=groups[kept], values=values, histograms=histograms)
        return column, refs.astype(np.uint32)

    def keep(self, groups: I64) -> None:
        """Keep only these groups, which are numbered anew in this order."""
        size = int(groups.max(initial=-1)) + 1
        self._refs = {key: grown(refs, size, _UNKNOWN)[groups] for key, refs in self._refs.items()}

    def _make(self, groups: I64, column: Column) -> I64:
        made = []
        for group in groups.tolist():
            labels = self._group_labels(group)
            extra = [] if column.label is None else [column.label]
            if not self._rule.keep_metric_names:
                extra.append((NAME, metric_name(labels) + column.output))
            made.append(apply(from_pairs([*labels, *extra]), self._rule.output_relabel_configs) or ())
        refs = np.full(len(made), _DROPPED, np.int64)
        kept = [i for i, labels in enumerate(made) if labels]
        refs[kept] = self._registry.intern_many([made[i] for i in kept], gated=False)
        return refs
