"""Decides on new series: they are numbered, refused, or folded into another.  The gate of the registry.

Everything here but `recall` runs under the registry's lock.  `stand` says for each numbered series what its samples become: its
own ref where it is within the limits, a stand-in, or `MISSING` as long as nothing was decided.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...config.limit_settings import LimitSettings
from ...model import labels as lb
from ...model.gate import SOURCE, STAND_INS, Candidates
from ...model.hash_table import MISSING
from ...model.labels import Labels
from ...model.registry import SeriesRegistry
from .answer import report_of
from .bounded import rules_of
from .carrying import rules_now, rules_of_targets
from .counts import MINUTE_MS, NO_RULE, Counts, name_and_job
from .folds import Folds, Target
from .histogram_folds import HistogramFolds
from .members import Members
from .numbers import Numbers
from .refusals import FIRST, Refusals
from .report import Report
from .rules import Rules
from .shapes import Shapes

_MEMO_BITS: Final = 18
"""Series that were refused lately are known again without being taken apart: so many of them, in 12 bytes each."""
_AT_ONCE: Final = 50_000
_NOT_COUNTED: Final = np.uint32(MISSING)

U32 = NDArray[np.uint32]
U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]


class Decisions:
    """The limits at work."""

    def __init__(self, registry: SeriesRegistry, begin: Callable[[], object]) -> None:
        """begin: calls `configure`; called with the first series that comes, when the storage is open."""
        self._registry, self._begin = registry, begin
        self.closed: int = MISSING
        self.settings: LimitSettings | None = None
        self.refusals = Refusals()
        self.folded = Report()
        self.rules = Rules(())
        self.folds = Folds(Members())
        self.histogram_folds = HistogramFolds(self.folds)
        self.counts: Counts | None = None
        self.stand: U32 = np.full(1024, _NOT_COUNTED)
        self.now_ms = 0
        self._shapes = Shapes(registry, LimitSettings(), self.refusals)
        self._numbers: Numbers | None = None
        self._has_refused = False
        self._passed: tuple[I64, I64] = (np.empty(0, np.int64), np.empty(0, np.int64))
        self._memo = _Memo()

    # -- changes -----------------------------------------------------------------------------------------------

    def configure(self, settings: LimitSettings) -> None:
        """Take over settings; series that are there stay, whatever their number."""
        before, self.settings = self.settings, settings
        self._shapes = Shapes(self._registry, settings, self.refusals)
        rules = Rules(settings.rules)
        if before is not None and before.rules != settings.rules:
            self._carry(rules)
        self.folds.members.members_max = settings.folded_members_max
        self.histogram_folds.bytes_max = settings.folded_histograms_size_max_bytes
        self.rules = rules
        self._ensure()
        self.stand[:] = _NOT_COUNTED
        self._anew()
        earlier, counts = self.counts, Counts(self._registry, len(self.rules))
        numbers = Numbers(settings, self.rules, counts, self.refusals, self.folds, self.folded)
        self.counts, self._numbers = (counts, numbers) if numbers.counts_all() else (None, None)
        if self.counts is not None:
            for target in self.folds.targets:
                if target.ref < 0:  # its first member has come, and its first sample is still on the way
                    target.source = counts.reserve(target.rule, target.source, earlier)
            counts.hour.turn(self.now_ms)
            counts.day.turn(self.now_ms)
            if earlier is not None and before is not None:
                old = [rule.match for rule in before.rules]
                counts.keep_windows(
                    earlier, {i: old.index(r.match) for i, r in enumerate(settings.rules) if r.match in old}
                )
            for i in range(0, len(self._registry), _AT_ONCE):
                refs = np.arange(i, min(i + _AT_ONCE, len(self._registry)), dtype=np.uint32)
                self._count_known(refs if earlier is None else refs[earlier.is_counted(refs)], counts, numbers, earlier)

    def tick(self, now_ms: int) -> None:
        """Forget what is gone, and begin new hours and days."""
        self.now_ms = now_ms
        counts, settings = self.counts, self.settings
        if counts is None or settings is None:
            return
        before_ms = now_ms - settings.forget_after_ms
        counts.day.turn(now_ms)
        if counts.hour.turn(now_ms):
            gone = counts.forget(before_ms)
            for ref in gone.tolist():
                if (rule := counts.rule_of(ref)) != NO_RULE:
                    self.rules.all[rule].release(dict(self._registry.labels(ref)))
            self.stand[gone] = _NOT_COUNTED
            if not self._forget_members(before_ms) and self._has_refused:
                self._anew()
        elif self.folds.members.is_full:
            self._forget_members(before_ms)

    # -- the gate ----------------------------------------------------------------------------------------------

    def recall(self, hashes: U64) -> U32:
        """Return what stands for series that were refused or folded, `MISSING` for others."""
        out = self._memo.find(hashes)
        members = self.folds.members
        if len(members):
            found = members.find(hashes)
            out = np.where(found == MISSING, out, found)
        return out

    def screen(self, candidates: Candidates, source: str | None = None) -> U32:
        """Return `MISSING` for series that may be numbered, for others what stands for them."""
        if self.settings is None:
            self._begin()
        out = self.recall(candidates.hashes)
        old = out != MISSING
        self._shapes.screen(candidates, out)
        rows = np.flatnonzero(out == MISSING)
        rules = sources = np.full(len(rows), NO_RULE)
        if self._numbers is not None and len(rows):
            source = SOURCE.get() if source is None else source
            rules, sources = self._numbers.decide(candidates, rows, out, source, self.now_ms)
            passed = out[rows] == MISSING
            rules, sources = rules[passed], sources[passed]
            self.closed = self._numbers.closed()
        self._passed = rules, sources
        refused = np.flatnonzero(~old & (out != MISSING) & (out >= FIRST))
        self._has_refused |= len(refused) > 0 or self.closed != MISSING
        self._memo.add(candidates.hashes[refused], out[refused])
        found, first, series = np.unique(out[refused], return_index=True, return_counts=True)
        for ref, at, count in zip(found.tolist(), refused[first].tolist(), series.tolist(), strict=True):
            self.refusals.decided(ref, count, () if self.refusals.at(ref).example else candidates.labels(at))
        return out

    def numbered(self, refs: U32, columns: I64) -> None:
        """Take note of the refs of those that were let pass."""
        self._ensure()
        self.stand[refs] = refs
        if self.counts is not None:
            names, jobs = name_and_job(Candidates(np.empty(len(refs), np.uint64), columns, self._registry.pair_texts))
            self.counts.add(refs, names, jobs, *self._passed, self.now_ms)

    def report(self) -> dict[str, Any]:
        """Return what was refused and folded, the most samples first."""
        with self._registry.lock:
            members_max = self.settings.folded_members_max if self.settings is not None else 0
            return report_of(self.counts, self.rules, self.refusals, self.folds, self.folded, members_max)

    def labels_of(self, ref: int) -> Labels:
        """Return what a stand-in stands for: the series that another is folded into, or the limit."""
        with self._registry.lock:  # else members might be forgotten meanwhile, and those that stay numbered anew
            if ref < FIRST:
                target = self.folds.members.target_of(ref)
                return self.folds.targets[target].labels if target >= 0 else lb.from_mapping({lb.NAME: "forgotten"})
            return lb.from_mapping({lb.NAME: "refused", "limit": self.refusals.at(ref).text})

    # -- numbered series ---------------------------------------------------------------------------------------

    def decide(self, refs: U32, source: str) -> None:
        """Decide on series that are numbered already."""
        self._ensure()
        for i in range(0, len(refs), _AT_ONCE):
            some = refs[i : i + _AT_ONCE]
            candidates = self._registry.candidates(some)
            out = self.screen(candidates, source)
            passed = out == MISSING
            self.stand[some] = out
            self.numbered(some[passed], candidates.columns[passed])

    def count_target(self, target: Target, ref: int) -> None:
        """Count a folded series, for which there is room since its first member came, unless it counts already."""
        self._ensure()
        self.stand[ref] = ref
        counts = self.counts
        if counts is None:
            return
        refs = np.array([ref], np.uint32)
        if counts.is_counted(refs)[0]:
            counts.take_back(target.rule, target.source)
            return
        names, jobs = name_and_job(self._registry.candidates(refs))
        counts.add(refs, names, jobs, np.array([target.rule]), np.array([target.source]), self.now_ms)

    # -- private -----------------------------------------------------------------------------------------------

    def _anew(self) -> None:
        """Let all that was refused be decided again."""
        self._memo = _Memo()
        self.closed, self._has_refused = MISSING, False
        self.stand[self.stand >= STAND_INS] = _NOT_COUNTED
        self._registry.generation += 1

    def _carry(self, rules: Rules) -> None:
        """Let only those sums go on that come about as before under these rules."""
        targets = self.folds.targets
        numbers = rules_of_targets(targets, self.rules, rules)
        records = self.folded.keep(rules_now(self.rules, rules))
        for target, number in zip(targets, numbers, strict=True):
            target.rule, target.records = number, tuple(records[i] for i in target.records)
        staying = self.folds.members.keep_of(np.array(numbers, np.int64) != NO_RULE)
        if staying is not None:
            self.histogram_folds.forget(self.folds.forget(staying))

    def _forget_members(self, before_ms: int) -> bool:
        staying = self.folds.members.forget(before_ms // MINUTE_MS)
        if staying is None:
            return False
        self.histogram_folds.forget(self.folds.forget(staying))
        self._anew()
        return True

    def _ensure(self) -> None:
        if len(self.stand) < len(self._registry):
            longer = np.full(2 * len(self._registry), _NOT_COUNTED)
            longer[: len(self.stand)] = self.stand
            self.stand = longer

    def _count_known(self, refs: U32, counts: Counts, numbers: Numbers, earlier: Counts | None) -> None:
        """Count series that are there; those that are to be refused for their labels or folded wait for their next sample."""
        candidates = self._registry.candidates(refs)
        out = np.full(len(refs), _NOT_COUNTED)
        self._shapes.screen(candidates, out)
        names, jobs = name_and_job(candidates)
        rules = np.full(len(refs), NO_RULE)
        ruled = numbers.with_rules(candidates, names)
        rules[ruled.rows] = rules_of(self.rules, ruled)
        for row in np.flatnonzero(rules != NO_RULE).tolist():
            if out[row] == MISSING:
                labels = dict(candidates.labels(row))
                rule = self.rules.all[rules[row]]
                if rule.excess(labels):
                    out[row] = FIRST
                else:
                    rule.keep(labels)
        good = out == MISSING
        sources = np.zeros(len(refs), np.int64) if earlier is None else earlier.sources_of(refs, counts)
        counts.count(rules[good], sources[good], is_new=False)
        counts.add(refs[good], names[good], jobs[good], rules[good], sources[good], self.now_ms)
        if earlier is not None:
            counts.keep_times(refs[good], earlier)
        self.stand[refs[good]] = refs[good]


class _Memo:
    """Which of the series refused last stands at a place; the place is part of the hash."""

    def __init__(self) -> None:
        self._hashes = np.zeros(1 << _MEMO_BITS, np.uint64)
        self._refs = np.zeros(1 << _MEMO_BITS, np.uint32)
        self._shift = np.uint64(64 - _MEMO_BITS)

    def find(self, hashes: U64) -> U32:
        at = (hashes >> self._shift).view(np.int64)
        return np.where(self._hashes[at] == hashes, self._refs[at], _NOT_COUNTED)

    def add(self, hashes: U64, refs: U32) -> None:
        # A reader without the lock may find a hash with another refusal, which is no worse than a wrong sentence.
        at = (hashes >> self._shift).view(np.int64)
        self._refs[at], self._hashes[at] = refs, hashes
