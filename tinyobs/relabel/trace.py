"""What each rule makes of a label set, and why it drops one: relabelling for people who look for a mistake."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attrs import frozen

from ..model.labels import NAME, Labels
from .apply import apply_rule
from .draft import Draft
from .rule import Action, Rule
from .template import replace_all


@frozen
class Step:
    """One rule at work."""

    rule: Rule
    before: Labels
    """Empty when an earlier rule has dropped the label set."""
    after: Labels
    """Empty when the label set is dropped, by this rule or an earlier one."""
    keep: bool
    matched: bool
    """Whether the rule had anything to say: its `if` holds and its pattern, or comparison, fits."""
    reason: str = ""
    """Why this rule drops the label set, "" when it does not."""


def trace(labels: Labels, rules: Sequence[Rule]) -> tuple[Labels | None, list[Step]]:
    """Return what `apply` would return, and one step for each rule; those after a drop have no labels."""
    draft, before = Draft(labels), labels
    steps: list[Step] = []
    dropped = False
    for rule in rules:
        if dropped:
            steps.append(Step(rule, (), (), keep=False, matched=False))
            continue
        matched = _matches(rule, draft)
        reason = _reason(rule, draft)
        dropped = not apply_rule(rule, draft)
        after = () if dropped else draft.labels()
        steps.append(Step(rule, before, after, not dropped, matched, reason if dropped else ""))
        before = after
    if dropped:
        return None, steps
    return draft.labels() if draft.changed else labels, steps


def _matches(rule: Rule, draft: Draft) -> bool:
    if rule.condition is not None and not rule.condition.matches(draft.get):
        return False
    action = rule.action
    if action in (Action.REPLACE, Action.KEEP, Action.DROP):
        return rule._regex.matches(draft.joined(rule))
    if action in (Action.KEEP_EQUAL, Action.DROP_EQUAL):
        return draft.get(rule.target_label) == draft.joined(rule)
    if action in (Action.LABELMAP, Action.LABELDROP, Action.LABELKEEP):
        return any(rule._regex.matches(name) for name, _ in draft.pairs())
    if action in (Action.HASHMOD, Action.LOWERCASE, Action.UPPERCASE):
        return True
    return _matches_extended(rule, draft)


def _matches_extended(rule: Rule, draft: Draft) -> bool:
    action, name = rule.action, draft.get(NAME)
    if action in (Action.KEEP_METRICS, Action.DROP_METRICS):
        return rule._regex.matches(name)
    if action is Action.GRAPHITE:
        return rule._graphite is not None and rule._graphite.match(name) is not None
    if action in (Action.KEEP_IF_EQUAL, Action.DROP_IF_EQUAL):
        return len({draft.get(n) for n in rule.source_labels}) == 1
    if action in (Action.KEEP_IF_CONTAINS, Action.DROP_IF_CONTAINS):
        return all(draft.get(n) in draft.get(rule.target_label) for n in rule.source_labels)
    texts: Iterable[str] = (n for n, _ in draft.pairs()) if action is Action.LABELMAP_ALL else (draft.joined(rule),)
    return any(replace_all(rule._loose, rule._loose_replacement, text) != text for text in texts)


def _reason(rule: Rule, draft: Draft) -> str:
    """Return why the rule drops the label set, if it does."""
    if rule.condition is not None and not rule.condition.matches(draft.get):
        return f"{rule.action}: no selector of `if` is fulfilled"
    action, joined = rule.action, f'"{draft.joined(rule)}"'
    names = ", ".join(rule.source_labels)
    target = f'{rule.target_label}="{draft.get(rule.target_label)}"'
    told = {
        Action.KEEP: f"{joined} does not match {rule.regex}",
        Action.DROP: f"{joined} matches {rule.regex}",
        Action.KEEP_EQUAL: f"{joined} is not the value of {target}",
        Action.DROP_EQUAL: f"{joined} is the value of {target}",
        Action.KEEP_IF_EQUAL: f"the values of {names} differ",
        Action.DROP_IF_EQUAL: f"the values of {names} are equal",
        Action.KEEP_IF_CONTAINS: f"{target} does not contain the values of {names}",
        Action.DROP_IF_CONTAINS: f"{target} contains the values of {names}",
        Action.KEEP_METRICS: f'the name "{draft.get(NAME)}" does not match {rule.regex}',
        Action.DROP_METRICS: f'the name "{draft.get(NAME)}" matches {rule.regex}',
    }
    return f"{action}: {told[action]}" if action in told else ""
