"""Rule files: groups, rules, and what is wrong with them."""

from __future__ import annotations

import pytest

from tinyobs.config.rule_file import parse_rules
from tinyobs.errors import ConfigError, QueryParseError

GOOD = """
groups:
  - name: my-group
    interval: 10s
    query_offset: 1m
    limit: 10
    labels: {team: infra}
    rules:
      - alert: HighErrors
        expr: |
          sum without(instance) (rate(errors_total[5m]))
            > 0.5
        for: 5m
        keep_firing_for: 1h
        labels: {severity: critical}
        annotations:
          description: "stuff is {{ $value }}"
      - record: "new metric"
        expr: up
  - name: empty
"""


def problems_of(text: str, *, legacy_names: bool = False) -> list[str]:
    """Return the problems of a text, as printed."""

    def check(expression: str) -> None:
        if "bad" in expression:
            raise QueryParseError("unexpected identifier", 0, 3, expression)

    with pytest.raises(ConfigError) as e:
        parse_rules(text, "r.yml", check, legacy_names=legacy_names)
    return [str(p) for p in e.value.problems]


def test_a_good_file() -> None:
    """Every key is read, durations as milliseconds, and each expression is checked once."""
    seen: list[str] = []
    found = parse_rules(GOOD, "r.yml", seen.append)
    group, empty = found.groups
    assert (found.file, empty.rules) == ("r.yml", ())
    assert (group.name, group.interval_ms, group.query_offset_ms, group.limit) == ("my-group", 10_000, 60_000, 10)
    alert, record = group.rules
    assert (alert.alert, alert.for_ms, alert.keep_firing_for_ms) == ("HighErrors", 300_000, 3_600_000)
    assert alert.labels == (("severity", "critical"),)
    assert record.record == "new metric"
    assert seen == [alert.expr, "up"]


@pytest.mark.parametrize("text", ["", "groups:", "groups: []", "{}"])
def test_files_without_groups(text: str) -> None:
    """Nothing to do is fine."""
    assert parse_rules(text, "r.yml").groups == ()


def rule(fields: str) -> str:
    """Return a file with one rule."""
    return f"groups: [{{name: g, rules: [{{{fields}}}]}}]"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (rule("expr: a"), "one of 'record' or 'alert' must be set"),
        (rule("expr: a, record: r, alert: s"), "only one of 'record' and 'alert' must be set"),
        (rule("record: r"), "field 'expr' must be set in rule"),
        (rule("record: r, expr: a, for: 1m"), "invalid field 'for' in recording rule"),
        (rule("record: r, expr: a, keep_firing_for: 1m"), "invalid field 'keep_firing_for' in recording rule"),
        (rule("record: r, expr: a, annotations: {b: c}"), "invalid field 'annotations' in recording rule"),
        (rule("record: 'r{}', expr: a"), "braces present in the recording rule name; should it be in expr?: r{}"),
        (rule("alert: r, expr: a, labels: {__name__: x}"), "invalid label name: __name__"),
        (rule("alert: r, expr: bad"), 'group "g", rule 1, "r": could not parse expression: 1:1: parse error: unexp'),
        (rule("alert: r, expr: a, fro: 5m"), "unknown key 'fro', did you mean 'for'?"),
        ("groups: [{name: ''}]", "Groupname must not be empty"),
        ("groups: [{name: a}, {name: a}]", 'groupname: "a" is repeated in the same file'),
        ("groups: {a: b}", "expected a list, got a mapping"),
    ],
)
def test_faults(text: str, message: str) -> None:
    """Messages are those of Prometheus, with a place."""
    (problem,) = problems_of(text)
    assert message in problem
    assert problem.startswith("r.yml:1:")


def test_legacy_names() -> None:
    """Where only legacy names are valid, rules hold to them too."""
    assert [p.partition(": ")[2] for p in problems_of(rule("record: 'a b', expr: a"), legacy_names=True)] == [
        'group "g", rule 1, "a b": invalid recording rule name: a b (at .groups[0].rules[0].record)'
    ]


def test_a_fault_in_one_group_hides_none_in_another() -> None:
    """All problems are found in one run."""
    text = "groups:\n- {name: a, rules: [{expr: x}]}\n- {name: b, rules: [{record: c, expr: bad}]}\n- {name: b}\n"
    assert [p.partition(": ")[0] for p in problems_of(text)] == ["r.yml:2:21", "r.yml:3:39", "r.yml:4:10"]
