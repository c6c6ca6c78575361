"""Rule files: groups of recording and alerting rules, read and validated.

Format and messages: prometheus model/rulefmt/rulefmt.go.  Expressions are PromQL, which configuration knows nothing
of: the caller gives a function that checks one.  Rules are not evaluated here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from attrs import frozen

from ..errors import ConfigError, Problem, QueryParseError
from ..model.durations import DurationMs
from ..model.labels import NAME, is_legacy_label_name, is_legacy_metric_name
from .decoder import BROKEN, Decoder, in_order
from .fields import Fault, setting
from .yaml_tree import MappingNode, parse_tree

CheckExpression: TypeAlias = Callable[[str], object]
"""Raises `QueryParseError` (or any `ValueError`) for a text that is not PromQL."""


@frozen(kw_only=True)
class RuleConfig:
    """One rule: it records a series or raises alerts."""

    record: str = setting(default="")
    alert: str = setting(default="")
    expr: str = setting(default="", always=True)
    for_ms: DurationMs = setting("for", default=DurationMs(0))
    keep_firing_for_ms: DurationMs = setting("keep_firing_for", default=DurationMs(0))
    labels: tuple[tuple[str, str], ...] = setting(default=())
    annotations: tuple[tuple[str, str], ...] = setting(default=())

    def faults(self) -> Iterator[Fault]:
        """Yield what is missing or contradicts."""
        if self.record and self.alert:
            yield Fault("only one of 'record' and 'alert' must be set", "record")
        if not self.record and not self.alert:
            yield Fault("one of 'record' or 'alert' must be set")
        if not self.expr:
            yield Fault("field 'expr' must be set in rule", "expr")
        if self.record:
            yield from self._recording_faults()
        for name, _ in self.labels:
            if not name or name == NAME:
                yield Fault(f"invalid label name: {name}", f"labels.{name}")
        for name, _ in self.annotations:
            if not name:
                yield Fault(f"invalid annotation name: {name}", "annotations")

    def _recording_faults(self) -> Iterator[Fault]:
        for key, value in (
            ("annotations", self.annotations),
            ("for", self.for_ms),
            ("keep_firing_for", self.keep_firing_for_ms),
        ):
            if value:
                yield Fault(f"invalid field '{key}' in recording rule", key)
        if "{" in self.record or "}" in self.record:
            yield Fault(f"braces present in the recording rule name; should it be in expr?: {self.record}", "record")


@frozen(kw_only=True)
class RuleGroupConfig:
    """Rules that run one after the other, at one interval (0: the global one)."""

    name: str = setting(default="", always=True)
    interval_ms: DurationMs = setting("interval", default=DurationMs(0))
    query_offset_ms: DurationMs | None = setting("query_offset", default=None)
    limit: int = setting(default=0)
    """Most series that a rule may make; 0 means no limit."""
    labels: tuple[tuple[str, str], ...] = setting(default=())
    rules: tuple[RuleConfig, ...] = setting(default=(), always=True)

    def faults(self) -> Iterator[Fault]:
        """Yield what is missing."""
        if not self.name:
            yield Fault("Groupname must not be empty", "name")
        for name, _ in self.labels:
            if not name or name == NAME:
                yield Fault(f"invalid label name: {name}", f"labels.{name}")


@frozen(kw_only=True)
class RuleFileContent:
    """What a rule file holds."""

    groups: tuple[RuleGroupConfig, ...] = setting(default=())


@frozen
class RuleFile:
    """A rule file that was read."""

    file: str
    groups: tuple[RuleGroupConfig, ...]


def parse_rules(
    text: str | bytes, file: str, check_expression: CheckExpression | None = None, *, legacy_names: bool = False
) -> RuleFile:
    """Return the groups of a rule file, or raise `ConfigError` with every problem in it."""
    root, problems = parse_tree(text, file)
    decoder = Decoder(file)
    decoder.problems += problems
    groups: tuple[RuleGroupConfig, ...] = ()
    if root is not None or not problems:
        values = decoder.fields(root or MappingNode(1, 1), RuleFileContent, "")
        if values["groups"] is not BROKEN:
            groups = values["groups"]
            _check_groups(groups, decoder, check_expression, legacy_names=legacy_names)
    if decoder.problems:
        raise ConfigError(in_order(decoder.problems))
    return RuleFile(file, groups)


def _check_groups(
    groups: tuple[Any, ...],
    decoder: Decoder,
    check_expression: CheckExpression | None,
    *,
    legacy_names: bool,
) -> None:
    """Note what the groups' own checks cannot see; a broken group among them is passed over."""
    names: set[str] = set()
    for i, group in enumerate(groups):
        at = f".groups[{i}]"
        if not isinstance(group, RuleGroupConfig):
            continue
        if group.name in names:
            decoder.report(f'groupname: "{group.name}" is repeated in the same file', f"{at}.name")
        names.add(group.name)
        for j, rule in enumerate(group.rules):
            prefix = f'group "{group.name}", rule {j + 1}, "{rule.alert or rule.record}": '
            path = f"{at}.rules[{j}]"
            if check_expression is not None:
                try:
                    check_expression(rule.expr)
                except (QueryParseError, ValueError) as e:
                    decoder.report(f"{prefix}could not parse expression: {e}", f"{path}.expr")
            if legacy_names:
                _check_legacy(rule, prefix, path, decoder)


def _check_legacy(rule: RuleConfig, prefix: str, path: str, decoder: Decoder) -> None:
    """Note names that the legacy scheme refuses."""
    if rule.record and not is_legacy_metric_name(rule.record):
        decoder.report(f"{prefix}invalid recording rule name: {rule.record}", f"{path}.record")
    for name, _ in rule.labels:
        if not is_legacy_label_name(name):
            decoder.report(f"{prefix}invalid label name: {name}", f"{path}.labels.{name}")
    for name, _ in rule.annotations:
        if not is_legacy_label_name(name):
            decoder.report(f"{prefix}invalid annotation name: {name}", f"{path}.annotations.{name}")


def unreadable(file: str, error: OSError) -> Problem:
    """Return the problem that stands for a file which cannot be read."""
    return Problem(file, 0, 0, f"cannot be read: {error.strerror or error}")
