"""Mappings as statsd_exporter has them: every option, and what is wrong with a file is told with its place."""

from __future__ import annotations

import pytest

from tinyobs.abc import ConfigSection
from tinyobs.builtin.statsd.mapper import REMEMBERED_CHARACTERS_MAX, Family, Mapper
from tinyobs.builtin.statsd.settings import SECTION, StatsdSettings
from tinyobs.config import loader
from tinyobs.errors import ConfigError
from tinyobs.exposition.statsd import Kind
from tinyobs.receiving.mapping.mapping_file import go_duration_ms


@pytest.fixture
def mapper(tmp_path):
    """Return a mapper of the content of a file."""

    def make(content, **settings):
        path = tmp_path / "mapping.yml"
        path.write_text(content)
        return Mapper(StatsdSettings(mapping_file=str(path), **settings))

    return make


def mapped(mapper, name, kind=Kind.COUNTER):
    """Return (name, labels)."""
    found = mapper.map(name, kind)
    return found.name, dict(found.labels)


README = """
mappings:
- match: "test.dispatcher.*.*.*"
  name: "dispatcher_events_total"
  labels:
    processor: "$1"
    action: "$2"
    outcome: "$3"
    job: "test_dispatcher"
- match: "*.signup.*.*"
  name: "signup_events_total"
  labels:
    provider: "$2"
    outcome: "$3"
    job: "${1}_server"
    code: 200
"""


def test_the_example_of_the_exporter(mapper):
    """What its README promises."""
    rules = mapper(README)
    assert mapped(rules, "test.dispatcher.FooProcessor.send.success") == (
        "dispatcher_events_total",
        {"processor": "FooProcessor", "action": "send", "outcome": "success", "job": "test_dispatcher"},
    )
    labels = {"provider": "facebook", "outcome": "failure", "job": "foo_product_server", "code": "200"}
    assert mapped(rules, "foo_product.signup.facebook.failure") == ("signup_events_total", labels)
    assert mapped(rules, "test.web-server.foo.bar") == ("test_web_server_foo_bar", {})


SUPER_SETS = """
defaults: {glob_disable_ordering: %s}
mappings:
- {match: "order.*.*", name: testa, labels: {label: "${1}_foo"}}
- {match: "order.*.bbb", name: testb, labels: {label: "${1}_foo"}}
- {match: "order.ccc.bbb", name: testc}
- {match: "*.dummy.*", name: one, labels: {system: $1, attribute: $2}}
- {match: "full.name.*", name: two, labels: {system: static, attribute: $1}}
"""


def test_the_first_rule_that_fits_counts(mapper):
    """In the order of the file, with the captures of that rule."""
    rules = mapper(SUPER_SETS % "false")
    assert mapped(rules, "order.good.bbb") == ("testa", {"label": "good_foo"})
    assert mapped(rules, "order.ccc.bbb") == ("testa", {"label": "ccc_foo"})
    assert mapped(rules, "whatever.dummy.test") == ("one", {"system": "whatever", "attribute": "test"})
    assert mapped(rules, "full.name.other") == ("two", {"system": "static", "attribute": "other"})
    assert mapped(rules, "order.good") == ("order_good", {})


def test_without_order_the_most_particular_counts(mapper):
    """Stars come last, and are tried where the rest does not fit."""
    rules = mapper(SUPER_SETS % "true")
    assert mapped(rules, "order.good.bbb") == ("testb", {"label": "good_foo"})
    assert mapped(rules, "order.ccc.bbb") == ("testc", {})
    assert mapped(rules, "order.ccc.x") == ("testa", {"label": "ccc_foo"})


def test_references_that_lead_nowhere_are_empty(mapper):
    """`$1_foo` is a reference to `1_foo`; names are made of references as well."""
    rules = mapper(
        """
mappings:
- {match: "test.*", name: name, labels: {label: "$1_foo", nine: "$9", more: "a$$b"}}
- {match: "n.*.*", name: "${2}_$1"}
- {match: "empty.*", name: "$2"}
"""
    )
    assert mapped(rules, "test.a") == ("name", {"label": "", "nine": "", "more": "a"})
    assert mapped(rules, "n.total-requests.count") == ("count_total_requests", {})
    assert mapped(rules, "empty.x") == ("", {})


def test_regular_expressions(mapper):
    """Not anchored, after all globs, with groups by number and name."""
    rules = mapper(
        r"""
mappings:
- match: (?P<host>.*)\.(.*)--(.*)\.status\.(.*)\.count
  match_type: regex
  name: request_total
  labels: {hostname: "$1", exec: "${2}", protocol: "${3}", code: "$4", named: "${host}", dollar: "$$", no: "$1_x"}
- {match: "web.*", name: by_glob}
- {match: eb, match_type: regex, name: "b_$0"}
"""
    )
    labels = {
        "hostname": "h.a",
        "exec": "x",
        "protocol": "http",
        "code": "200",
        "named": "h.a",
        "dollar": "$",
        "no": "",
    }
    assert mapped(rules, "h.a.x--http.status.200.count") == ("request_total", labels)
    assert mapped(rules, "web.1") == ("by_glob", {})
    assert mapped(rules, "web.1.2") == ("b_eb", {})


def test_types_that_rules_are_for(mapper):
    """`timer` is the old name of observers; sets go with gauges."""
    rules = mapper(
        """
mappings:
- {match: "a.*", name: counted, match_metric_type: counter}
- {match: "a.*", name: gauged, match_metric_type: gauge}
- {match: "a.*", name: timed, match_metric_type: timer}
- {match: "b.*", name: observed, match_metric_type: observer}
"""
    )
    names = [rules.map("a.x", kind).name for kind in Kind]
    assert names == ["counted", "gauged", "timed", "timed", "timed", "gauged"]
    assert [rules.map("b.x", kind).name for kind in (Kind.GAUGE, Kind.TIMER)] == ["b_x", "observed"]


def test_drop_scale_help_ttl_and_honor(mapper):
    """What a rule says besides names."""
    rules = mapper(
        """
defaults: {ttl: 1h}
mappings:
- {match: "a.*", name: a, scale: 0.001, help: "Some help", ttl: 1m20s, honor_labels: true}
- {match: "b.*", action: drop}
- {match: ".", match_type: regex, action: drop, name: dropped}
"""
    )
    found = rules.map("a.x", Kind.GAUGE)
    assert (found.scale, found.honor_labels) == (0.001, True)
    assert (found.definition.help, found.definition.ttl_ms) == ("Some help", 80_000)
    assert rules.map("b.x", Kind.GAUGE).definition is None
    assert rules.map("anything", Kind.GAUGE).definition is None


NATIVE_OPTIONS = "{native_histogram_bucket_factor: 2, native_histogram_max_buckets: 9}"
SUMMARY_OPTIONS = "{quantiles: [{quantile: 0.7}], max_age: 1m, age_buckets: 3, buf_cap: 9}"


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        ("", {"family": Family.NATIVE, "schema": 3, "buckets_max": 160}),
        ("observer_type: histogram", {"family": Family.CLASSIC, "bounds": (0.1, 1.0)}),
        ("timer_type: histogram, buckets: [1, 2]", {"family": Family.CLASSIC, "bounds": (1.0, 2.0)}),
        ("observer_type: classic, histogram_options: {buckets: [3]}", {"family": Family.CLASSIC, "bounds": (3.0,)}),
        (
            f"observer_type: histogram, histogram_options: {NATIVE_OPTIONS}",
            {"family": Family.NATIVE, "schema": 0, "buckets_max": 9},
        ),
        (
            "observer_type: summary",
            {"family": Family.SUMMARY, "quantiles": (0.25,), "max_age_ms": 300_000, "age_buckets": 2},
        ),
        (
            "observer_type: summary, timer_type: histogram, quantiles: [{quantile: 0.9, error: 0.1}]",
            {"family": Family.SUMMARY, "quantiles": (0.9,)},
        ),
        (
            f"observer_type: summary, summary_options: {SUMMARY_OPTIONS}",
            {"family": Family.SUMMARY, "quantiles": (0.7,), "max_age_ms": 60_000, "age_buckets": 3},
        ),
    ],
)
def test_what_timers_become(mapper, rule, wanted):
    """The rule decides, then the defaults of the file, then the settings."""
    rules = mapper(
        f"""
defaults:
  buckets: [0.1, 1]
  summary_options: {{quantiles: [{{quantile: 0.25}}], max_age: 5m, age_buckets: 2}}
mappings: [{{match: "t.*", name: t{rule and ", "}{rule}}}]
"""
    )
    definition = rules.map("t.x", Kind.TIMER).definition
    assert {key: getattr(definition, key) for key in wanted} == wanted


def test_defaults_and_settings_for_timers(mapper):
    """`defaults.timer_type` counts for all, and the settings where a file says nothing."""
    assert mapper("defaults: {timer_type: histogram}").map("t", Kind.TIMER).definition.family is Family.CLASSIC
    found = mapper("", observer_type="summary", quantiles=(0.1,)).map("t", Kind.DISTRIBUTION).definition
    assert (found.family, found.quantiles) == (Family.SUMMARY, (0.1,))
    assert mapper("", observer_type="classic").map("t", Kind.HISTOGRAM).definition.bounds[0] == 0.005


RULE = "mappings:\n- match: a\n  name: a\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("mappings:\n- match: test.*.*\n  labels: {a: b}\n", r"2:\d+: .*didn't set a metric name"),
        ("mappings:\n- match: 'te st.*'\n  name: a\n", r"2:10: .*invalid match"),
        ("mappings:\n- match: a.*\n  name: 0foo\n", r"3:9: .*no name of a metric"),
        (RULE + "  observer_type: wrong\n", r"4:18: .*wrong"),
        ("mappings:\n- match: (\n  match_type: regex\n  name: a\n", r"2:10: .*invalid regex"),
        (RULE + "  labels: {'a-b': x}\n", r"4:.*invalid label key: a-b"),
        (RULE + "  ttl: 5 minutes\n", r"4:8: .*invalid duration"),
        ("mappings:\n- match: *.test\n", r"2:\d+: .*invalid YAML"),
        (RULE + "  buckets: [2, 1]\n", r"4:12: .*ascend"),
        ("mappings:\n- match: a\n  nmae: a\n", r"3:3: .*did you mean 'name'"),
        (
            RULE + "  quantiles: [{quantile: 0.5}]\n  summary_options: {quantiles: [{quantile: 0.5}]}\n",
            r"4:14: .*both the top level and summary",
        ),
        (
            RULE + "  observer_type: summary\n  histogram_options: {}\n",
            r"5:22: .*summary observer and histogram options",
        ),
    ],
)
def test_mistakes_are_told_with_their_place(mapper, content, message):
    """File, line and column."""
    with pytest.raises(ConfigError, match=r"mapping\.yml:" + message):
        mapper(content)


def test_rules_in_the_configuration(tmp_path):
    """The same options stand in the section itself, but not beside a file."""
    sections = [ConfigSection(SECTION, StatsdSettings)]

    def parse(text):
        return loader.parse(f"tinyobs:\n  statsd:\n{text}", "t.yml", sections).tinyobs.section(SECTION)

    rules = Mapper(parse("    mappings: [{match: 'a.*', name: b, labels: {x: $1}}]\n"))
    assert mapped(rules, "a.1") == ("b", {"x": "1"})
    with pytest.raises(ConfigError, match=r"t\.yml:4:.*either in a file or here"):
        parse("    mappings: [{match: 'a.*', name: b}]\n    mapping_file: x.yml\n")
    with pytest.raises(ConfigError, match=r"t\.yml:3:.*invalid match"):
        parse("    mappings: [{match: 'a b', name: b}]\n")
    path = tmp_path / "m.yml"
    path.write_text("mappings:\n- match: a.*\n")
    with pytest.raises(ConfigError, match=r"t\.yml:3:\d+: .*m\.yml:2:\d+: metric mapping didn't set a metric name"):
        parse(f"    mapping_file: {path}\n")
    for bad in ("unix_socket_mode: '9'", "quantiles: [2]", "buckets: [2, 1]", "labels: {a-b: x}"):
        with pytest.raises(ConfigError, match=r"t\.yml:3:"):
            parse(f"    {bad}\n")
    with pytest.raises(ConfigError, match="cannot be read"):
        Mapper(StatsdSettings(mapping_file="/nowhere/at.all"))


def test_durations_of_go():
    """Parts with fractions and all units."""
    texts = {"": 0, "0": 0, "1m20s": 80_000, "1.5h": 5_400_000, "250ms": 250, "2000us": 2, "1h1m1s1ms": 3_661_001}
    assert {text: go_duration_ms(text) for text in texts} == texts
    for bad in ("1d", "5", "-1s", "s"):
        with pytest.raises(ValueError, match="invalid duration"):
            go_duration_ms(bad)


def test_many_rules_are_decided_once(mapper):
    """A thousand rules cost one walk; the second time it is remembered, up to a bound."""
    rules = mapper("mappings:\n" + "".join(f"- {{match: 'a{i}.*.b', name: n{i}}}\n" for i in range(1000)))
    found = rules.map("a500.x.b", Kind.COUNTER)
    assert found.name == "n500"
    assert rules.map("a500.x.b", Kind.COUNTER) is found


def test_long_names_are_mapped_but_not_remembered():
    """Else somebody who sends ever longer ones fills the memory."""
    mapper = Mapper(StatsdSettings())
    long = "a" * (REMEMBERED_CHARACTERS_MAX + 1)
    for name in (long, "short"):
        assert mapped(mapper, name) == (name, {})
    assert [name for name, _ in mapper._remembered] == ["short"]
