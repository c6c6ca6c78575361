"""Relabelling: every action, templates, and what is refused."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyobs import relabel
from tinyobs.model.labels import from_mapping
from tinyobs.relabel import Action, Rule, RuleError

BASE = {"a": "foo", "b": "bar", "c": "baz"}


def run(labels: dict[str, str], *rules: dict[str, Any]) -> dict[str, str] | None:
    """Apply rules given as their fields."""
    made = [Rule(**{**r, "action": Action(r.get("action", "replace"))}) for r in rules]
    assert not [f for rule in made for f in rule.faults()]
    found = relabel.apply(from_mapping(labels), made)
    return None if found is None else dict(found)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"source_labels": ("a",), "regex": "f(o+)", "target_label": "d", "replacement": "z${1}/${1}"}, {"d": "zoo/oo"}),
        ({"source_labels": ("a", "b"), "regex": "(.).*;.*(.)", "target_label": "a", "replacement": "${2}_${1}"}, {"a": "r_f"}),
        ({"source_labels": ("a",), "regex": "no", "target_label": "d"}, {}),
        ({"source_labels": ("a",), "regex": "fo", "target_label": "d"}, {}),
        ({"target_label": "d", "replacement": "static"}, {"d": "static"}),
        ({"source_labels": ("a",), "target_label": "d"}, {"d": "foo"}),
        ({"source_labels": ("a", "b"), "separator": "||", "target_label": "d"}, {"d": "foo||bar"}),
        ({"source_labels": ("a",), "regex": "(f).*", "target_label": "x_$1", "replacement": "v"}, {"x_f": "v"}),
        ({"source_labels": ("a",), "regex": "(?P<head>.)(.*)", "target_label": "d", "replacement": "$2${head}"}, {"d": "oof"}),
        ({"source_labels": ("a",), "target_label": "d", "replacement": "$$1-$1$"}, {"d": "$1-foo$"}),
        ({"source_labels": ("a",), "target_label": "d", "replacement": "<$1x><${1}x><$9>"}, {"d": "<><foox><>"}),
        ({"source_labels": ("a",), "target_label": "d", "replacement": "${1", "regex": "(.*)"}, {"d": "${1"}),
        ({"source_labels": ("a",), "regex": "(x)?foo", "target_label": "d", "replacement": "[$1]"}, {"d": "[]"}),
        ({"source_labels": ("a",), "regex": "foo", "target_label": "d", "replacement": "$0!"}, {"d": "foo!"}),
        ({"source_labels": ("a",), "regex": "foo|bar", "target_label": "d", "replacement": "$01"}, {}),
        ({"source_labels": ("a",), "action": "uppercase", "target_label": "d"}, {"d": "FOO"}),
        ({"source_labels": ("a",), "action": "Lowercase", "target_label": "a"}, {}),
        ({"regex": "([bc])", "action": "labelmap", "replacement": "was_${1}"}, {"was_b": "bar", "was_c": "baz"}),
    ],
)  # fmt: skip
def test_actions_that_set_labels(rule: dict[str, Any], expected: dict[str, str]) -> None:
    """The labels named are set, all others stay."""
    assert run(BASE, rule) == {**BASE, **expected}


def test_an_empty_result_deletes_the_label() -> None:
    """A replacement that comes out empty removes the target label."""
    assert run(BASE, {"source_labels": ("x",), "target_label": "a"}) == {"b": "bar", "c": "baz"}
    assert run(BASE, {"target_label": "a", "replacement": ""}) == {"b": "bar", "c": "baz"}
    assert run(BASE, {"source_labels": ("x",), "target_label": "b", "action": "lowercase"}) == {"a": "foo", "c": "baz"}


@pytest.mark.parametrize(
    ("rule", "kept"),
    [
        ({"source_labels": ("a",), "regex": "foo", "action": "keep"}, True),
        ({"source_labels": ("a",), "regex": "fo", "action": "keep"}, False),
        ({"source_labels": ("a",), "regex": "f.*", "action": "drop"}, False),
        ({"source_labels": ("nope",), "regex": "", "action": "drop"}, False),
        ({"source_labels": ("a",), "target_label": "b", "action": "keepequal"}, False),
        ({"source_labels": ("a",), "target_label": "a", "action": "keepequal"}, True),
        ({"source_labels": ("a",), "target_label": "b", "action": "dropequal"}, True),
        ({"source_labels": ("x",), "target_label": "y", "action": "dropequal"}, False),
    ],
)
def test_actions_that_drop(rule: dict[str, Any], kept: bool) -> None:
    """The whole label set is dropped or stays as it is."""
    assert run(BASE, rule) == (BASE if kept else None)


def test_nothing_runs_after_a_drop() -> None:
    """The rules after the one that drops do not matter."""
    assert run(BASE, {"regex": ".*", "action": "drop"}, {"target_label": "d", "replacement": "x"}) is None


def test_hashmod_uses_the_last_eight_bytes_of_md5() -> None:
    """The hash is the one by which Prometheus servers share targets among them."""
    number = int.from_bytes(hashlib.md5(b"foo;bar").digest()[8:], "big") % 1000
    rule = {"source_labels": ("a", "b"), "target_label": "d", "action": "hashmod", "modulus": 1000}
    assert run(BASE, rule) == {**BASE, "d": str(number)}


def test_hashmod_known_value() -> None:
    """A value that Prometheus computes: `foo` modulo 1000."""
    rule = {"source_labels": ("c",), "target_label": "d", "separator": ";", "action": "hashmod", "modulus": 1000}
    assert run({"c": "baz"}, rule) == {"c": "baz", "d": "976"}


def test_hashmod_of_two_lines() -> None:
    """A line break is a character like any other."""
    rule = {"source_labels": ("a",), "target_label": "b", "action": "hashmod", "modulus": 1000}
    assert run({"a": "foo\nbar"}, rule) == {"a": "foo\nbar", "b": "734"}


def test_labels_hidden_in_a_list_of_tags() -> None:
    """Path, job and a label of any name are found in one text of a discovery."""
    tags = {"__meta_tags": "path:/metrics2,job:web,label:zone=eu"}
    found = run(
        tags,
        {"source_labels": ("__meta_tags",), "regex": "(?:.+,|^)path:(/[^,]+).*", "target_label": "__metrics_path__"},
        {"source_labels": ("__meta_tags",), "regex": "(?:.+,|^)job:([^,]+).*", "target_label": "job"},
        {"source_labels": ("__meta_tags",), "regex": "(?:.+,|^)label:([^=]+)=([^,]+).*", "target_label": "$1", "replacement": "$2"},
        {"source_labels": ("__meta_tags",), "regex": "(?:.+,|^)nothing:([^,]+).*", "target_label": "never"},
    )  # fmt: skip
    assert found == {**tags, "__metrics_path__": "/metrics2", "job": "web", "zone": "eu"}


def test_a_dropped_label_can_be_set_again() -> None:
    """A rule that follows a labeldrop sees neither the old value nor a lasting ban."""
    found = run(
        {"port_name": "web", "port": "9091"},
        {"regex": "^port_name$", "action": "labeldrop"},
        {"source_labels": ("port",), "regex": "(.+)", "target_label": "port_name", "replacement": "metrics"},
        {"source_labels": ("port_name",), "regex": "^metrics$", "action": "keep"},
    )
    assert found == {"port_name": "metrics", "port": "9091"}


def test_a_target_without_a_name_is_passed_over() -> None:
    """A template that comes out empty, as with a group that there is not, names no label."""
    labels = {"a": "some-name-0"}
    assert run(labels, {"source_labels": ("a",), "regex": "some-([^-]+)-([^,]+)", "target_label": "${3}"}) == labels


def test_alternatives_are_anchored_as_a_whole() -> None:
    """`f|o` matches neither `foo` nor its letters."""
    assert run({"a": "foo"}, {"source_labels": ("a",), "regex": "f|o", "action": "drop"}) == {"a": "foo"}


def test_labeldrop_and_labelkeep() -> None:
    """Names are matched as a whole."""
    labels = {"a": "1", "b1": "2", "b2": "3"}
    assert run(labels, {"regex": "(b.*)", "action": "labeldrop"}) == {"a": "1"}
    assert run(labels, {"regex": "b.", "action": "labelkeep"}) == {"b1": "2", "b2": "3"}
    assert run(labels, {"regex": "b", "action": "labeldrop"}) == labels


def test_labelmap_onto_an_existing_label() -> None:
    """The mapped value replaces what was there; of two that meet, the later name wins."""
    labels = {"__meta_pod_b1": "bar", "__meta_pod_b2": "baz", "x": "old"}
    assert run(labels, {"regex": "__meta_pod_b.", "action": "labelmap", "replacement": "x"}) == {**labels, "x": "baz"}


def test_rules_build_on_each_other() -> None:
    """A rule sees what earlier rules set."""
    found = run(
        {"a": "foo"},
        {"source_labels": ("a",), "target_label": "b", "replacement": "${1}bar"},
        {"source_labels": ("b",), "regex": "(.*)bar", "target_label": "c", "replacement": "$1"},
    )
    assert found == {"a": "foo", "b": "foobar", "c": "foo"}


def test_dot_matches_newlines() -> None:
    """A value of two lines is matched as one text."""
    assert run({"a": "x\ny"}, {"source_labels": ("a",), "regex": "x.y", "action": "keep"}) == {"a": "x\ny"}


def test_case_is_changed_character_by_character() -> None:
    """What would become two characters stays, as in Go."""
    rule = {"source_labels": ("a",), "target_label": "a", "action": "uppercase"}
    assert run({"a": "straße é"}, rule) == {"a": "STRAßE É"}


def test_a_target_must_be_a_label_name() -> None:
    """With legacy names a computed target that is none is passed over; with UTF-8 names it is taken."""
    labels = from_mapping({"a": "some-other"})
    rule = {"source_labels": ("a",), "target_label": "${1}", "replacement": "v"}
    assert relabel.apply(labels, [Rule(**rule, legacy_names=True)]) == labels
    assert relabel.apply(labels, [Rule(**rule)]) == from_mapping({"a": "some-other", "some-other": "v"})


def test_unchanged_labels_are_the_same_object() -> None:
    """The caller can tell by identity that nothing changed."""
    labels = from_mapping(BASE)
    assert relabel.apply(labels, [Rule(source_labels=("a",), target_label="a"), Rule(regex="x", action=Action.LABELDROP)]) is labels  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"action": "hashmod", "target_label": "a"}, "relabel configuration for hashmod requires non-zero modulus"),
        ({}, "relabel configuration for replace action requires 'target_label' value"),
        ({"action": "keepequal"}, "relabel configuration for keepequal action requires 'target_label' value"),
        ({"action": "lowercase", "target_label": "a", "replacement": "x"}, "'replacement' can not be set for lowercase action"),
        ({"action": "labelmap", "replacement": ""}, "\"\" is invalid 'replacement' for labelmap action"),
        ({"action": "dropequal", "target_label": "a", "regex": "x"}, "dropequal action requires only 'source_labels' and `target_label`, and no other fields"),
        ({"action": "labeldrop", "source_labels": ("a",)}, "labeldrop action requires only 'regex', and no other fields"),
        ({"action": "labelkeep", "target_label": "a"}, "labelkeep action requires only 'regex', and no other fields"),
        ({"target_label": "x", "source_labels": ("",)}, '"" is not a valid label name'),
    ],
)  # fmt: skip
def test_faults(fields: dict[str, Any], message: str) -> None:
    """A rule that makes no sense is described in the words of Prometheus."""
    rule = Rule(**{**fields, "action": Action(fields.get("action", "replace"))})
    assert message in [str(f) for f in rule.faults()]


@pytest.mark.parametrize(
    "target", ["a-b", "1a", "${3", "a$", "${}", "$", "${", "a${", "$-", "0${3}", "-${1}", "up-${down}", "-x${1}y-"]
)
def test_legacy_targets(target: str) -> None:
    """With legacy names a target is a label name with variables."""
    fault = f"\"{target}\" is invalid 'target_label' for replace action"
    assert [str(f) for f in Rule(target_label=target, legacy_names=True).faults()] == [fault]
    assert not list(Rule(target_label=target).faults())


@pytest.mark.parametrize(
    "target", ["a", "_a1", "${1}", "$1", "a${1}", "a$2b", "_${1}_", "${part}_end", "pre_${part}_post", "x$left$right_"]
)
def test_good_legacy_targets(target: str) -> None:
    """Variables may stand anywhere."""
    assert not list(Rule(target_label=target, legacy_names=True).faults())


def test_a_bad_pattern_names_its_field() -> None:
    """The rule cannot even be made."""
    with pytest.raises(RuleError, match="error parsing regexp") as e:
        Rule(regex="(", target_label="x")
    assert e.value.key == "regex"


def test_rules_compare_by_value() -> None:
    """Two rules with the same fields are equal, whatever was compiled."""
    assert Rule(regex="a.*", target_label="x") == Rule(regex="a.*", target_label="x") != Rule(target_label="x")


names = st.sampled_from(["a", "b", "c", "d"])


@settings(deadline=None)
@given(
    st.dictionaries(names, st.text(max_size=3), max_size=4),
    st.lists(names, max_size=3).map(tuple),
    st.sampled_from(list(Action)),
    st.sampled_from(["(.*)", "a|b", "(a)(b)?", ".", "", "[^a]+"]),
    names,
    st.text(alphabet="$1{}ab", max_size=6),
)
def test_any_rule_gives_a_label_set(
    labels: dict[str, str], sources: tuple[str, ...], action: Action, regex: str, target: str, replacement: str
) -> None:
    """The result is sorted, unique and without empty values, whatever the rule."""
    rule = Rule(
        source_labels=sources, regex=regex, target_label=target, replacement=replacement, action=action, modulus=7
    )
    assert relabel.trace(from_mapping(labels), [rule])[0] == relabel.apply(from_mapping(labels), [rule])
    found = relabel.apply(from_mapping(labels), [rule])
    if found is not None:
        assert found == from_mapping(dict(found))
        assert len(dict(found)) == len(found)
