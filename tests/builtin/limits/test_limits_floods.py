"""Many new series in one batch are decided on as they would be one after another."""

from __future__ import annotations

import random

import pytest

from tinyobs.model.labels import from_mapping

CONFIGS = [
    {"rules": [{"match": "x", "labels": ["p"], "values_max": 3}]},
    {"rules": [{"match": "x", "labels": ["p", "q"], "values_max": 2}], "series_max": 40},
    {"rules": [{"match": "x", "labels": ["p", "q"], "values_max": 2, "mode": "refuse"}]},
    {"rules": [{"match": "x", "labels": ["p"], "values_max": 2, "values_per": "series"}]},
    {"rules": [{"match": 'x{q="1"}', "labels": ["p"], "values_max": 1}, {"match": '{q!~"1|2"}', "series_max": 7}]},
    {"series_per_metric_max": 9, "series_per_job_max": 5},
    {"rules": [{"match": "y", "series_per_metric_max": 4}], "series_per_metric_max": 6},
    {"rules": [{"match": "x", "labels": ["p"], "values_max": 1}], "folded_members_max": 20},
]


def flood(seed, count=150):
    """Different series of a few metrics, jobs and values, in no order."""
    chance = random.Random(seed)
    found = {}
    while len(found) < count:
        labels = {"__name__": chance.choice("xxxy"), "p": str(chance.randrange(30))}
        for label, values in (("q", 4), ("job", 3), ("le", 3), ("quantile", 2)):
            if (value := chance.randrange(values + 3)) < values and (label != "quantile" or "le" not in labels):
                labels[label] = str(value)
        found[from_mapping(labels)] = labels
    return list(found.values())


@pytest.mark.parametrize("limits", CONFIGS)
def test_one_batch_or_many(scene, limits):
    """What is kept, folded into what, and refused for which reason, and how many series count, is the same."""
    series = flood(1)
    together, apart = scene(**limits), scene(**limits)
    together.process(*series)
    for labels in series:
        apart.process(labels)
    reports = [s.limits.decisions.report() for s in (together, apart)]
    for report in reports:
        for folded in report["folded"]:
            folded["examples"].sort()
    assert reports[0]["series"] == reports[1]["series"]
    if "series_max" not in limits and "folded_members_max" not in limits:  # whom these meet depends on the order
        for key in ("foldedMembers", "foldedSeries", "newSeriesThisHour"):
            assert reports[0][key] == reports[1][key], key
        told = [{(r["limit"], r["of"]): r["samples"] for r in report["refused"]} for report in reports]
        assert told[0] == told[1]
        folded = [{(f["label"], f["metric"]): f["foldedSeries"] for f in report["folded"]} for report in reports]
        assert folded[0] == folded[1]
        kept = [{s.registry.labels(i) for i in range(len(s.registry))} for s in (together, apart)]
        assert kept[0] == kept[1]


def test_sums_of_a_flood_are_those_of_its_parts(scene):
    """However many come at one time, nothing is lost or counted twice."""
    s = scene(rules=[{"match": "x", "labels": ["p"], "values_max": 2}], new_series_per_hour_max=1000)
    series = [{"p": str(i), "q": str(i % 3)} for i in range(3000)]
    out = s.process(*series, value=1.0)
    assert sum(out.values.tolist()) == 3000
    assert sum("__other__" in name for name in s.stored(out)) == 3
    assert s.limits.statistics().folded_members == 2998
    (told,) = s.limits.decisions.report()["folded"]
    assert told["keptValues"] == 2
    assert told["foldedSeries"] == 2998
    assert abs(told["foldedValues"] - 2998) < 450
    assert told["examples"] == [str(i) for i in range(2, 12)]
