"""What a reload that changes the rules does to sums of folded series."""

from __future__ import annotations

import pytest

from tinyobs.model.labels import from_mapping, to_text

RULE = {"match": '{__name__=~".+_total"}', "labels": ["p"], "values_max": 1}
SECOND = {"match": "b", "labels": ["p"], "values_max": 1}


def other(name, **labels):
    """The folded series as text."""
    return to_text(from_mapping({"__name__": name, "p": "__other__", **labels}))


def send(scene, name, **values):
    """Send a sample for each value of `p`; return what is stored, and the start times."""
    scene.now_ms += 1000
    out = scene.process(*({"__name__": name, "p": p} for p in values), value=list(values.values()))
    return scene.stored(out), None if out.starts_ms is None else out.starts_ms.tolist()


def folding(scene, *rules):
    """Return a scene with a sum of 7 for `a_total` and of 5 for `b`, and since when the first counts."""
    s = scene(rules=list(rules))
    for name in ("a_total", "b"):
        s.process({"__name__": name, "p": "kept"})
    _, (start,) = send(s, "a_total", x=100)
    assert send(s, "a_total", x=107)[0] == {other("a_total"): 7.0}
    assert send(s, "b", x=2, y=3)[0] == {other("b"): 5.0}
    return s, start


@pytest.mark.parametrize(
    "rules",
    [
        [RULE, SECOND, {"match": "c", "series_max": 1}],
        [{"match": "c", "series_max": 1}, RULE, SECOND],
        [{"match": 'a_total{job="x", p="y"}', "series_max": 1}, RULE, SECOND],
        [SECOND, RULE],
        [{**RULE, "series_max": 1000, "new_series_per_hour_max": 500}, SECOND],
        [RULE, SECOND, RULE],
    ],
    ids=["behind", "before", "of-others", "other-order", "numbers", "twice"],
)
def test_sums_of_rules_that_stay_go_on(scene, rules):
    """Counters go on from where they were, with the same start time; gauges have all their members."""
    s, start = folding(scene, RULE, SECOND)
    s.configure(rules=rules)
    assert send(s, "a_total", x=110) == ({other("a_total"): 10.0}, [start])
    assert send(s, "b", y=4)[0] == {other("b"): 6.0}
    assert s.limits.statistics().forgotten_samples_total == 0


@pytest.mark.parametrize(
    "rules",
    [
        [{**RULE, "match": '{__name__=~"a_.+"}'}, SECOND],
        [{**RULE, "values_per": "series"}, SECOND],
        [{"match": "a_total", "labels": ["q"], "values_max": 1}, RULE, SECOND],
        [{"match": 'a_total{p="y"}', "series_max": 1}, RULE, SECOND],
    ],
    ids=["match", "values-per", "another-before", "another-for-a-value"],
)
def test_sums_of_other_rules_begin_anew(scene, rules):
    """Those of the rule that was changed, or of which another may take series; the others go on."""
    s, start = folding(scene, RULE, SECOND)
    s.configure(rules=rules)
    s.process()
    stored, starts = send(s, "a_total", x=110)
    assert stored in ({other("a_total"): 0.0}, {to_text(from_mapping({"__name__": "a_total", "p": "x"})): 110.0})
    assert starts != [start]
    assert send(s, "b", y=4)[0] == {other("b"): 6.0}


def test_the_report_is_of_the_rules_that_are_there(scene):
    """What was folded by a rule that stays is shown with it, at its new place; that of others goes."""
    s, _ = folding(scene, RULE, SECOND)
    s.configure(rules=[{"match": "c", "series_max": 1}, SECOND])
    s.process()
    send(s, "b", z=1)
    (entry,) = s.limits.decisions.report()["folded"]
    assert (entry["rule"], entry["metric"], entry["examples"], entry["samples"]) == ("b", "b", ["x", "y", "z"], 3)
    assert s.limits.statistics().folded_samples_total == {"b": 3}


@pytest.mark.parametrize("change", [{}, {"series_max": 100}], ids=["rules", "more"])
def test_samples_on_the_way_at_a_reload(scene, change):
    """A series that was folded before, and whose first sample comes after it, is counted once, for its source."""
    s = scene(rules=[RULE], series_per_source_max=50)
    s.process({"__name__": "a_total", "p": "kept"})
    batch = s.batch({"__name__": "a_total", "p": "x"})
    s.configure(rules=[RULE, SECOND], series_per_source_max=50, **change)
    out = s.limits.process(batch)
    assert s.stored(out) == {other("a_total"): 0.0}
    assert s.limits.statistics().series == 2
    assert s.limits.statistics().forgotten_samples_total == 0
