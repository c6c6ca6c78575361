"""A label set while rules change it."""

from __future__ import annotations

from ..model.labels import Labels
from .rule import Rule


class Draft:
    """A label set being changed.  Labels set by rules come after the others when a rule walks over all."""

    __slots__ = ("base", "changed", "set_later")

    def __init__(self, labels: Labels) -> None:
        self.base = dict(labels)
        self.set_later: dict[str, str] = {}
        self.changed = False

    def get(self, name: str) -> str:
        """Return the value of a label, "" where there is none."""
        value = self.set_later.get(name)
        return self.base.get(name, "") if value is None else value

    def joined(self, rule: Rule) -> str:
        """Return the values of a rule's source labels as one text."""
        return rule.separator.join([self.get(name) for name in rule.source_labels])

    def set(self, name: str, value: str) -> None:
        """Set a label; an empty value deletes it."""
        if not value:
            self.delete(name)
            return
        if self.get(name) != value:
            self.changed = True
        self.base.pop(name, None)
        self.set_later[name] = value

    def delete(self, name: str) -> None:
        """Remove a label, if it is there."""
        found = self.base.pop(name, None) is not None
        if self.set_later.pop(name, None) is not None or found:
            self.changed = True

    def pairs(self) -> list[tuple[str, str]]:
        """Return all labels: those as given, then those that rules set."""
        return [*self.base.items(), *self.set_later.items()]

    def labels(self) -> Labels:
        """Return the label set as it is now."""
        return tuple(sorted(self.pairs()))
