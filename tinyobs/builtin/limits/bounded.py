"""Series whose labels have values that are not kept, decided on many at once: they are refused, or folded.

This is what a flood consists of.  Whatever depends on a value alone is asked once for each value that occurs; the rest is lookups
by index.  What is not surely beyond a bound is left to the slower way, one by one (`numbers.py`): values that may be kept, and
rules that count values for each combination of the other labels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from ...config.limit_settings import LimitMode, ValuesPer
from ...model.gate import Candidates
from ...model.hash_table import MISSING
from .bucket_fills import Buckets, bound_of
from .counts import NO_RULE
from .folds import OTHER, Folds, family_of
from .refusals import QUANTILE, Refusals
from .report import Report
from .rules import Rule, Rules

_FOLDED: Final = -2
"""Stands in a row of pair ids for a label whose value is folded."""

_HASH_MASK: Final = (1 << 64) - 1

U32 = NDArray[np.uint32]
I64 = NDArray[np.int64]
Bools = NDArray[np.bool_]


@frozen(eq=False)
class Ruled:
    """Series that a rule may hold for.

    rows: int64[n], their places among the candidates.  names: int64[n], the pair ids of their metric names.  possible: int64[n],
    which of `choices`: the rules whose conditions on the name hold.
    """

    candidates: Candidates
    rows: I64
    names: I64
    possible: I64
    choices: list[tuple[int, ...]]

    def take(self, which: I64 | Bools) -> Ruled:
        """Return some of them."""
        return Ruled(self.candidates, self.rows[which], self.names[which], self.possible[which], self.choices)

    def column(self, label: str) -> I64:
        """Return the pair ids of a label, -1 for series that do not have it."""
        name = self.candidates.texts.name_id(label)
        columns = self.candidates.columns[self.rows]
        found = np.full(len(columns), -1, np.int64)
        if name >= 0 and columns.size:
            hit = (columns >= 0) & (self.candidates.texts.names_of(np.maximum(columns, 0)) == name)
            has = np.flatnonzero(hit.any(axis=1))
            found[has] = columns[has, hit[has].argmax(axis=1)]
        return found

    def of_values(self, ids: I64, ask: Callable[[str], object], kind: Any) -> NDArray[Any]:
        """Return what `ask` says of the value of each pair, "" for -1; it is asked once for each that occurs."""
        distinct, place = np.unique(ids, return_inverse=True)
        pair = self.candidates.texts.pair
        said = np.empty(len(distinct), kind)
        said[:] = [ask(pair(i)[1] if i >= 0 else "") for i in distinct.tolist()]
        return said[place]

    def buckets(self) -> Buckets | None:
        """Return which of them are buckets of which histograms; None where none is."""
        bounds = self.column("le")
        if (bounds < 0).all():
            return None
        columns = self.candidates.columns[self.rows]
        distinct, place = np.unique(columns, return_inverse=True)
        pair = self.candidates.texts.pair
        hashes = [0 if i < 0 or pair(i)[0] == "le" else hash(pair(i)) & _HASH_MASK for i in distinct.tolist()]
        histograms = np.array(hashes, np.uint64)[place.reshape(columns.shape)].sum(axis=1, dtype=np.uint64)
        return Buckets(self.of_values(bounds, bound_of, np.float64), histograms)


def rules_of(rules: Rules, ruled: Ruled) -> I64:
    """Return the first rule that holds for each series, `NO_RULE` where none does."""
    found = np.full(len(ruled.rows), NO_RULE)
    columns: dict[str, I64] = {}
    for number, choice in enumerate(ruled.choices):
        left = np.flatnonzero(ruled.possible == number)
        for i in choice:
            holds = np.ones(len(left), np.bool_)
            for matcher in rules.all[i].on_labels:
                if matcher.name not in columns:
                    columns[matcher.name] = ruled.column(matcher.name)
                holds &= ruled.of_values(columns[matcher.name][left], matcher.matches, np.bool_)
            found[left[holds]] = i
            left = left[~holds]
    return found


@frozen(eq=False)
class Beyond:
    """Series of one rule with values beyond its bounds.

    excess: by label bool[n], which series have a value that is not kept.  values: by label, the pair ids.
    """

    ruled: Ruled
    rule: int
    families: NDArray[np.object_]
    excess: dict[str, Bools]
    values: dict[str, I64]


def beyond(rules: Rules, rule: int, ruled: Ruled) -> tuple[Beyond, Bools] | None:
    """Return those series of a rule that are surely beyond a bound, and which they are; None where there are none."""
    settings = rules.all[rule].settings
    if not settings.labels or settings.values_per is not ValuesPer.METRIC:
        return None
    families = ruled.of_values(ruled.names, family_of, object)
    values = {label: ruled.column(label) for label in settings.labels}
    excess = {label: _not_kept(rules.all[rule], label, ruled, families, ids) for label, ids in values.items()}
    some: Bools = np.logical_or.reduce(list(excess.values()))
    if not some.any():
        return None
    found = Beyond(
        ruled.take(some),
        rule,
        families[some],
        {label: which[some] for label, which in excess.items()},
        {label: ids[some] for label, ids in values.items()},
    )
    return found, some


def given(rules: Rules, rule: int, ruled: Ruled, excess: list[list[str]]) -> Beyond:
    """Return series of a rule whose labels beyond their bounds are known."""
    labels = rules.all[rule].settings.labels
    return Beyond(
        ruled,
        rule,
        ruled.of_values(ruled.names, family_of, object),
        {label: np.array([label in some for some in excess], np.bool_) for label in labels},
        {label: ruled.column(label) for label in labels},
    )


def _not_kept(rule: Rule, label: str, ruled: Ruled, families: NDArray[np.object_], values: I64) -> Bools:
    """Return which series have a value of a label that is not kept, and never will, as there is room for no more."""
    out = np.zeros(len(values), np.bool_)
    for family in set(families.tolist()):
        kept = rule.kept.get((label, family), {})
        if len(kept) >= rule.settings.values_max:
            here = np.flatnonzero((families == family) & (values >= 0))
            known = {*kept, OTHER}
            out[here] = ~ruled.of_values(values[here], known.__contains__, np.bool_)
    return out


class Bounding:
    """Refuses and folds such series, under one configuration."""

    def __init__(
        self,
        rules: Rules,
        refusals: Refusals,
        folds: Folds,
        report: Report,
        target_of: Callable[[int, int, list[str]], int],
    ) -> None:
        """target_of: given a row, its rule and labels beyond bounds, returns a target's number, or `STAND_INS` or more: a refusal."""
        self._rules, self._refusals, self._folds, self._report = rules, refusals, folds, report
        self._target_of = target_of

    def decide(self, found: Beyond, now_ms: int, minute: int) -> U32:
        """Return what stands for each series."""
        settings, count = self._rules.all[found.rule].settings, len(found.ruled.rows)
        if settings.mode is LimitMode.REFUSE:
            return self._refused(found, np.arange(count), "values_max")
        out = np.empty(count, np.uint32)
        quantile = found.ruled.column("quantile") >= 0
        out[quantile] = self._refused(found, np.flatnonzero(quantile), QUANTILE)
        at, members = np.flatnonzero(~quantile), self._folds.members
        if len(at) > members.room:
            out[at[members.room :]] = self._refusals.of("folded_members_max", members.members_max)
            at = at[: members.room]
        if len(at):
            out[at] = self._folded(found, at, now_ms, minute)
        return out

    def _refused(self, found: Beyond, at: I64, limit: str) -> U32:
        """Return what stands for some series that are refused; it names their first label beyond its bound."""
        out, values_max = np.full(len(at), MISSING, np.uint32), self._rules.all[found.rule].settings.values_max
        for label, excess in found.excess.items():
            for family in set(found.families[at].tolist()):
                here = excess[at] & (found.families[at] == family) & (out == MISSING)
                if here.any():
                    out[here] = self._refusals.of(limit, values_max, f"label {label} of metric {family}")
        return out

    def _folded(self, found: Beyond, at: I64, now_ms: int, minute: int) -> U32:
        """Fold some series: those that differ in nothing but folded values have one target."""
        ruled = found.ruled.take(at)
        columns = ruled.candidates.columns[ruled.rows].copy()
        for label, excess in found.excess.items():
            columns[excess[at][:, None] & (columns == found.values[label][at][:, None])] = _FOLDED
        rows = np.ascontiguousarray(columns).view(f"V{columns.itemsize * columns.shape[1]}").ravel()
        _, first, place = np.unique(rows, return_index=True, return_inverse=True)
        targets = np.empty(len(first), np.int64)
        for i in np.argsort(first).tolist():  # in the order in which they came
            row = int(first[i])
            labels = [label for label, excess in found.excess.items() if excess[at[row]]]
            targets[i] = self._target_of(int(ruled.rows[row]), found.rule, labels)
        out = targets[place]
        good = np.flatnonzero(out < len(self._folds.targets))
        some = ruled.take(good)
        out[good] = self._folds.members.add(ruled.candidates.hashes[some.rows], out[good], minute, some.buckets())
        self._tell(found, at[good], now_ms)
        return out.astype(np.uint32)

    def _tell(self, found: Beyond, at: I64, now_ms: int) -> None:
        """Note the values of folded series for the report."""
        for label, excess in found.excess.items():
            some = at[excess[at]]
            texts = found.ruled.of_values(found.values[label][some], str, object)
            families = found.families[some]
            for family in set(families.tolist()):
                record = self._report.record(found.rule, label, family, now_ms)
                self._report.records[record].add(texts[families == family].tolist(), now_ms)
