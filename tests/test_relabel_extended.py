"""Relabelling as VictoriaMetrics extends it: conditions, more actions, label references."""

from __future__ import annotations

from typing import Any

import pytest

from tinyobs import relabel
from tinyobs.config.loader import parse
from tinyobs.errors import ConfigError
from tinyobs.model.labels import NAME, Labels, from_mapping
from tinyobs.model.selectors import Selector
from tinyobs.relabel import EXTENDED, Action, Rule, RuleError


def rule(**fields: Any) -> Rule:
    """Return a rule without faults."""
    made = Rule(**{**fields, "action": Action(fields.get("action", "replace")), "extended": True})
    assert not [str(f) for f in made.faults()]
    return made


def run(labels: dict[str, str], *rules: dict[str, Any]) -> dict[str, str] | None:
    """Apply rules given as their fields."""
    found = relabel.apply(from_mapping(labels), [rule(**r) for r in rules])
    return None if found is None else dict(found)


A = {"a": "x-y-z", "b": "x", "c": "x"}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"action": "replace_all", "source_labels": ("a",), "target_label": "a", "regex": "-", "replacement": "."}, {**A, "a": "x.y.z"}),
        ({"action": "replace_all", "source_labels": ("a", "b"), "target_label": "n", "regex": "(x)", "replacement": "<$1>"}, {**A, "n": "<x>-y-z;<x>"}),
        ({"action": "replace_all", "source_labels": ("a",), "target_label": "n", "regex": "q", "replacement": "."}, A),
        ({"action": "replace_all", "source_labels": ("b",), "target_label": "b"}, {"a": "x-y-z", "c": "x"}),
        ({"action": "replace_all", "source_labels": ("b",), "target_label": "b", "regex": "x*", "replacement": "_"}, {**A, "b": "_"}),
        ({"action": "replace_all", "source_labels": ("a",), "target_label": "n", "regex": "^x|z$", "replacement": "E"}, {**A, "n": "E-y-E"}),
        ({"action": "replace_all", "source_labels": ("b",), "target_label": "n", "regex": "", "replacement": "-"}, {**A, "n": "-x-"}),
        ({"action": "labelmap_all", "regex": "[ab]", "replacement": "q${0}"}, {"qa": "x-y-z", "qb": "x", "c": "x"}),
        ({"action": "labelmap_all", "regex": "a", "replacement": ""}, {"b": "x", "c": "x"}),
        ({"action": "keep_if_equal", "source_labels": ("b", "c")}, A),
        ({"action": "keep_if_equal", "source_labels": ("a", "b", "c")}, None),
        ({"action": "drop_if_equal", "source_labels": ("b", "c")}, None),
        ({"action": "drop_if_equal", "source_labels": ("a", "c")}, A),
        ({"action": "keep_if_equal", "source_labels": ("no", "neither")}, A),
        ({"action": "keep_if_contains", "target_label": "a", "source_labels": ("b", "c")}, A),
        ({"action": "keep_if_contains", "target_label": "b", "source_labels": ("a",)}, None),
        ({"action": "keep_if_contains", "target_label": "b", "source_labels": ("no",)}, A),
        ({"action": "drop_if_contains", "target_label": "a", "source_labels": ("b",)}, None),
        ({"action": "drop_if_contains", "target_label": "b", "source_labels": ("a", "c")}, A),
    ],
)  # fmt: skip
def test_actions(fields: dict[str, Any], expected: dict[str, str] | None) -> None:
    """Each action does what the manual of VictoriaMetrics says."""
    assert run(A, fields) == expected


def test_names_may_follow_each_other() -> None:
    """A label may get the name that another one gives up; a renamed label replaces one that keeps its name."""
    fields = {"action": "labelmap_all", "regex": "^a", "replacement": ""}
    assert run({"aab": "1", "ab": "2"}, fields) == {"ab": "1", "b": "2"}
    assert run({"ab": "1", "b": "2"}, fields) == {"b": "1"}
    assert run({"aab": "1", "ab": "2", "b": "3"}, {**fields, "regex": "a+"}) == {"b": "2"}


def test_metrics_are_kept_and_dropped_by_name() -> None:
    """`keep_metrics` and `drop_metrics` look at the metric name alone."""
    labels = {NAME: "up", "job": "j"}
    assert run(labels, {"action": "keep_metrics", "regex": "up|down"}) == labels
    assert run(labels, {"action": "keep_metrics", "regex": "u"}) is None
    assert run(labels, {"action": "drop_metrics", "regex": "up"}) is None
    assert run(labels, {"action": "drop_metrics", "regex": "u"}) == labels


@pytest.mark.parametrize(
    ("match", "name", "expected"),
    [
        ("foo.*.baz", "foo.bar.baz", {NAME: "new", "job": "bar-zz"}),
        ("foo.*.baz", "foo.bar.bazz", None),
        ("foo.*.baz", "foo.a.b.baz", None),
        ("*", "plain", {NAME: "new", "job": "plain-zz"}),
        ("*", "with.dot", None),
        ("foo", "foo", {NAME: "new", "job": "${1}-zz"}),
        ("a*c", "abc", {NAME: "new", "job": "b-zz"}),
        ("**", "a*", {NAME: "new", "job": "a-zz"}),
        ("foo.*", "foo.", {NAME: "new", "job": "-zz"}),
    ],
)
def test_graphite(match: str, name: str, expected: dict[str, str] | None) -> None:
    """A name with dots is taken apart; one that does not fit stays."""
    fields = {"action": "graphite", "match": match, "labels": ((NAME, "new"), ("job", "${1}-zz"))}
    assert run({NAME: name}, fields) == (expected or {NAME: name})


@pytest.mark.parametrize(
    ("template", "expected"),
    [("$1.$2", "x.y"), ("${1}$0", "xx.y"), ("$9$", "$9$"), ("${a}${", "${a}${"), ("$1a", "xa"), ("$", "$")],
)
def test_graphite_templates(template: str, expected: str) -> None:
    """What is no reference to a part that there is stays as it is written."""
    found = run({NAME: "x.y"}, {"action": "graphite", "match": "*.*", "labels": (("l", template),)})
    assert found == {NAME: "x.y", "l": expected}


def test_a_condition_decides_whether_a_rule_acts() -> None:
    """A rule whose `if` fails leaves the label set alone, but for `keep`, which drops it."""
    sets = {"target_label": "n", "replacement": "v"}
    assert run(A, {"if_": ('{b="x"}',), **sets}) == {**A, "n": "v"}
    assert run(A, {"if_": ('{b="y"}',), **sets}) == A
    assert run(A, {"if_": ('{b="y"}', '{c=~"x|q"}'), **sets}) == {**A, "n": "v"}
    assert run(A, {"if_": ('{b="x"}',), "action": "keep"}) == A
    assert run(A, {"if_": ('{b="y"}',), "action": "keep"}) is None
    assert run(A, {"if_": ('{b="y"}',), "action": "keep_metrics"}) is None
    assert run(A, {"if_": ('{b="x"}',), "action": "drop"}) is None
    assert run(A, {"if_": ('{b="y"}',), "action": "drop"}) == A
    assert run(A, {"if_": ('{b="y"}',), "action": "keep_if_equal", "source_labels": ("a", "b")}) == A


def test_a_condition_sees_what_earlier_rules_set() -> None:
    """Labels are looked at when the rule has its turn."""
    first = {"target_label": "n", "replacement": "v"}
    assert run(A, first, {"if_": ('{n="v"}',), "action": "labelkeep", "regex": "n"}) == {"n": "v"}


def test_label_references() -> None:
    """`{{label}}` in a replacement is the value of the label, and the result is a template."""
    labels = {NAME: "qwe", "foo": "bar", "baz": "aaa", "d": "$1"}
    assert run(labels, {"target_label": "n", "replacement": "{{__name__}}.{{foo}}{{no}}"}) == {**labels, "n": "qwe.bar"}
    fields = {"source_labels": ("baz",), "regex": "a(.+)", "target_label": "n", "replacement": "{{foo}}.$1"}
    assert run(labels, fields) == {**labels, "n": "bar.aa"}
    assert run(labels, {**fields, "replacement": "{{foo"}) == {**labels, "n": "{{foo"}
    assert run(labels, {**fields, "replacement": "{{d}}"}) == {**labels, "n": "aa"}
    assert run(labels, {"target_label": "n", "replacement": "<{{d}}>"}) == {**labels, "n": "<$1>"}


def test_references_are_plain_text_where_nothing_is_extended() -> None:
    """Without the switch a rule does what Prometheus does."""
    plain = Rule(target_label="n", replacement="{{a}}")
    assert not list(plain.faults())
    assert relabel.apply(from_mapping({"a": "1"}), [plain]) == from_mapping({"a": "1", "n": "{{a}}"})


def labels_of(**labels: str) -> Labels:
    return from_mapping({**{k.replace("_dot_", "."): v for k, v in labels.items() if k != "name"}, NAME: labels.get("name", "")})  # fmt: skip


@pytest.mark.parametrize(
    ("text", "labels", "fits"),
    [
        ("foo", {"name": "foo"}, True),
        ("foo", {"name": "bar"}, False),
        ("{}", {"name": "foo"}, False),
        ("foo{}", {"name": "foo"}, True),
        ('foo{a="1"}', {"name": "foo", "a": "1"}, True),
        ('foo{a="1" or b="2"}', {"name": "foo", "b": "2"}, True),
        ('foo{a="1" or b="2"}', {"name": "bar", "b": "2"}, False),
        ('{a="1",b="2" or c=~"x.*"}', {"a": "1", "b": "3", "c": "xy"}, True),
        ('{a="1",b="2" OR c!~"x.*"}', {"a": "1", "b": "3", "c": "xy"}, False),
        ('{a.b="1",}', {"a_dot_b": "1"}, True),
        ('{"foo", a=""}', {"name": "foo"}, True),
        ('{"a b"="1"}', {"a b": "1"}, True),
        ("{a='it\\'s'}", {"a": "it's"}, True),
        ("{a=`\\d`}", {"a": "\\d"}, True),
        ('{a="\\u00e9\\x41\\n"}', {"a": "éA\n"}, True),
        ('{or="1"}', {"or": "1"}, True),
        ('{a!=""}', {"name": "foo"}, False),
    ],
)  # fmt: skip
def test_selectors(text: str, labels: dict[str, str], fits: bool) -> None:
    """Selectors are those of MetricsQL: alternatives with `or`, dots in names, three kinds of quotes."""
    found = dict(labels_of(**labels))
    assert Selector(text).matches(lambda name: found.get(name, "")) is fits


@pytest.mark.parametrize("text", ["", "foo bar", '{a="1"', "{a}", "{a=1}", '{a="1" b="2"}', 'sum(x)', '{a=~"("}', '{a="1"} offset 5m', "5", '{,}'])  # fmt: skip
def test_what_is_no_selector(text: str) -> None:
    """Anything else than a selector is refused, with the text that is at fault."""
    with pytest.raises(ValueError, match=r"is not a series selector|error parsing regexp"):
        Selector(text)
    with pytest.raises(RuleError) as e:
        Rule(if_=(text,), extended=True)
    assert e.value.key == "if"


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({"action": "replace_all", "target_label": "a"}, "source_labels"),
        ({"action": "replace_all", "source_labels": ("a",)}, "target_label"),
        ({"action": "replace_all", "source_labels": ("a",), "target_label": "b-c", "legacy_names": True}, "target_label"),
        ({"action": "keep_if_equal", "source_labels": ("a",)}, "source_labels"),
        ({"action": "drop_if_equal", "source_labels": ("a", "")}, "source_labels"),
        ({"action": "drop_if_equal", "source_labels": ("a", "b"), "target_label": "c"}, "target_label"),
        ({"action": "drop_if_equal", "source_labels": ("a", "b"), "regex": "c"}, "regex"),
        ({"action": "keep_if_contains", "source_labels": ("a",)}, "target_label"),
        ({"action": "keep_if_contains", "target_label": "a"}, "source_labels"),
        ({"action": "drop_if_contains", "source_labels": ("a",), "target_label": "c", "regex": "x"}, "regex"),
        ({"action": "keep_metrics"}, "regex"),
        ({"action": "drop_metrics", "regex": "a", "source_labels": ("a",)}, "source_labels"),
        ({"action": "graphite", "match": "a"}, "labels"),
        ({"action": "graphite", "labels": (("a", "b"),)}, "match"),
        ({"action": "graphite", "match": "a", "labels": (("a", "b"),), "replacement": "c"}, "replacement"),
        ({"action": "keep", "match": "a"}, "match"),
        ({"action": "keep", "labels": (("a", "b"),)}, "labels"),
    ],
)  # fmt: skip
def test_faults(fields: dict[str, Any], key: str) -> None:
    """What a rule lacks, or has in vain, is told with its key."""
    made = Rule(**{**fields, "action": Action(fields["action"]), "extended": True})
    assert [f.key for f in made.faults()] == [key]


CONFIG = """
scrape_configs:
- job_name: j
  relabel_configs:
  - %s
"""
SWITCH = "tinyobs: {relabel: {extended: true}}\n"


@pytest.mark.parametrize(
    "text",
    [
        "{action: drop, if: up}",
        "{action: keep_metrics, regex: [a, b]}",
        "{action: drop, regex: [a, b]}",
        "{action: graphite, match: a, labels: {a: b}}",
        *(f"{{action: {a}, source_labels: [a, b], target_label: t}}" for a in ("keep_if_contains", "replace_all")),
    ],
)
def test_all_of_it_needs_the_switch(text: str) -> None:
    """A file that has not switched it on is refused, and told how to."""
    assert parse(SWITCH + CONFIG % text)
    with pytest.raises(ConfigError) as e:
        parse(CONFIG % text)
    assert all("needs `tinyobs: {relabel: {extended: true}}`" in p.message for p in e.value.problems)


def test_a_selector_without_quotes_is_explained() -> None:
    """YAML takes it for a mapping."""
    with pytest.raises(ConfigError, match=r"put what begins with \{ in quotes"):
        parse(SWITCH + CONFIG % '{action: drop, if: {a="b"}}')
    with pytest.raises(ConfigError, match="is not a series selector"):
        parse(SWITCH + CONFIG % "{action: drop, if: [up, 'a b']}")


def test_the_switch_holds_at_all_stages_and_is_shown() -> None:
    """Targets, metrics, writes and alerts take the same rules, and the shown configuration can be read again."""
    config = parse(
        SWITCH
        + """
scrape_configs:
- job_name: j
  relabel_configs: [{action: keep, if: '{a="1" or b="2"}'}]
  metric_relabel_configs: [{action: drop, if: [foo, 'bar{a="1"}'], regex: [x, y], source_labels: [z]}]
- job_name: k
  metric_relabel_configs: [{action: graphite, match: 'a.*', labels: {b: '$1', c: d}}]
remote_write:
- url: http://localhost/write
  write_relabel_configs: [{action: keep_metrics, regex: [a.*, b]}]
alerting:
  alert_relabel_configs: [{target_label: x, replacement: '{{y}}'}]
"""
    )
    scrape = config.scrape_configs[0]
    assert scrape.relabel_configs[0].if_ == ('{a="1" or b="2"}',)
    assert scrape.metric_relabel_configs[0].regex == "x|y"
    assert config.remote_write[0].write_relabel_configs[0].regex == "a.*|b"
    alert = config.alerting.alert_relabel_configs
    assert relabel.apply(from_mapping({"y": "1"}), alert) == from_mapping({"x": "1", "y": "1"})
    again = parse(config.to_yaml())
    assert again.scrape_configs == config.scrape_configs


def test_every_foreign_action_is_refused_by_name() -> None:
    """The message names the action, the file position is that of the key."""
    for action in EXTENDED:
        messages = [str(f) for f in Rule(action=action).faults()]
        assert messages[0].startswith(f"the relabel action {action} needs `tinyobs:")
