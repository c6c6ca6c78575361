"""Rules applied to a label set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ..model.labels import Labels
from .actions import ACTIONS, Act
from .draft import Draft
from .extended_actions import EXTENDED_ACTIONS
from .rule import Action, Rule

_ALL: Final[dict[Action, Act]] = {**ACTIONS, **EXTENDED_ACTIONS}
_DROP_WHERE_IF_FAILS: Final = frozenset({Action.KEEP, Action.KEEP_METRICS})


def apply(labels: Labels, rules: Sequence[Rule]) -> Labels | None:
    """Return the labels after all rules, the very same object where nothing changed, or None when dropped."""
    draft = Draft(labels)
    for rule in rules:
        if not apply_rule(rule, draft):
            return None
    return draft.labels() if draft.changed else labels


def apply_rule(rule: Rule, draft: Draft) -> bool:
    """Let one rule change a draft; False drops the label set."""
    if rule.condition is not None and not rule.condition.matches(draft.get):
        return rule.action not in _DROP_WHERE_IF_FAILS
    return _ALL[rule.action](rule, draft)
