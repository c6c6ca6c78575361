"""Samples of folded series out of a batch, and the samples of the sums that they change into it."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Sequence

import numpy as np
from attrs import evolve
from numpy.typing import NDArray

from ...abc import Services
from ...errors import TinyObsError
from ...model import labels as lb
from ...model.batch import Batch, LimitHit, Refused
from ...model.histograms import NO_HISTOGRAMS, Histograms, joined, numbers_of
from ...model.metadata import MetricMetadata
from ...model.staleness import STALE_NAN, is_stale
from .counts import MINUTE_MS
from .decisions import Decisions
from .folds import Sums, is_counter

I64 = NDArray[np.int64]


class Folding:
    """Used under the registry's lock.  forgotten_samples: of members that had just been forgotten."""

    def __init__(self, services: Services, decisions: Decisions) -> None:
        self._services, self._decisions = services, decisions
        self.forgotten_samples = 0

    def folded(self, out: Batch, batch: Batch, at: I64, fate: NDArray[np.uint32], now_ms: int) -> Batch:
        """Return `out` with the sums that the samples of `batch` at some places change, and what could not be added counted.

        fate: the stand-in of each sample of `batch`.
        """
        decisions = self._decisions
        members = decisions.folds.members
        places = members.places(fate[at])
        known = places >= 0
        self.forgotten_samples += int(np.count_nonzero(~known))
        at, places = at[known], places[known]
        members.mark(places, now_ms // MINUTE_MS)
        self._note_targets(members.targets[places], batch, now_ms)
        values, starts = batch.values[at], None if batch.starts_ms is None else batch.starts_ms[at]
        taken = len(at)
        if batch.histograms is not None or members.histograms.nbytes:
            values, numbers, table = _native(values, batch.histograms)
            native = (numbers >= 0) | (is_stale(values) & members.histograms.holds(places))
            if native.any():
                found = decisions.histogram_folds.fold(
                    places[native],
                    batch.timestamps_ms[at[native]],
                    numbers[native],
                    table,
                    None if starts is None else starts[native],
                )
                hits = self._hits(found.misfits, found.no_room, now_ms)
                taken -= len(found.misfits) + found.no_room
                out = self._with_sums(_with_hits(out, hits), found.sums, found.histograms, now_ms)
                at, places, values = at[~native], places[~native], values[~native]
                starts = None if starts is None else starts[~native]
        if len(at):
            sums = decisions.folds.fold(places, batch.timestamps_ms[at], values, starts)
            out = self._with_sums(out, sums, None, now_ms)
        return evolve(out, absorbed=out.absorbed + taken)

    def _note_targets(self, targets: NDArray[np.int32], batch: Batch, now_ms: int) -> None:
        """Give new targets a ref, and count the samples of all for the report."""
        folds, report = self._decisions.folds, self._decisions.folded
        for number, samples in zip(*(x.tolist() for x in np.unique(targets, return_counts=True)), strict=True):
            self._begin(number, batch)
            for record in folds.targets[number].records:
                report.records[record].samples += samples
                report.records[record].last_ms = now_ms

    def _begin(self, number: int, batch: Batch) -> None:
        folds = self._decisions.folds
        if folds.is_new(number):
            target = folds.targets[number]
            ref = self._services.registry.intern(target.labels, gated=False)
            folds.begin(number, ref, is_counter(target.labels, ChainMap({**batch.metadata}, self._metadata())))
            self._decisions.count_target(target, ref)

    def _metadata(self) -> dict[str, MetricMetadata]:
        try:
            return dict(self._services.open_storage().metadata())
        except TinyObsError:
            return {}

    def _hits(self, misfits: I64, no_room: int, now_ms: int) -> Sequence[LimitHit]:
        """Count histograms that could not be added, and return what the sender is told."""
        decisions = self._decisions
        refusals, samples = decisions.refusals, dict[int, int]()
        for number, count in zip(*(x.tolist() for x in np.unique(misfits, return_counts=True)), strict=True):
            target = decisions.folds.targets[number]
            values_max = decisions.rules.all[target.rule].settings.values_max
            of = f"metric {lb.metric_name(target.labels)}, whose custom and exponential buckets cannot be added up"
            ref = refusals.of("values_max", values_max, of)
            samples[ref] = samples.get(ref, 0) + count
        if no_room:
            samples[refusals.of("folded_histograms_size_max", decisions.histogram_folds.bytes_max)] = no_room
        return refusals.count(samples, now_ms)

    def _with_sums(self, out: Batch, sums: Sums, histograms: Histograms | None, now_ms: int) -> Batch:
        refs = np.array([self._decisions.folds.targets[i].ref for i in sums.targets.tolist()], np.uint32)
        if not len(refs):
            return out
        if self._decisions.counts is not None:
            self._decisions.counts.mark(refs, now_ms)
        own = np.zeros(len(out), np.int64) if out.starts_ms is None else out.starts_ms
        values, table = joined([(out.values, out.histograms), (sums.values, histograms)])
        return evolve(
            out,
            refs=np.concatenate([out.refs, refs]),
            timestamps_ms=np.concatenate([out.timestamps_ms, sums.timestamps_ms]),
            values=values,
            histograms=table,
            starts_ms=np.concatenate([own, sums.starts_ms]),
            absorbed=out.absorbed - len(refs),
        )


def _native(values: NDArray[np.float64], table: Histograms | None) -> tuple[NDArray[np.float64], I64, Histograms]:
    """Return values whose staleness markers are all floats, the number of the histogram of each or -1, and the histograms."""
    found = NO_HISTOGRAMS if table is None else table
    numbers = numbers_of(values)
    gone = (numbers >= 0) & is_stale(np.append(found.sums(), 0.0)[numbers])
    if gone.any():
        values, numbers = np.where(gone, STALE_NAN, values), np.where(gone, -1, numbers)
    return values, numbers, found


def _with_hits(out: Batch, hits: Sequence[LimitHit]) -> Batch:
    if not hits:
        return out
    refused = dict(out.refused)
    refused[Refused.LIMIT] = refused.get(Refused.LIMIT, 0) + sum(h.samples for h in hits)
    return evolve(out, refused=refused, limits=(*out.limits, *hits))
