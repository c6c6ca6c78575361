"""Limits that several threads meet: what is looked at while a configuration changes, or members are forgotten."""

from __future__ import annotations

import numpy as np
import pytest
from watched_lock import WatchedLock

from tinyobs.builtin.limits.processor import Limits
from tinyobs.model.gate import STAND_INS
from tinyobs.model.labels import get

RULE = {"match": "x_total", "labels": ["path"], "values_max": 1, "mode": "fold"}
OTHER = {**RULE, "match": "y_total"}


def paths(name, *given):
    return [{"__name__": name, "path": path} for path in given]


def test_settings_are_those_of_when_the_lock_is_free(scene):
    """Whoever waited while others took over a configuration does not go back to the one before."""
    s = scene(series_max=5)
    before = s.config
    lock = s.registry.lock = WatchedLock()
    seen = iter([before])
    s.configure(series_max=7)
    after = s.config

    class Services:
        """Has had another configuration until somebody looked."""

        def __getattr__(self, name):
            return getattr(s, name)

        @property
        def config(self):
            return next(seen, after)

    s.limits._services, s.limits._tick_at_ms = Services(), 0
    s.process()
    lock.join()
    assert s.limits.decisions.settings.series_max == 7


def test_statistics_while_rules_change(scene):
    """What was folded by rules that are gone is counted with them, or not any more."""
    s = scene(rules=[OTHER, {**RULE, "labels": ["path", "user"]}])
    s.process(*paths("x_total", "kept"), {"__name__": "x_total", "user": "kept"})
    s.process(*paths("x_total", "a"), {"__name__": "x_total", "user": "a"})
    lock = s.registry.lock = WatchedLock()
    s.configure(rules=[])

    class Record:
        """Who looks at it is overtaken by a batch, with which the new rules are taken over."""

        def __init__(self, inner):
            self.inner = inner

        @property
        def rule(self):
            if not lock.threads:
                lock.meanwhile(lambda: Limits.process(s.limits, s.batch()))
            return self.inner.rule

        @rule.setter
        def rule(self, number):
            self.inner.rule = number

        samples, label, family = 1, "path", "x_total"

    s.limits.decisions.folded.records = [Record(r) for r in s.limits.decisions.folded.records]
    assert s.limits.statistics().folded_samples_total == {"x_total": 2}
    lock.join()
    assert s.limits.statistics().folded_samples_total == {}


@pytest.mark.parametrize("left", [1, 300])
def test_labels_of_a_member_while_others_are_forgotten(scene, left):
    """What a stand-in stands for is the series that it was folded into, or nothing any more; never another."""
    s = scene(rules=[{**RULE, "match": '{__name__=~".+_total"}'}], forget_after="1h")
    for name in ("a_total", "b_total"):
        s.process(*paths(name, "kept"))
    s.process(*paths("a_total", *map(str, range(300))))
    member = int(s.batch(*paths("b_total", *map(str, range(left)))).refs[-1])
    members = s.limits.decisions.folds.members
    lock = s.registry.lock = WatchedLock()
    places, s.now_ms = members.places, s.now_ms + 3 * 3_600_000

    def forget():
        with lock:
            members._seen[: len(members)][:300] = 0
            members._seen[300 : len(members)] = 2**31
            s.limits.decisions._forget_members(s.now_ms)

    def overtaken(refs):
        found = places(refs)
        lock.meanwhile(forget)
        return found

    members.places = overtaken
    assert get(s.registry.labels(member), "__name__") == "b_total"
    lock.join()
    del members.places
    assert get(s.registry.labels(member), "__name__") == "forgotten"
    assert np.isin(s.batch(*paths("b_total", "0")).refs, np.arange(STAND_INS + 300, STAND_INS + 700)).all()
