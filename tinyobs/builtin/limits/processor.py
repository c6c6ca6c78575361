"""The processor: samples of series within the limits pass, of others they are counted and taken out, or folded.

A batch whose series are all within the limits costs one index and one comparison.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import structlog
from attrs import evolve, field, frozen
from numpy.typing import NDArray

from ...abc import Processor, Services
from ...config.limit_settings import LimitSettings
from ...model.batch import Batch, LimitHit, Refused
from ...model.exemplars import ExemplarRefused
from ...model.gate import STAND_INS
from ...model.hash_table import MISSING
from ...model.staleness import is_stale
from .counts import MINUTE_MS
from .decisions import Decisions
from .folding import Folding
from .refusals import FIRST

LOG_EVERY_MS: Final = 60_000
"""Refusals are logged this often at most; every one is counted."""

log = structlog.get_logger("limits")


@frozen
class LimitStatistics:
    """What the limits did."""

    refused_samples_total: Mapping[str, int] = field(metadata={"label": "limit"})
    """Samples of refused series."""
    folded_samples_total: Mapping[str, int] = field(metadata={"label": "rule"})
    """Samples of series that were folded into others."""
    folded_members: int
    """Series whose last values are remembered because they are folded."""
    folded_histograms_bytes: int
    """Bytes of native histograms that are remembered for that."""
    folded_series: int
    """Series that others are folded into."""
    forgotten_samples_total: int
    """Samples of folded series that were lost because their series had just been forgotten."""
    series: int
    """Series that count; 0 where no number of series is limited."""


class Limits(Processor):
    """Made once by an agent; `decisions` is the gate of its registry."""

    name = "limits"

    def __init__(self, services: Services) -> None:
        self._services, self._registry = services, services.registry
        self.decisions = Decisions(services.registry, self._refresh)
        services.registry.gate = self.decisions
        self._folding = Folding(services, self.decisions)
        self._tick_at_ms = self._log_again_ms = 0

    def process(self, batch: Batch) -> Batch:
        """Return the batch without samples and exemplars of refused series, and with sums in place of folded ones."""
        out = self._within(batch, self._refresh())
        return self._with_exemplars(out) if out.exemplars else out

    def _within(self, batch: Batch, now_ms: int) -> Batch:
        """Return the batch whose samples are within the limits; its exemplars are still all that came."""
        decisions, refs = self.decisions, batch.refs
        if not len(refs):
            return batch
        stand = decisions.stand
        if int(refs.max()) < len(stand) and bool((stand.take(refs) == refs).all()):
            if decisions.counts is not None:
                decisions.counts.mark(refs, now_ms)
            return batch
        with self._registry.lock:
            return self._sift(batch, now_ms)

    def _refresh(self) -> int:
        """Take over changed settings, and do each minute what is due; return the time."""
        decisions, now_ms = self.decisions, self._services.clock.now_ms()
        if self._services.config.tinyobs.limits is decisions.settings and now_ms < self._tick_at_ms:
            return now_ms
        with self._registry.lock:
            settings: LimitSettings = self._services.config.tinyobs.limits  # those of now, whoever waited for the lock
            decisions.now_ms = now_ms
            if not _is_same(settings, decisions.settings):
                decisions.configure(settings)
            decisions.settings = settings
            if now_ms >= self._tick_at_ms:
                self._tick_at_ms = (now_ms // MINUTE_MS + 1) * MINUTE_MS
                decisions.tick(now_ms)
        return now_ms

    def statistics(self) -> LimitStatistics:
        """Return the counters."""
        d = self.decisions
        folded: dict[str, int] = {}
        with self._registry.lock:  # other settings may have other rules
            for record in d.folded.records:
                match = d.rules.all[record.rule].settings.match
                folded[match] = folded.get(match, 0) + record.samples
            return LimitStatistics(
                d.refusals.samples_by_limit(),
                folded,
                len(d.folds.members),
                d.histogram_folds.nbytes,
                len(d.folds.targets),
                self._folding.forgotten_samples,
                d.counts.total if d.counts is not None else 0,
            )

    def _sift(self, batch: Batch, now_ms: int) -> Batch:
        """Return the batch as it goes on, of which some series are new or beyond a limit."""
        decisions, refs = self.decisions, batch.refs
        real = refs < STAND_INS
        fate = refs.copy()
        fate[real] = self._fate(refs[real], batch.source)
        good = (fate == refs) & real
        if decisions.counts is not None:
            decisions.counts.mark(refs[good], now_ms)
        if good.all():
            return batch
        stale = is_stale(batch.values)
        folded = ~good & (fate < FIRST)
        refused, counts = np.unique(fate[~good & ~folded & ~stale], return_counts=True)
        hits = decisions.refusals.count(dict(zip(refused.tolist(), counts.tolist(), strict=True)), now_ms)
        self._tell(hits, now_ms)
        out = batch.take(good)
        told = dict(batch.refused)
        beyond = sum(h.samples for h in hits)
        if hits:
            told[Refused.LIMIT] = told.get(Refused.LIMIT, 0) + beyond
        out = evolve(out, refused=told, limits=(*batch.limits, *hits))
        out = evolve(out, absorbed=out.absorbed + int(counts.sum()) - beyond)
        return self._folding.folded(out, batch, np.flatnonzero(folded), fate, now_ms) if folded.any() else out

    def _with_exemplars(self, batch: Batch) -> Batch:
        """Return the batch without exemplars of series that are refused or folded; they may come without any sample."""
        refs, stand = batch.exemplar_refs(), self.decisions.stand
        if int(refs.max()) < len(stand) and bool((stand.take(refs) == refs).all()):
            return batch
        with self._registry.lock:
            real = refs < STAND_INS
            fate = refs.copy()
            fate[real] = self._fate(refs[real], batch.source)
        good = (fate == refs) & real
        told = dict(batch.exemplars_refused)
        if refused := int(np.count_nonzero(~good & (fate >= FIRST))):
            told[ExemplarRefused.LIMIT] = told.get(ExemplarRefused.LIMIT, 0) + refused
        kept = [batch.exemplars[i] for i in np.flatnonzero(good).tolist()]
        return evolve(batch, exemplars=kept, exemplars_refused=told)

    def _fate(self, refs: NDArray[np.uint32], source: str) -> NDArray[np.uint32]:
        """Return what becomes of series, deciding on those that nothing was decided on."""
        decisions = self.decisions
        top = int(refs.max(initial=0))
        if top < len(decisions.stand):
            fate = decisions.stand.take(refs)
            if (fate != MISSING).all():
                return fate
            refs_left = np.unique(refs[fate == MISSING])
        else:
            refs_left = np.unique(refs)
        decisions.decide(refs_left, source)
        return decisions.stand.take(refs)

    def _tell(self, hits: tuple[LimitHit, ...], now_ms: int) -> None:
        if hits and now_ms >= self._log_again_ms:
            self._log_again_ms = now_ms + LOG_EVERY_MS
            log.warning("series refused", first=hits[0].text, samples=hits[0].samples)


def _is_same(settings: LimitSettings, before: LimitSettings | None) -> bool:
    """Tell whether nothing changes for series; rates are the business of receptions."""
    return before is not None and settings == evolve(before, rates=settings.rates)
