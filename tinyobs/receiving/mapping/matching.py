"""Which rule fits a dotted name, and what it makes of it.

Rules with globs come first, found by a walk through a tree of the components between dots; where several fit, the first in
the file counts, or with `glob_disable_ordering` the one that has fewer stars in front.  Regular expressions come after all
globs, in their order.  Source: prometheus/statsd_exporter pkg/mapper, which graphite_exporter uses as well.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from attrs import Factory, define, frozen

from ...model.regex import compile_re2
from .mapping_file import MappingDefaults, MappingRule, MatchType

_GLOB_REFERENCE: Final = re.compile(r"\$\{?([a-zA-Z0-9_$]+)\}?")
_GO_REFERENCE: Final = re.compile(r"\$(?:(\$)|\{(\w+)\}|(\w+))")

Fits = Callable[[MappingRule], bool]
"""Whether a rule may be used, its match aside."""


@frozen
class Fitting:
    """A rule that fits a name; `fill` puts what was matched into one of its texts."""

    rule: MappingRule
    fill: Callable[[str], str]


@define
class _Node:
    """A place in the tree of globs; rules: those that end here, with their place in the file."""

    children: dict[str, _Node] = Factory(dict)
    rules: list[tuple[int, MappingRule]] = Factory(list)


_Found = tuple[int, MappingRule, tuple[str, ...]]


class RuleMatcher:
    """The rules of one file.  Remembers nothing of names: whoever asks does."""

    def __init__(self, defaults: MappingDefaults, rules: Sequence[MappingRule]) -> None:
        self._shortest_first = defaults.glob_disable_ordering
        self._tree = _Node()
        self._regexes: list[tuple[Any, MappingRule]] = []
        for i, rule in enumerate(rules):
            if (rule.match_type or defaults.match_type) is MatchType.REGEX:
                self._regexes.append((compile_re2(rule.match), rule))
            else:
                _place(self._tree, rule).rules.append((i, rule))

    def find(self, name: str, fits: Fits = lambda rule: True) -> Fitting | None:
        """Return the rule that fits a name, None where none does."""
        by_glob = self._best_glob(name, fits)
        if by_glob is not None:
            _, rule, captured = by_glob
            return Fitting(rule, lambda template: _fill_glob(template, captured))
        for regex, rule in self._regexes:
            match = regex.search(name)
            if match is not None and fits(rule):
                return Fitting(rule, lambda template, match=match: _fill_regex(template, match))  # type: ignore[misc]
        return None

    def _best_glob(self, name: str, fits: Fits) -> _Found | None:
        parts = name.split(".")
        best: _Found | None = None
        left: list[tuple[_Node, int, tuple[str, ...]]] = [(self._tree, 0, ())]
        while left:
            node, depth, captured = left.pop()
            if depth == len(parts):
                found = next(((i, rule, captured) for i, rule in node.rules if fits(rule)), None)
                if found and self._shortest_first:
                    return found
                best = min(best, found, key=lambda f: f[0]) if best and found else best or found
                continue
            part = parts[depth]
            if (star := node.children.get("*")) is not None:
                left.append((star, depth + 1, (*captured, part)))
            if part != "*" and (plain := node.children.get(part)) is not None:
                left.append((plain, depth + 1, captured))  # looked at first
        return best


def _place(tree: _Node, rule: MappingRule) -> _Node:
    for part in rule.match.split("."):
        tree = tree.children.setdefault(part, _Node())
    return tree


def _fill_glob(template: str, captured: tuple[str, ...]) -> str:
    """Put in what the stars stood for, counted from 1; what refers to no star is left out."""

    def one(match: re.Match[str]) -> str:
        number = match.group(1)
        return captured[int(number) - 1] if number.isdecimal() and 1 <= int(number) <= len(captured) else ""

    return _GLOB_REFERENCE.sub(one, template)


def _fill_regex(template: str, match: Any) -> str:
    """Put in what groups matched, as Go's `Expand` does: by number or name, `$$` for a dollar."""

    def one(reference: re.Match[str]) -> str:
        if reference.group(1):
            return "$"
        key: Any = reference.group(2) or reference.group(3)
        if key.isdecimal():
            key = int(key)
        try:
            return match.group(key) or ""
        except (IndexError, KeyError, ValueError):
            return ""

    return _GO_REFERENCE.sub(one, template)
