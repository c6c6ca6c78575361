"""The series of a target: labels, limits, refs, staleness."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyobs.builtin.scrape.series import DROPPED, SeriesRules, TargetSeries, merge
from tinyobs.errors import LimitExceeded
from tinyobs.model.labels import from_mapping
from tinyobs.model.registry import SeriesRegistry
from tinyobs.relabel import Action, Rule

TARGET = from_mapping({"job": "j", "instance": "i"})


def up(**labels):
    return from_mapping({"__name__": "up", **labels})


def numbers(*found):
    return np.array(found, np.int32)


def test_conflicting_labels_move_aside():
    """The target's label stands; the scraped one is called `exported_...`, as often as the name is taken."""
    merged = dict(merge(up(job="own", exported_job="x"), dict(TARGET), honor_labels=False))
    assert merged["job"] == "j"
    assert merged["exported_job"] == "x"
    assert merged["exported_exported_job"] == "own"


def test_honoured_labels_stay():
    """With `honor_labels` the scraped label wins."""
    assert dict(merge(up(job="own"), dict(TARGET), honor_labels=True))["job"] == "own"


def test_refs_are_decided_once():
    """A known number needs no labels again; a number that means another series gets another ref."""
    registry = SeriesRegistry()
    series = TargetSeries(registry, TARGET, SeriesRules())
    first = series.refs(numbers(0, 1), {0: up(a="0"), 1: up(a="1")})
    assert series.refs(numbers(1, 0), {}).tolist() == first.tolist()[::-1]
    again = series.refs(numbers(0, 1), {1: up(a="2")})
    assert again[0] == first[0]
    assert dict(registry.labels(int(again[1])))["a"] == "2"


def test_metric_relabelling_drops_series():
    """A series that a rule drops has no ref."""
    rules = SeriesRules(metric_rules=(Rule(source_labels=("a",), regex="secret", action=Action.DROP),))
    series = TargetSeries(SeriesRegistry(), TARGET, rules)
    assert series.refs(numbers(0, 1), {0: up(a="secret"), 1: up(a="b")}).tolist() == [DROPPED, 0]


@pytest.mark.parametrize(
    ("rules", "labels", "limit"),
    [
        (SeriesRules(label_limit=3), up(a="1"), "label_limit"),
        (SeriesRules(label_name_length_limit=8), up(a_long_name="1"), "label_name_length_limit"),
        (SeriesRules(label_value_length_limit=2), up(a="long"), "label_value_length_limit"),
    ],
)
def test_label_limits_name_themselves_and_hold_on(rules, labels, limit):
    """A limit raises with its own name, for as long as the series comes again."""
    series = TargetSeries(SeriesRegistry(), TARGET, rules)
    for new in ({0: labels}, {}):
        with pytest.raises(LimitExceeded) as caught:
            series.refs(numbers(0), new)
        assert caught.value.limit == limit
    assert series.refs(numbers(), {}).tolist() == []


@given(st.lists(st.sets(st.integers(0, 30)), min_size=1, max_size=8))
def test_vanished_is_what_the_last_scrape_had_and_this_has_not(scrapes):
    """Added and vanished refs agree with plain sets, whatever comes and goes."""
    series = TargetSeries(SeriesRegistry(), TARGET, SeriesRules())
    before: set[int] = set()
    for scrape in scrapes:
        refs = np.array(sorted(scrape, reverse=True), np.uint32)
        for _ in range(2):
            change = series.compare(refs)
            assert change.added == len(scrape - before)
            assert set(change.gone.tolist()) == before - scrape
            assert set(change.current.tolist()) == scrape
        series.take(change)
        again = series.compare(refs)
        assert (again.added, again.gone.tolist()) == (0, [])
        before = scrape
