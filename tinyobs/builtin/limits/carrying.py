"""Which sums go on when a reload changes the rules: those whose rule folds as before, and still is the first that holds.

A rule that is new before it might hold for some of its series now.  What is left of a member is a hash, so this is decided by
the labels of the folded series: all of its members have them too, but for the folded ones, of which nothing is known.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...config.limit_settings import LimitRule
from .counts import NO_RULE
from .folds import Target
from .rules import Rule, Rules


def rules_now(before: Rules, rules: Rules) -> list[int]:
    """Return the number that each rule has now, `NO_RULE` for those that are gone or fold otherwise."""
    known = {_folds_as(rule.settings): i for i, rule in reversed(list(enumerate(rules.all)))}
    return [known.get(_folds_as(rule.settings), NO_RULE) for rule in before.all]


def rules_of_targets(targets: Sequence[Target], before: Rules, rules: Rules) -> list[int]:
    """Return the number that the rule of each target has now, `NO_RULE` where its sum begins anew."""
    found, numbers = [], rules_now(before, rules)
    for target in targets:
        number = numbers[target.rule]
        if number != NO_RULE:
            earlier = {rule.settings.match for rule in before.all[: target.rule]}
            labels = dict(target.labels)
            unknown = rules.all[number].settings.labels
            between = (rule for rule in rules.all[:number] if rule.settings.match not in earlier)
            if any(_may_hold(rule, labels, unknown) for rule in between):
                number = NO_RULE
        found.append(number)
    return found


def _folds_as(rule: LimitRule) -> tuple[object, ...]:
    """Return what a rule says of folding; its limits on numbers may change."""
    return rule.match, rule.labels, rule.values_max, rule.values_per, rule.mode


def _may_hold(rule: Rule, labels: dict[str, str], unknown: Sequence[str]) -> bool:
    matchers = (*rule.on_name, *rule.on_labels)
    return all(m.name in unknown or m.matches(labels.get(m.name, "")) for m in matchers)
