"""Label matchers: `=`, `!=`, `=~`, `!~`.

An absent label is the empty string, so `{a=""}` selects the series without `a`.  Regular expressions are RE2, fully
anchored, and evaluated once per distinct value (`regex.py`).
"""

from __future__ import annotations

from enum import StrEnum

from attrs import field, frozen

from .labels import NAME, is_legacy_label_name, quote
from .regex import Regex


class MatchType(StrEnum):
    """The four operators."""

    EQUAL = "="
    NOT_EQUAL = "!="
    REGEX = "=~"
    NOT_REGEX = "!~"

    def __str__(self) -> str:
        return self.value


@frozen
class Matcher:
    """One condition on one label; raises `ValueError` for an invalid regular expression."""

    type: MatchType
    name: str
    value: str
    regex: Regex | None = field(init=False, eq=False, repr=False)

    @regex.default
    def _compile(self) -> Regex | None:
        return Regex(self.value) if self.type in (MatchType.REGEX, MatchType.NOT_REGEX) else None

    def matches(self, value: str) -> bool:
        """Tell whether a label value ("" for an absent label) fulfils the condition."""
        if self.regex is None:
            return (value == self.value) is (self.type is MatchType.EQUAL)
        return self.regex.matches(value) is (self.type is MatchType.REGEX)

    def matches_empty(self) -> bool:
        """Tell whether series without this label fulfil the condition."""
        return self.matches("")

    def __str__(self) -> str:
        name = self.name if is_legacy_label_name(self.name) else quote(self.name)
        return f"{name}{self.type}{quote(self.value)}"


def equal(name: str, value: str) -> Matcher:
    """Return the matcher `name="value"`."""
    return Matcher(MatchType.EQUAL, name, value)


def name_is(metric_name: str) -> Matcher:
    """Return the matcher for a metric name."""
    return equal(NAME, metric_name)
