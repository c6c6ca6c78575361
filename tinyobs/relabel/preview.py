"""What rules would do to many label sets: how many they drop, change and join, which labels they touch, with examples.

Nothing is stored or sent.  The work for one label set is that of `apply`; reasons are looked for in the examples only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from attrs import Factory, define, frozen

from ..errors import LimitExceeded
from ..model.labels import Labels, metric_name
from .apply import apply_rule
from .draft import Draft
from .rule import Rule
from .trace import trace

CHECK_EVERY: Final = 1000
"""Label sets between two looks at whether to go on."""
JOINED_SHOWN_MAX: Final = 10
"""Label sets that an example of a collision lists."""


@define
class RuleEffect:
    """What one rule did: how many label sets it dropped, and how many it changed."""

    rule: Rule
    dropped: int = 0
    changed: int = 0


@define
class LabelEffect:
    """On how many label sets a label came, went, or got another value."""

    added: int = 0
    removed: int = 0
    changed: int = 0


@frozen
class DroppedExample:
    """A label set that would be dropped, by which rule (from 0) and why."""

    labels: Labels
    rule: int
    reason: str


@frozen
class ChangedExample:
    """A label set that would be another one."""

    before: Labels
    after: Labels


@define
class Collision:
    """Label sets that would become one: series that are told apart now, and whose samples would get mixed up."""

    after: Labels
    before: list[Labels]
    """Some of them."""
    count: int


@define
class Preview:
    """What rules would do.  collided: label sets that another one would become as well."""

    rules: Sequence[RuleEffect]
    series: int = 0
    kept: int = 0
    dropped: int = 0
    changed: int = 0
    collided: int = 0
    collisions: int = 0
    """Label sets that several would become."""
    labels: dict[str, LabelEffect] = Factory(dict)
    series_by_metric: Counter[str] = Factory(Counter)
    dropped_by_metric: Counter[str] = Factory(Counter)
    renamed: Counter[tuple[str, str]] = Factory(Counter)
    """(metric name before, after) -> label sets."""
    dropped_examples: list[DroppedExample] = Factory(list)
    changed_examples: list[ChangedExample] = Factory(list)
    collision_examples: list[Collision] = Factory(list)


@frozen
class PreviewBounds:
    """How large rules may make a label set: rules that double a value, or the number of labels, are soon beyond memory."""

    labels_max: int = 1000
    value_length_max: int = 16_384
    """Longest value that a rule may set, in characters."""

    def hold(self, draft: Draft) -> None:
        """Raise `LimitExceeded` for a label set that is too large."""
        if len(draft.base) + len(draft.set_later) > self.labels_max:
            raise LimitExceeded(
                "relabel_labels_max", f"the rules make a series with more than {self.labels_max} labels"
            )
        if any(len(value) > self.value_length_max for value in draft.set_later.values()):
            what = f"the rules make a label value longer than {self.value_length_max} characters"
            raise LimitExceeded("relabel_value_length_max", what)


def preview(
    found: Iterable[Labels],
    rules: Sequence[Rule],
    examples_max: int = 10,
    check: Callable[[], object] = lambda: None,
    bounds: PreviewBounds | None = None,
) -> Preview:
    """Return what rules would do to distinct label sets.

    check: raises to stop, called now and then.  bounds: for rules that cannot be trusted; `LimitExceeded` where they make
    a label set that is beyond them.
    """
    out = Preview([RuleEffect(rule) for rule in rules])
    results: dict[Labels, Labels | list[Labels]] = {}
    for labels in found:
        if out.series % CHECK_EVERY == 0:
            check()
        out.series += 1
        name = metric_name(labels)
        out.series_by_metric[name] += 1
        after = _apply(labels, out.rules, bounds)
        if after is None:
            _note_drop(labels, name, out, examples_max)
            continue
        out.kept += 1
        if after is not labels:
            _note_change(labels, after, name, out, examples_max)
        first = results.setdefault(after, labels)
        if first is not labels:
            results[after] = [*first, labels] if isinstance(first, list) else [first, labels]
    _note_collisions(results, out, examples_max)
    return out


def _apply(labels: Labels, effects: Sequence[RuleEffect], bounds: PreviewBounds | None) -> Labels | None:
    draft = Draft(labels)
    changed = False
    for effect in effects:
        draft.changed = False
        if not apply_rule(effect.rule, draft):
            effect.dropped += 1
            return None
        if draft.changed:
            effect.changed += 1
            changed = True
            if bounds is not None:
                bounds.hold(draft)
    after = draft.labels() if changed else labels
    return labels if after == labels else after


def _note_drop(labels: Labels, name: str, out: Preview, examples_max: int) -> None:
    out.dropped += 1
    out.dropped_by_metric[name] += 1
    if len(out.dropped_examples) < examples_max:
        _, steps = trace(labels, [effect.rule for effect in out.rules])
        at = next(i for i, step in enumerate(steps) if not step.keep)
        out.dropped_examples.append(DroppedExample(labels, at, steps[at].reason))


def _note_change(labels: Labels, after: Labels, name: str, out: Preview, examples_max: int) -> None:
    out.changed += 1
    if len(out.changed_examples) < examples_max:
        out.changed_examples.append(ChangedExample(labels, after))
    new_name = metric_name(after)
    if new_name != name:
        out.renamed[name, new_name] += 1
    before, now = dict(labels), dict(after)
    for label, value in before.items():
        if (found := now.get(label)) != value:
            effect = out.labels.setdefault(label, LabelEffect())
            if found is None:
                effect.removed += 1
            else:
                effect.changed += 1
    for label in now.keys() - before.keys():
        out.labels.setdefault(label, LabelEffect()).added += 1


def _note_collisions(results: Mapping[Labels, Labels | list[Labels]], out: Preview, examples_max: int) -> None:
    for after, before in results.items():
        if isinstance(before, list):
            out.collisions += 1
            out.collided += len(before)
            if len(out.collision_examples) < examples_max:
                out.collision_examples.append(Collision(after, before[:JOINED_SHOWN_MAX], len(before)))
