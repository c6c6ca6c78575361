"""The rules of the configuration, ready to be asked: which one a series falls under, and which values of its labels are kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from attrs import define, field

from ...config.limit_settings import LimitRule, ValuesPer
from ...model import labels as lb
from ...model.matchers import Matcher
from ...promql.parser import parse_selector
from .folds import OTHER, family_of

_NAMES_MAX: Final = 10_000
"""Metric names that are remembered with the rules that may hold for them."""

Key = tuple[str, object]
"""A label, and what its first values are counted for: a family of metrics, or the other labels."""


@define
class Rule:
    """One rule.  kept: by key, the values of its label that are kept, each with the number of its series."""

    settings: LimitRule
    on_name: tuple[Matcher, ...]
    on_labels: tuple[Matcher, ...]
    kept: dict[Key, dict[str, int]] = field(factory=dict)

    def excess(self, labels: dict[str, str]) -> list[str]:
        """Return the labels of a series whose values are beyond those that are kept."""
        s, out = self.settings, []
        for label in s.labels:
            value = labels.get(label, OTHER)
            if value != OTHER:
                kept = self.kept.get(self.key(label, labels), ())
                if value not in kept and len(kept) >= s.values_max:
                    out.append(label)
        return out

    def keep(self, labels: dict[str, str]) -> None:
        """Count a series for the values that it has."""
        for label in self.settings.labels:
            value = labels.get(label, OTHER)
            if value != OTHER:
                kept = self.kept.setdefault(self.key(label, labels), {})
                kept[value] = kept.get(value, 0) + 1

    def release(self, labels: dict[str, str]) -> None:
        """Count a series no more."""
        for label in self.settings.labels:
            key = self.key(label, labels)
            kept = self.kept.get(key, {})
            value = labels.get(label, OTHER)
            if value in kept:
                kept[value] -= 1
                if not kept[value]:
                    del kept[value]
                if not kept:
                    del self.kept[key]

    def key(self, label: str, labels: dict[str, str]) -> Key:
        """Return what the values of a label are counted for."""
        if self.settings.values_per is ValuesPer.METRIC:
            return label, family_of(labels.get(lb.NAME, ""))
        rest = {k: v for k, v in labels.items() if k not in self.settings.labels and k != "le"}
        rest[lb.NAME] = family_of(labels.get(lb.NAME, ""))
        return label, tuple(sorted(rest.items()))

    def kept_count(self, label: str, family: str) -> int:
        """Return how many values of a label are kept in a family of metrics."""
        per_metric = self.kept.get((label, family))
        if per_metric is not None or self.settings.values_per is ValuesPer.METRIC:
            return len(per_metric or ())
        kept: set[str] = set()
        for (name, rest), values in self.kept.items():
            if name == label and isinstance(rest, tuple) and (lb.NAME, family) in rest:
                kept.update(values)
        return len(kept)


class Rules:
    """All of them, in the order of the configuration."""

    def __init__(self, settings: Sequence[LimitRule]) -> None:
        self.all = [_compiled(s) for s in settings]
        self._by_name: dict[str, tuple[int, ...]] = {}

    def __len__(self) -> int:
        return len(self.all)

    def possible(self, name: str) -> tuple[int, ...]:
        """Return the numbers of the rules whose conditions on the metric name hold."""
        found = self._by_name.get(name)
        if found is None:
            if len(self._by_name) >= _NAMES_MAX:
                self._by_name.clear()
            found = tuple(i for i, r in enumerate(self.all) if all(m.matches(name) for m in r.on_name))
            self._by_name[name] = found
        return found


def _compiled(settings: LimitRule) -> Rule:
    matchers = parse_selector(settings.match)
    on_name = tuple(m for m in matchers if m.name == lb.NAME)
    return Rule(settings, on_name, tuple(m for m in matchers if m.name != lb.NAME))
