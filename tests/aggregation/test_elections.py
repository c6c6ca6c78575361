"""Elections follow the rules of Cortex' HA tracker."""

from __future__ import annotations

from tinyobs.aggregation.replicas import FORGET_MS, Elections, Verdict


def test_the_first_replica_is_elected_and_others_are_duplicates():
    """As long as it is heard."""
    elections = Elections(30_000, 15_000, 0)
    for second in range(0, 200, 10):
        assert elections.hear("c", "a", second * 1000) is Verdict.TAKEN
        assert elections.hear("c", "b", second * 1000 + 1) is Verdict.DUPLICATE
    assert elections.hear("other", "b", 0) is Verdict.TAKEN


def test_another_one_is_elected_when_the_elected_is_silent():
    """After the timeout since it was last noted, which is not at every sample."""
    elections = Elections(30_000, 15_000, 0)
    elections.hear("c", "a", 0)
    elections.hear("c", "a", 14_999)
    assert elections.hear("c", "b", 29_999) is Verdict.DUPLICATE
    assert elections.hear("c", "b", 30_000) is Verdict.TAKEN
    assert elections.hear("c", "a", 31_000) is Verdict.DUPLICATE
    assert (elections.clusters["c"].replica, elections.clusters["c"].changes) == ("b", 1)
    elections.hear("c", "b", 45_000)
    assert elections.hear("c", "a", 74_999) is Verdict.DUPLICATE
    assert elections.hear("c", "a", 75_000) is Verdict.TAKEN


def test_there_are_so_many_clusters_until_some_are_gone():
    """One beyond the limit is turned away; half an hour of silence makes room."""
    elections = Elections(30_000, 15_000, 1)
    elections.hear("one", "a", 0)
    assert elections.hear("two", "a", FORGET_MS - 1) is Verdict.TOO_MANY
    assert elections.hear("two", "a", FORGET_MS) is Verdict.TAKEN
    assert list(elections.clusters) == ["two"]
