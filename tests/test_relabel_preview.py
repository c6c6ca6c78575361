"""What rules would do to many label sets: figures that agree with `apply`, examples, bounds."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyobs.errors import LimitExceeded
from tinyobs.model.labels import NAME, from_mapping
from tinyobs.relabel import Action, PreviewBounds, Rule, apply, preview

SERIES = [from_mapping({NAME: "up", "i": str(i), "j": str(i % 2)}) for i in range(6)]


def rule(**fields: Any) -> Rule:
    return Rule(**{**fields, "action": Action(fields.get("action", "replace"))})


def test_series_that_become_one_are_told() -> None:
    """Also where one of them stays as it is."""
    found = preview([*SERIES, from_mapping({NAME: "up", "j": "0"})], [rule(action="labeldrop", regex="i")])
    assert (found.series, found.kept, found.dropped, found.changed) == (7, 7, 0, 6)
    assert (found.collisions, found.collided) == (2, 7)
    first = found.collision_examples[0]
    assert (dict(first.after), first.count, len(first.before)) == ({NAME: "up", "j": "0"}, 4, 4)


def test_each_rule_has_its_share() -> None:
    """A rule is charged with what it drops and changes itself; a change that is undone is none in the end."""
    rules = [
        rule(action="drop", source_labels=("i",), regex="[01]"),
        rule(target_label="x", replacement="1"),
        rule(action="labeldrop", regex="x"),
        rule(action="keep", source_labels=("j",), regex="1"),
    ]
    found = preview(SERIES, rules)
    assert [(r.dropped, r.changed) for r in found.rules] == [(2, 0), (0, 4), (0, 4), (2, 0)]
    assert (found.kept, found.changed, found.labels) == (2, 0, {})
    assert [(e.rule, e.reason) for e in found.dropped_examples][2] == (3, 'keep: "0" does not match 1')


def test_examples_are_bounded_and_figures_are_not() -> None:
    """Lists end, counts go on."""
    found = preview(SERIES, [rule(target_label=NAME, replacement="new")], examples_max=2)
    assert (len(found.changed_examples), found.changed, found.renamed) == (2, 6, Counter({("up", "new"): 6}))


def test_it_stops_when_it_is_told_to() -> None:
    """`check` is asked before the first label set, and every thousand."""
    asked = []
    preview([from_mapping({"i": str(i)}) for i in range(2500)], [], check=lambda: asked.append(1))
    assert len(asked) == 3

    def stop() -> None:
        raise KeyError("stop")

    with pytest.raises(KeyError):
        preview(SERIES, [], check=stop)


def test_rules_that_grow_without_bound_are_stopped() -> None:
    """Each doubles what the one before has made."""
    longer = [rule(source_labels=("i",), target_label="i", replacement="$1$1")] * 60
    with pytest.raises(LimitExceeded, match="label value longer than 100"):
        preview(SERIES, longer, bounds=PreviewBounds(value_length_max=100))
    more = [rule(action="labelmap", replacement=f"x{i}_$1") for i in range(60)]
    with pytest.raises(LimitExceeded, match="more than 50 labels"):
        preview(SERIES, more, bounds=PreviewBounds(labels_max=50))


names = st.sampled_from(["a", "b", NAME])
values = st.sampled_from(["", "1", "2"])
rules_of = st.builds(
    lambda action, source, regex, target: rule(action=action, source_labels=source, regex=regex, target_label=target),
    st.sampled_from(["replace", "keep", "drop", "labeldrop", "keepequal", "lowercase"]),
    st.lists(names, max_size=2).map(tuple),
    st.sampled_from(["(.*)", "1", "a|b", ".+"]),
    names,
)


@settings(deadline=None)
@given(st.sets(st.dictionaries(names, values, max_size=3).map(from_mapping)), st.lists(rules_of, max_size=3))
def test_the_figures_are_those_of_apply(series: set[Any], rules: list[Rule]) -> None:
    """Kept, dropped, changed and collided, whatever the rules."""
    found = preview(sorted(series), rules)
    after = [apply(labels, rules) for labels in sorted(series)]
    assert (found.series, found.dropped) == (len(series), after.count(None))
    assert found.changed == sum(a is not None and a != b for a, b in zip(after, sorted(series), strict=True))
    counts = Counter(a for a in after if a is not None)
    assert (found.collisions, found.collided) == (sum(n > 1 for n in counts.values()), sum(n for n in counts.values() if n > 1))  # fmt: skip
