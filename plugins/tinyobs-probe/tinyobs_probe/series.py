"""From what a probe found to a batch: series are interned once, and what vanished gets a staleness marker."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from attrs import define, field
from numpy.typing import NDArray
from tinyobs.model.batch import Batch
from tinyobs.model.families import MetricFamily
from tinyobs.model.labels import NAME, Labels, from_mapping
from tinyobs.model.metadata import MetricMetadata
from tinyobs.model.registry import SeriesRegistry
from tinyobs.model.staleness import STALE_NAN

ORIGIN = "probe"
REMEMBERED_SERIES_MAX = 10_000
"""Series remembered per target; a certificate's labels change with each renewal."""


@define
class TargetSeries:
    """The series of one target; `labels` are added to each."""

    _registry: SeriesRegistry
    _labels: Mapping[str, str]
    _refs: dict[tuple[str, Labels], int] = field(factory=dict, init=False)
    _current: NDArray[np.uint32] = field(factory=lambda: np.empty(0, np.uint32), init=False)
    _described: dict[str, MetricMetadata] = field(factory=dict, init=False)

    def batch(self, families: list[MetricFamily], at_ms: int) -> Batch:
        """Return the points of a probe, with markers for series that the last one had and this one has not."""
        if len(self._refs) > REMEMBERED_SERIES_MAX:
            self._refs.clear()
        refs = np.array([self._ref(f.name, p.labels) for f in families for p in f.points], np.uint32)
        values = np.array([p.value for f in families for p in f.points], np.float64)
        gone = np.setdiff1d(self._current, refs)
        self._current = refs
        metadata = {f.name: MetricMetadata(f.type, f.help, f.unit) for f in families}
        new = {name: m for name, m in metadata.items() if self._described.get(name) != m}
        self._described |= new
        return Batch(
            np.concatenate([refs, gone]),
            np.full(len(refs) + len(gone), at_ms, np.int64),
            np.concatenate([values, np.full(len(gone), STALE_NAN)]),
            ORIGIN,
            new,
        )

    def end(self, at_ms: int) -> Batch:
        """Return markers for all series of the last probe: the target is gone for good."""
        gone, self._current = self._current, self._current[:0]
        return Batch(gone, np.full(len(gone), at_ms, np.int64), np.full(len(gone), STALE_NAN), ORIGIN)

    def _ref(self, name: str, labels: Labels) -> int:
        ref = self._refs.get((name, labels))
        if ref is None:
            # The target's own labels win, as the scrape configuration's do over a target's metrics.
            merged = from_mapping({**dict(labels), **self._labels, NAME: name})
            ref = self._refs[(name, labels)] = self._registry.intern(merged, gated=False)
        return ref
