"""Classic histograms whose members have different buckets fold into one whose buckets never fall with their bounds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st
from limit_scenes import Scene

RULE = {"match": '{__name__=~".+"}', "labels": ["p"], "values_max": 1}


class Folding:
    """A scene that keeps one value of `p`."""

    def __init__(self):
        self.scene = Scene(rules=[RULE])
        self.scene.process({"__name__": "h_bucket", "p": "kept", "le": "+Inf"})
        self.sums = {}

    def send(self, **members):
        """Send for each member {le: value}; return the last sums by le."""
        self.scene.now_ms += 1000
        pairs = [(p, le, v) for p, buckets in members.items() for le, v in buckets.items()]
        series = [{"__name__": "h_bucket", "p": p, "le": le} for p, le, _ in pairs]
        self.out = self.scene.process(*series, value=[v for _, _, v in pairs])
        for ref, value in zip(self.out.refs.tolist(), self.out.values.tolist(), strict=True):
            self.sums[dict(self.scene.registry.labels(ref))["le"]] = value
        return dict(self.sums)


def test_a_bound_that_a_member_lacks_has_what_its_next_lower_one_has():
    """What it observed up to there is at most its bound as well."""
    f = Folding()
    f.send(a={"1": 0, "2": 0, "+Inf": 0}, b={"1": 0, "+Inf": 0})
    assert f.send(a={"1": 0, "2": 5, "+Inf": 5}, b={"1": 10, "+Inf": 12}) == {"1": 10, "2": 15, "+Inf": 17}
    assert f.send(b={"1": 11, "+Inf": 13}) == {"1": 11, "2": 16, "+Inf": 18}


def test_a_bound_that_comes_later_begins_with_what_is_below_it():
    """The sum of a new bound is not below that of a lower one, and says since when it counts."""
    f = Folding()
    f.send(a={"1": 0, "+Inf": 0})
    f.send(a={"1": 4, "+Inf": 7})
    since = f.out.starts_ms.tolist()[0]
    assert f.send(b={"0.5": 3, "2": 3, "+Inf": 3}) == {"0.5": 0, "1": 4, "2": 4, "+Inf": 7}
    assert set(f.out.starts_ms.tolist()) == {since, f.scene.now_ms}
    assert f.send(b={"0.5": 4, "2": 6, "+Inf": 6}) == {"0.5": 1, "1": 5, "2": 7, "+Inf": 10}


def test_one_bound_in_two_writings_is_one():
    """Members that write 1 and 1.0 count for the sums of both."""
    f = Folding()
    f.send(a={"1": 0, "2.0": 0}, b={"1.0": 0, "2.0": 0})
    assert f.send(a={"1": 1, "2.0": 1}, b={"1.0": 2, "2.0": 2}) == {"1": 3, "1.0": 3, "2.0": 3}


@pytest.mark.parametrize("le", ["", "x"])
def test_what_is_no_bound_is_left_alone(le):
    """Such series are folded as any counter is."""
    f = Folding()
    series = [{"__name__": "h_total", "p": p, **({"le": le} if le else {})} for p in ("kept", "a", "b")]
    f.scene.process(*series, value=0)
    f.scene.now_ms += 1000
    assert sorted(f.scene.process(*series, value=2).values.tolist()) == [2, 4]


BOUNDS = ["1", "2", "4", "8"]
MEMBER = st.tuples(st.sets(st.sampled_from(BOUNDS)), st.lists(st.integers(0, 4), min_size=5, max_size=5))


@seed(5)
@settings(max_examples=40, deadline=None)
@given(
    st.lists(MEMBER, min_size=1, max_size=4), st.lists(st.lists(st.integers(0, 3), min_size=4, max_size=4), max_size=4)
)
def test_sums_are_cumulative_and_right(members, rounds):
    """The sum of each bound is what all members have observed up to their next lower bounds."""
    f = Folding()
    state = [np.array(counts) for _, counts in members]

    def shown(i):
        had, counts = members[i][0], np.cumsum(state[i])
        return {le: float(counts[j]) for j, le in enumerate([*BOUNDS, "+Inf"]) if le in had or le == "+Inf"}

    first = [shown(i) for i in range(len(members))]
    f.send(**{f"m{i}": first[i] for i in range(len(members))})
    for grow in rounds:
        for i in range(len(members)):
            state[i][: len(grow)] += np.array(grow)
        found = f.send(**{f"m{i}": shown(i) for i in range(len(members))})
        values = [found[le] for le in [*BOUNDS, "+Inf"] if le in found]
        assert values == sorted(values)
        for j, le in enumerate(BOUNDS):
            if le not in found:
                continue
            wanted = 0.0
            for i in range(len(members)):
                lower = [b for b in BOUNDS[: j + 1] if b in members[i][0]]
                if lower:
                    wanted += shown(i)[lower[-1]] - first[i][lower[-1]]
            assert found[le] == wanted
