"""The actions of VictoriaMetrics that Prometheus has not; each returns False to drop the label set.

Source: VictoriaMetrics lib/promrelabel/relabel.go.
"""

from __future__ import annotations

from typing import Final

from ..model.labels import NAME
from .actions import Act
from .draft import Draft
from .graphite import expand_graphite
from .rule import Action, Rule
from .template import replace_all


def _replace_all(rule: Rule, draft: Draft) -> bool:
    value = draft.joined(rule)
    new = replace_all(rule._loose, rule._loose_replacement, value)
    if new != value:
        draft.set(rule.target_label, new)
    return True


def _labelmap_all(rule: Rule, draft: Draft) -> bool:
    named = [(name, replace_all(rule._loose, rule._loose_replacement, name), value) for name, value in draft.pairs()]
    renamed = [(name, new, value) for name, new, value in named if new != name]
    for name, _, _ in renamed:  # all of them first: a new name may be an old one of another label
        draft.delete(name)
    for _, new, value in renamed:
        if new:
            draft.set(new, value)
    return True


def _are_equal(rule: Rule, draft: Draft) -> bool:
    return len({draft.get(name) for name in rule.source_labels}) == 1


def _contains_all(rule: Rule, draft: Draft) -> bool:
    whole = draft.get(rule.target_label)
    return all(draft.get(name) in whole for name in rule.source_labels)


def _keep_if_equal(rule: Rule, draft: Draft) -> bool:
    return _are_equal(rule, draft)


def _drop_if_equal(rule: Rule, draft: Draft) -> bool:
    return not _are_equal(rule, draft)


def _keep_if_contains(rule: Rule, draft: Draft) -> bool:
    return _contains_all(rule, draft)


def _drop_if_contains(rule: Rule, draft: Draft) -> bool:
    return not _contains_all(rule, draft)


def _keep_metrics(rule: Rule, draft: Draft) -> bool:
    return rule._regex.matches(draft.get(NAME))


def _drop_metrics(rule: Rule, draft: Draft) -> bool:
    return not rule._regex.matches(draft.get(NAME))


def _graphite(rule: Rule, draft: Draft) -> bool:
    groups = rule._graphite.match(draft.get(NAME)) if rule._graphite is not None else None
    if groups is not None:
        for name, template in rule.labels:
            draft.set(name, expand_graphite(template, groups))
    return True


EXTENDED_ACTIONS: Final[dict[Action, Act]] = {
    Action.REPLACE_ALL: _replace_all,
    Action.LABELMAP_ALL: _labelmap_all,
    Action.KEEP_IF_EQUAL: _keep_if_equal,
    Action.DROP_IF_EQUAL: _drop_if_equal,
    Action.KEEP_IF_CONTAINS: _keep_if_contains,
    Action.DROP_IF_CONTAINS: _drop_if_contains,
    Action.KEEP_METRICS: _keep_metrics,
    Action.DROP_METRICS: _drop_metrics,
    Action.GRAPHITE: _graphite,
}
