"""The step that chooses: by series once which replica it comes from, by batch which replicas are taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from attrs import evolve, field, frozen
from numpy.typing import NDArray

from ...abc import Processor, Services
from ...aggregation.replicas import Elections, Verdict
from ...model.batch import Batch, Refused
from ...model.exemplars import Exemplar
from ...model.labels import drop, get
from .settings import SECTION, ReplicaSettings

_UNKNOWN: Final = -1
_NONE: Final = 0
"""A series without one of the labels: it passes."""
PAIRS_MAX: Final = 100_000
"""Replicas that are known at a time; with more, all series are looked at anew."""


@frozen
class ReplicaStatistics:
    """How the elections stand."""

    clusters: int
    """Clusters that are followed."""
    deduplicated_samples_total: Mapping[str, int] = field(metadata={"label": "cluster"})
    """Samples that were dropped because another replica is elected."""
    refused_samples_total: int
    """Samples of clusters beyond `clusters_max`."""
    elected_replica_changes_total: Mapping[str, int] = field(metadata={"label": "cluster"})
    """How often another replica was elected."""
    elected_replica_timestamp_seconds: Mapping[tuple[str, str], float] = field(
        metadata={"label": ("cluster", "replica")}
    )
    """When it was last noted that the elected replica was heard."""


class Replicas(Processor):
    """Takes the samples of elected replicas.  Used in the writer's threads, one at a time; statistics from any."""

    name = SECTION

    def __init__(self, services: Services) -> None:
        self._services = services
        self._settings = ReplicaSettings()
        self._elections = Elections(0, 0, 0)
        self._deduplicated: dict[str, int] = {}
        self._refused = 0
        self._forget_series()

    def process(self, batch: Batch) -> Batch:
        """Return the batch with the samples of elected replicas, and those that come from none."""
        settings: ReplicaSettings = self._services.config.tinyobs.section(SECTION)
        if settings is not self._settings and settings != self._settings:
            self._take_over(settings)
        if not settings.enabled or not (len(batch) or batch.exemplars):
            return batch
        refs = batch.refs
        if batch.exemplars:
            refs = np.concatenate((refs, np.array([e.ref for e in batch.exemplars], np.uint32)))
        pairs, refs = self._pairs_of(refs)
        if not pairs.any():
            return batch
        return self._chosen(batch, pairs, refs)

    def statistics(self) -> ReplicaStatistics:
        """Return the figures."""
        found = dict(self._elections.clusters)
        return ReplicaStatistics(
            len(found),
            dict(self._deduplicated),
            self._refused,
            {name: e.changes for name, e in found.items()},
            {(name, e.replica): e.heard_ms / 1000 for name, e in found.items()},
        )

    def _take_over(self, settings: ReplicaSettings) -> None:
        """Go on with other settings; who is elected stays."""
        self._settings = settings
        elections = Elections(settings.failover_timeout_ms, settings.update_timeout_ms, settings.clusters_max)
        elections.clusters = self._elections.clusters
        self._elections = elections
        self._forget_series()

    def _forget_series(self) -> None:
        self._pairs: dict[tuple[str, str], int] = {}
        self._names: list[tuple[str, str]] = [("", "")]
        self._pair_of_ref: NDArray[np.int32] = np.full(1024, _UNKNOWN, np.int32)
        self._stored_ref: NDArray[np.uint32] = np.zeros(1024, np.uint32)

    def _chosen(self, batch: Batch, pairs: NDArray[np.int32], refs: NDArray[np.uint32]) -> Batch:
        """Return the samples and exemplars of replicas that are taken, under the series that are stored."""
        now, n = self._services.clock.now_ms(), len(batch)
        verdicts = np.zeros(len(self._names), np.uint8)
        found, first = np.unique(pairs, return_index=True)
        for pair in found[np.argsort(first)].tolist():
            cluster, replica = self._names[pair]
            verdict = Verdict.TAKEN if pair == _NONE else self._elections.hear(cluster, replica, now)
            verdicts[pair] = verdict.value
        of = verdicts[pairs]
        taken = of == Verdict.TAKEN.value
        left = evolve(batch, refs=refs[:n])
        if not taken[:n].all():
            duplicates = np.bincount(pairs[:n][of[:n] == Verdict.DUPLICATE.value])
            for pair in np.flatnonzero(duplicates).tolist():
                cluster = self._names[pair][0]
                self._deduplicated[cluster] = self._deduplicated.get(cluster, 0) + int(duplicates[pair])
            left = left.take(taken[:n])
            absorbed = int(duplicates.sum())
            left = evolve(left, absorbed=batch.absorbed + absorbed, refused=self._with_refused(batch, left, absorbed))
        if batch.exemplars:
            left = evolve(left, exemplars=_exemplars(batch.exemplars, refs[n:], taken[n:]))
        return left

    def _with_refused(self, batch: Batch, left: Batch, absorbed: int) -> Mapping[Refused, int]:
        count = len(batch) - len(left) - absorbed
        if not count:
            return batch.refused
        self._refused += count
        return {**batch.refused, Refused.LIMIT: batch.refused.get(Refused.LIMIT, 0) + count}

    def _pairs_of(self, refs: NDArray[np.uint32]) -> tuple[NDArray[np.int32], NDArray[np.uint32]]:
        """Return by sample the number of its cluster and replica, and the series that it is stored under."""
        if len(self._names) > PAIRS_MAX:
            self._forget_series()
        top = int(refs.max()) + 1
        if top > len(self._pair_of_ref):
            size = max(top, len(self._services.registry), 2 * len(self._pair_of_ref))
            more = size - len(self._pair_of_ref)
            self._pair_of_ref = np.concatenate((self._pair_of_ref, np.full(more, _UNKNOWN, np.int32)))
            self._stored_ref = np.concatenate((self._stored_ref, np.zeros(more, np.uint32)))
        pairs = self._pair_of_ref[refs]
        unknown = pairs == _UNKNOWN
        if unknown.any():
            self._decide(np.unique(refs[unknown]))
            pairs = self._pair_of_ref[refs]
        return pairs, self._stored_ref[refs]

    def _decide(self, refs: NDArray[np.uint32]) -> None:
        """Look at the labels of series."""
        settings, registry = self._settings, self._services.registry
        stripped = []
        marked = []
        for ref in refs.tolist():
            labels = registry.labels(ref)
            cluster, replica = get(labels, settings.cluster_label), get(labels, settings.replica_label)
            self._stored_ref[ref] = ref
            if not cluster or not replica:
                self._pair_of_ref[ref] = _NONE
                continue
            self._pair_of_ref[ref] = self._number(cluster, replica)
            marked.append(ref)
            stripped.append(drop(labels, {settings.replica_label}))
        if settings.drop_replica_label:
            self._stored_ref[marked] = registry.intern_many(stripped, gated=False)

    def _number(self, cluster: str, replica: str) -> int:
        pair = (cluster, replica)
        number = self._pairs.get(pair)
        if number is None:
            number = self._pairs[pair] = len(self._names)
            self._names.append(pair)
        return number


def _exemplars(exemplars: Sequence[Exemplar], refs: NDArray[np.uint32], taken: NDArray[np.bool_]) -> Sequence[Exemplar]:
    return [evolve(e, ref=int(ref)) for e, ref, is_taken in zip(exemplars, refs, taken, strict=True) if is_taken]
