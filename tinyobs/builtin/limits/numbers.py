"""Decides on new series by number: whether there is room for them, which values of their labels are kept, what is folded.

Most series fall under no rule and fit in whatever becomes of the others: they are let pass at once.  Those beyond what is full already are
refused at once, and those with values beyond a bound refused or folded (`bounded.py`).  The rest is decided one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from ...config.limit_settings import LimitRule, LimitSettings
from ...model import labels as lb
from ...model.gate import Candidates, PairTexts
from ...model.hash_table import MISSING
from .bounded import Bounding, Ruled, beyond, given, rules_of
from .counts import MINUTE_MS, NO_RULE, Counts, name_and_job
from .folds import OTHER, Folds, Target, family_of
from .refusals import Refusals
from .report import Report
from .rules import Rules

U32 = NDArray[np.uint32]
I64 = NDArray[np.int64]


@frozen
class Bounds:
    """The limits that hold for the series of one rule, or of none; 0 is none."""

    metric: int
    job: int
    source: int
    series: int = 0
    """Of all series of the rule."""
    hour: int = 0
    day: int = 0
    is_own_hour: bool = False
    """Whether new series count for the rule, and not with those of all."""
    is_own_day: bool = False


_OVERALL: Final = ("series_max", "new_series_per_hour_max", "new_series_per_day_max")
"""Limits that hold for all series together."""

_ONE_BY_ONE: Final = 64
"""Series that are decided on one by one before it is looked again which are surely beyond a bound."""


class Numbers:
    """The limits on numbers, under one configuration.  Used under the registry's lock."""

    def __init__(
        self, settings: LimitSettings, rules: Rules, counts: Counts, refusals: Refusals, folds: Folds, report: Report
    ) -> None:
        self._settings, self._rules, self._counts = settings, rules, counts
        self._refusals, self._folds, self._report = refusals, folds, report
        self._bounds = [_bounds(settings, None), *(_bounds(settings, r.settings) for r in rules.all)]
        self._overall = settings.series_max, settings.new_series_per_hour_max, settings.new_series_per_day_max
        self._now_ms = 0
        self._bounding = Bounding(rules, refusals, folds, report, self._target)
        self._step: _Step | None = None

    def counts_all(self) -> bool:
        """Tell whether any number is limited at all."""
        return len(self._rules) > 0 or any(self._overall) or self._bounds[0] != Bounds(0, 0, 0)

    def with_rules(self, candidates: Candidates, names: I64) -> Ruled:
        """Return the series that a rule may hold for, by their names."""
        distinct, place = np.unique(names, return_inverse=True)
        by_name = [self._rules.possible(candidates.texts.pair(i)[1] if i >= 0 else "") for i in distinct.tolist()]
        choices = list(dict.fromkeys(by_name))
        possible = np.array([choices.index(p) for p in by_name], np.int64)[place]
        rows = np.flatnonzero(np.array([bool(p) for p in by_name], np.bool_)[place]) if len(self._rules) else place[:0]
        return Ruled(candidates, rows, names[rows], possible[rows], choices)

    def decide(self, candidates: Candidates, rows: I64, out: U32, source: str, now_ms: int) -> tuple[I64, I64]:
        """Decide on some rows, putting what stands for those refused or folded into `out`; return their rules and sources."""
        self._now_ms = now_ms
        some = candidates if len(rows) == len(candidates) else candidates.take(rows)
        names, jobs = name_and_job(some)
        sources = self._sources(some, jobs, source)
        rules = np.full(len(rows), NO_RULE)
        made = np.full(len(rows), MISSING, np.uint32)
        ruled = self.with_rules(some, names)
        rules[ruled.rows] = rules_of(self._rules, ruled)
        plain = np.flatnonzero(rules == NO_RULE)
        fits, shut = self._fits(names[plain], jobs[plain], sources[plain], some.texts)
        made[plain] = shut
        self._counts.count(rules[plain[fits]], sources[plain[fits]], is_new=True)
        step = _Step(some, names, jobs, sources, {})
        rest = plain[~fits & (shut == MISSING)]
        if len(rest) or len(ruled.rows):
            _note(step.extra, names[plain[fits]], jobs[plain[fits]])
        for row in rest.tolist():
            made[row] = self._room(step, row, NO_RULE)
        self._step = step
        for rule in np.unique(rules[rules >= 0]).tolist():
            self._ruled(ruled.take(rules[ruled.rows] == rule), rule, made)
        self._step = None
        out[rows] = made
        return rules, sources

    def _ruled(self, ruled: Ruled, rule: int, made: U32) -> None:
        """Decide on series of one rule: on those beyond its bounds at once, on the others one by one.

        Every value that is kept may close a bound, so those others are taken some at a time.
        """
        assert self._step is not None
        count = _ONE_BY_ONE
        while len(ruled.rows):
            found = beyond(self._rules, rule, ruled)
            if found is not None:
                made[found[0].ruled.rows] = self._bounding.decide(found[0], self._now_ms, self._now_ms // MINUTE_MS)
                ruled = ruled.take(~found[1])
            late: dict[int, list[str]] = {}
            for at, row in enumerate(ruled.rows[:count].tolist()):
                excess, made[row] = self._one(self._step, row, rule)
                if excess:
                    late[at] = excess
            if late:
                some = given(self._rules, rule, ruled.take(np.array(list(late))), list(late.values()))
                made[some.ruled.rows] = self._bounding.decide(some, self._now_ms, self._now_ms // MINUTE_MS)
            ruled, count = ruled.take(np.arange(count, len(ruled.rows))), 2 * count

    def closed(self) -> int:
        """Return what stands for every new series, `MISSING` where it depends on the series."""
        if len(self._rules):
            return MISSING
        numbers = self._counts.total, self._counts.hour.total, self._counts.day.total
        for limit, value, number in zip(_OVERALL, self._overall, numbers, strict=True):
            if value and number >= value:
                return self._refusals.of(limit, value)
        return MISSING

    def _sources(self, some: Candidates, jobs: I64, source: str) -> I64:
        if not any(b.source for b in self._bounds):
            return np.zeros(len(some), np.int64)
        if source:
            return np.full(len(some), self._counts.source_id(source))
        distinct, place = np.unique(jobs, return_inverse=True)
        found = [self._counts.source_id("job " + some.texts.pair(i)[1]) if i >= 0 else 0 for i in distinct.tolist()]
        return np.array(found, np.int64)[place]

    def _fits(self, names: I64, jobs: I64, sources: I64, texts: PairTexts) -> tuple[NDArray[np.bool_], U32]:
        """Return which series of no rule can be taken whatever becomes of the others; and what stands for those that cannot be."""
        bounds, n = self._bounds[0], len(names)
        shut = np.full(n, MISSING, np.uint32)
        numbers = (self._counts.total, self._counts.hour.total, self._counts.day.total)
        if any(limit and number + n > limit for limit, number in zip(self._overall, numbers, strict=True)):
            return np.zeros(n, np.bool_), shut
        fits = np.ones(n, np.bool_)
        of_source = np.array(self._counts.of_source) if bounds.source else np.zeros(0)
        for ids, kind, limit in (
            (names, "metric", bounds.metric),
            (jobs, "job", bounds.job),
            (sources, "source", bounds.source),
        ):
            if limit:
                distinct, place, more = np.unique(ids, return_inverse=True, return_counts=True)
                there = of_source[distinct] if ids is sources else self._counts.pairs(distinct)
                limited = distinct >= (1 if ids is sources else 0)
                fits &= ~((there + more > limit) & limited)[place]
                for i in np.flatnonzero((there >= limit) & limited).tolist():
                    at = (place == i) & (shut == MISSING)
                    shut[at] = self._refusals.of(
                        f"series_per_{kind}_max", limit, self._subject(kind, int(distinct[i]), texts)
                    )
        return fits & (shut == MISSING), shut

    def _one(self, step: _Step, row: int, rule: int) -> tuple[list[str], int]:
        """Decide on one series; return its labels beyond their bounds, and where there are none `MISSING` or what stands for it."""
        labels = dict(step.candidates.labels(row))
        found = self._rules.all[rule]
        if excess := found.excess(labels):
            return excess, MISSING
        ref = self._room(step, row, rule)
        if ref == MISSING:
            found.keep(labels)
        return excess, ref

    def _room(self, step: _Step, row: int, rule: int) -> int:
        """Count a series and return `MISSING`, or return what stands for it where there is no room."""
        b, all_ = self._bounds[rule + 1], self._overall
        name, job, source = int(step.names[row]), int(step.jobs[row]), int(step.sources[row])
        hours, days = self._counts.hour, self._counts.day
        hour = (hours.of_rule[rule], b.hour) if b.is_own_hour else (hours.total, all_[1])
        day = (days.of_rule[rule], b.day) if b.is_own_day else (days.total, all_[2])
        pair = self._counts.of_pair
        for limit, (number, value), of in (
            ("series_max", (self._counts.total, all_[0]), ""),
            ("series_max", (self._counts.of_rule[rule] if rule >= 0 else 0, b.series), "rule"),
            ("series_per_metric_max", (step.number(pair, name), b.metric if name >= 0 else 0), "metric"),
            ("series_per_job_max", (step.number(pair, job), b.job if job >= 0 else 0), "job"),
            ("series_per_source_max", (self._counts.of_source[source], b.source if source else 0), "source"),
            ("new_series_per_hour_max", hour, "rule" if b.is_own_hour else ""),
            ("new_series_per_day_max", day, "rule" if b.is_own_day else ""),
        ):
            if value and number >= value:
                which = {"metric": name, "job": job, "source": source, "rule": rule, "": -1}[of]
                return self._refusals.of(limit, value, self._subject(of, which, step.candidates.texts))
        self._counts.count_one(rule, source, b.is_own_hour, b.is_own_day)
        step.note(name, job)
        return MISSING

    def _target(self, row: int, rule: int, excess: Sequence[str]) -> int:
        """Return the number of what a series with labels beyond their bounds is folded into, or what refuses it."""
        step = self._step
        assert step is not None
        labels = dict(step.candidates.labels(row))
        folded = lb.from_mapping({**labels, **dict.fromkeys(excess, OTHER)})
        number = self._folds.find(folded)
        if number >= 0:
            return number
        ref = self._room(step, row, rule)
        if ref != MISSING:
            return ref
        family = family_of(labels.get(lb.NAME, ""))
        records = tuple([self._report.record(rule, label, family, self._now_ms) for label in excess])
        return self._folds.add(Target(folded, rule, int(step.sources[row]), records))

    def _subject(self, kind: str, number: int, texts: PairTexts) -> str:
        """Return what a limit holds for, in words."""
        if kind in ("metric", "job"):
            return f"{kind} {texts.pair(number)[1]}"
        if kind == "source":
            return f"source {self._counts.source_name(number)}"
        return kind and f"rule {self._rules.all[number].settings.match}"


@frozen(eq=False)
class _Step:
    """Series that are decided on together; extra: how many were let pass, by pair id, that are not counted yet."""

    candidates: Candidates
    names: I64
    jobs: I64
    sources: I64
    extra: dict[int, int]

    def number(self, of_pair: NDArray[np.int32], pair: int) -> int:
        """Return how many series have a metric name or job."""
        return (int(of_pair[pair]) if 0 <= pair < len(of_pair) else 0) + self.extra.get(pair, 0)

    def note(self, name: int, job: int) -> None:
        """Note that one was let pass."""
        self.extra[name] = self.extra.get(name, 0) + 1
        self.extra[job] = self.extra.get(job, 0) + 1


def _note(extra: dict[int, int], *columns: I64) -> None:
    for column in columns:
        distinct, numbers = np.unique(column, return_counts=True)
        extra.update(zip(distinct.tolist(), numbers.tolist(), strict=True))


def _bounds(settings: LimitSettings, rule: LimitRule | None) -> Bounds:
    def own(name: str) -> int:
        value = getattr(rule, name, None)
        found: int = value if value is not None else getattr(settings, name)
        return found

    shared = own("series_per_metric_max"), own("series_per_job_max"), own("series_per_source_max")
    if rule is None:
        return Bounds(*shared)
    hour, day = rule.new_series_per_hour_max, rule.new_series_per_day_max
    return Bounds(*shared, rule.series_max or 0, hour or 0, day or 0, hour is not None, day is not None)
