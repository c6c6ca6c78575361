"""From discovered labels to targets, after prometheus scrape/target.go."""

from __future__ import annotations

import pytest

from tinyobs.builtin.scrape.targets import PoolDefaults, TargetError, make_target, make_targets
from tinyobs.relabel import Action, Rule

DEFAULTS = PoolDefaults("node", 15_000, 10_000)


def target(own, group=None, defaults=DEFAULTS):
    found = make_target(own, group or {}, defaults)[1]
    assert found is not None
    return found


def test_defaults_fill_in_what_discovery_does_not_say():
    """A bare address becomes a URL with the pool's path, and `instance` is the address."""
    found = target({"__address__": "host:9100"})
    assert found.url == "http://host:9100/metrics"
    assert dict(found.labels) == {"instance": "host:9100", "job": "node"}
    assert (found.interval_ms, found.timeout_ms) == (15_000, 10_000)


def test_own_labels_win_over_those_of_the_group():
    """A target's own label replaces the group's of the same name."""
    assert dict(target({"__address__": "h:1", "env": "prod"}, {"env": "dev", "dc": "a"}).labels)["env"] == "prod"


def test_labels_may_set_scheme_path_parameters_and_times():
    """The double-underscore labels decide how the target is scraped, and do not stay on its series."""
    defaults = PoolDefaults("j", 15_000, 10_000, params=(("module", ("http", "extra")),))
    found = target(
        {
            "__address__": "h:1",
            "__scheme__": "https",
            "__metrics_path__": "probe",
            "__param_target": "a b",
            "__scrape_interval__": "1m",
            "__scrape_timeout__": "5s",
            "__tmp": "x",
        },
        defaults=defaults,
    )
    assert found.url == "https://h:1/probe?module=http&module=extra&target=a+b"
    assert (found.interval_ms, found.timeout_ms) == (60_000, 5_000)
    assert dict(found.labels) == {"instance": "h:1", "job": "j"}


def test_relabelling_may_drop_a_target_which_is_remembered():
    """A dropped target is no error, and its discovered labels are shown."""
    rules = (Rule(source_labels=("env",), regex="dev", action=Action.DROP),)
    defaults = PoolDefaults("j", 15_000, 10_000, rules=rules)
    discovered, found = make_target({"__address__": "h:1", "env": "dev"}, {}, defaults)
    assert found is None
    assert dict(discovered)["env"] == "dev"


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"__address__": ""}, "no address"),
        ({"__address__": "http://h:1/metrics"}, "not a valid hostname"),
        ({"__address__": "h:1", "__scheme__": "ftp"}, "invalid scheme"),
        ({"__address__": "h:99999999"}, "invalid address"),
        ({"__address__": "h:1", "__scrape_interval__": "5 minutes"}, "error parsing scrape interval"),
        ({"__address__": "h:1", "__scrape_interval__": "0s"}, "scrape interval cannot be 0"),
        ({"__address__": "h:1", "__scrape_timeout__": "1m"}, "cannot be greater than scrape interval"),
    ],
)
def test_a_target_that_cannot_be_scraped_says_why(own, message):
    """Each way in which a target makes no sense has its message."""
    with pytest.raises(TargetError, match=message):
        make_target(own, {}, DEFAULTS)


def test_one_bad_target_does_not_take_the_others_along():
    """Errors are collected; equal targets are one."""
    owns = [{"__address__": "a:1"}, {"__address__": ""}, {"__address__": "a:1"}, {"__address__": "b:1"}]
    found = make_targets([(owns, {})], DEFAULTS)
    assert [t.url for t in found.targets] == ["http://a:1/metrics", "http://b:1/metrics"]
    assert found.dropped == []
    assert found.errors == [": no address"]


def test_only_so_many_dropped_targets_are_kept_in_mind():
    """`keep_dropped_targets` bounds what is held in memory; all are counted."""
    rules = (Rule(source_labels=("__address__",), regex="d.*", action=Action.DROP),)
    defaults = PoolDefaults("j", 15_000, 10_000, rules=rules)
    owns = [{"__address__": f"d{i}"} for i in range(5)]
    for bound, kept in ((0, 5), (2, 2), (9, 5)):
        found = make_targets([(owns, {})], defaults, bound)
        assert (len(found.dropped), found.dropped_count, found.targets) == (kept, 5, [])
