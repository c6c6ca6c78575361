"""The answer of `/api/v1/status/limits`: numbers of series, what was refused, what was folded."""

from __future__ import annotations

from typing import Any

from .counts import Counts
from .folds import Folds
from .refusals import Refusals
from .report import Report
from .rules import Rules


def report_of(
    counts: Counts | None, rules: Rules, refusals: Refusals, folds: Folds, folded: Report, members_max: int
) -> dict[str, Any]:
    """Return the report, for JSON."""
    return {
        **_numbers(counts),
        "foldedMembers": len(folds.members),
        "foldedMembersMax": members_max,
        "foldedSeries": len(folds.targets),
        "rules": [{"match": r.settings.match, **_numbers(counts, i)} for i, r in enumerate(rules.all)],
        "refused": refusals.as_json(),
        "folded": folded.as_json(rules),
    }


def _numbers(counts: Counts | None, rule: int | None = None) -> dict[str, int]:
    if counts is None:
        found = [0, 0, 0]
    elif rule is None:
        found = [counts.total, counts.hour.total, counts.day.total]
    else:
        found = [counts.of_rule[rule], counts.hour.of_rule[rule], counts.day.of_rule[rule]]
    return dict(zip(("series", "newSeriesThisHour", "newSeriesToday"), found, strict=True))
