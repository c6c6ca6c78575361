"""Relabelling step by step: what each rule made of a label set, and why one dropped it."""

from __future__ import annotations

from typing import Any

import pytest

from tinyobs.model.labels import NAME, from_mapping
from tinyobs.relabel import Action, Rule, trace


def rule(**fields: Any) -> Rule:
    return Rule(**{**fields, "action": Action(fields.get("action", "replace")), "extended": True})


def test_steps_show_labels_before_and_after() -> None:
    """Each rule starts with what the one before left."""
    labels = from_mapping({"a": "1"})
    found, steps = trace(labels, [rule(source_labels=("a",), target_label="b"), rule(action="labeldrop", regex="a")])
    assert found == from_mapping({"b": "1"})
    assert [(dict(s.before), dict(s.after), s.keep, s.matched, s.reason) for s in steps] == [
        ({"a": "1"}, {"a": "1", "b": "1"}, True, True, ""),
        ({"a": "1", "b": "1"}, {"b": "1"}, True, True, ""),
    ]


def test_a_drop_has_a_reason_and_ends_it() -> None:
    """Rules after a drop are listed and have nothing to work with."""
    labels = from_mapping({"a": "1"})
    found, steps = trace(labels, [rule(action="keep", source_labels=("a",), regex="2|3"), rule(target_label="b")])
    assert found is None
    assert (steps[0].keep, steps[0].matched, steps[0].reason) == (False, False, 'keep: "1" does not match 2|3')
    assert (steps[1].before, steps[1].after, steps[1].keep, steps[1].matched, steps[1].reason) == ((), (), False, False, "")  # fmt: skip


def test_nothing_changed_is_the_same_object() -> None:
    """As with `apply`."""
    labels = from_mapping({"a": "1"})
    assert trace(labels, [rule(action="keep", source_labels=("a",))])[0] is labels


@pytest.mark.parametrize(
    ("fields", "matched", "reason"),
    [
        ({"action": "drop", "source_labels": ("a",)}, True, 'drop: "x" matches (.*)'),
        ({"action": "keepequal", "source_labels": ("a",), "target_label": "b"}, False, 'keepequal: "x" is not the value of b="xy"'),
        ({"action": "dropequal", "source_labels": ("a",), "target_label": "a"}, True, 'dropequal: "x" is the value of a="x"'),
        ({"action": "keep_if_equal", "source_labels": ("a", "b")}, False, "keep_if_equal: the values of a, b differ"),
        ({"action": "drop_if_equal", "source_labels": ("a", "a")}, True, "drop_if_equal: the values of a, a are equal"),
        ({"action": "keep_if_contains", "source_labels": ("b",), "target_label": "a"}, False, 'keep_if_contains: a="x" does not contain the values of b'),
        ({"action": "drop_if_contains", "source_labels": ("a",), "target_label": "b"}, True, 'drop_if_contains: b="xy" contains the values of a'),
        ({"action": "keep_metrics", "regex": "z"}, False, 'keep_metrics: the name "up" does not match z'),
        ({"action": "drop_metrics", "regex": "up"}, True, 'drop_metrics: the name "up" matches up'),
        ({"action": "keep", "if_": ('{a="z"}',)}, False, "keep: no selector of `if` is fulfilled"),
        ({"action": "hashmod", "target_label": "h", "modulus": 2}, True, ""),
        ({"action": "labelmap", "regex": "q"}, False, ""),
        ({"action": "labelkeep", "regex": "a"}, True, ""),
        ({"action": "graphite", "match": "*", "labels": (("p", "$1"),)}, True, ""),
        ({"action": "graphite", "match": "*.*", "labels": (("p", "$1"),)}, False, ""),
        ({"action": "replace_all", "source_labels": ("a",), "target_label": "a", "regex": "q"}, False, ""),
        ({"action": "labelmap_all", "regex": "^a", "replacement": "q"}, True, ""),
        ({"target_label": "n", "if_": ("down",)}, False, ""),
    ],
)  # fmt: skip
def test_every_action_tells_whether_it_matched_and_why_it_dropped(
    fields: dict[str, Any], matched: bool, reason: str
) -> None:
    """The words name what was compared with what."""
    _, [step] = trace(from_mapping({NAME: "up", "a": "x", "b": "xy"}), [rule(**fields)])
    assert (step.matched, step.reason, step.keep) == (matched, reason, not reason)
