"""A relabelling rule: its fields, what was compiled of them, and what is wrong with it.

What is said of the fields of Prometheus is in its words (model/relabel/relabel.go); what VictoriaMetrics has besides
(lib/promrelabel/config.go) is refused unless the rule is made `extended`.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Any, Final

from attrs import field, frozen

from ..model.labels import is_legacy_label_name
from ..model.regex import Regex, compile_re2
from ..model.selectors import AnyOf
from .graphite import GraphitePattern
from .template import Template, compile_template

DEFAULT_REGEX: Final = "(.*)"
DEFAULT_SEPARATOR: Final = ";"
DEFAULT_REPLACEMENT: Final = "$1"
MODULUS_MAX: Final = 2**64 - 1
"""Largest `modulus`: the hash has 64 bits."""
EXTENDED_SWITCH: Final = "tinyobs: {relabel: {extended: true}}"
"""What switches on, in the configuration, what Prometheus has not."""

_LEGACY_TEMPLATE: Final = compile_re2(r"(?:(?:[a-zA-Z_]|\$(?:\{\w+\}|\w+))+\w*)+")


class Action(StrEnum):
    """What a rule does."""

    REPLACE = "replace"
    KEEP = "keep"
    DROP = "drop"
    KEEP_EQUAL = "keepequal"
    DROP_EQUAL = "dropequal"
    HASHMOD = "hashmod"
    LABELMAP = "labelmap"
    LABELDROP = "labeldrop"
    LABELKEEP = "labelkeep"
    LOWERCASE = "lowercase"
    UPPERCASE = "uppercase"
    REPLACE_ALL = "replace_all"
    LABELMAP_ALL = "labelmap_all"
    KEEP_IF_EQUAL = "keep_if_equal"
    DROP_IF_EQUAL = "drop_if_equal"
    KEEP_IF_CONTAINS = "keep_if_contains"
    DROP_IF_CONTAINS = "drop_if_contains"
    KEEP_METRICS = "keep_metrics"
    DROP_METRICS = "drop_metrics"
    GRAPHITE = "graphite"

    def __str__(self) -> str:
        return self.value

    @classmethod
    def _missing_(cls, value: object) -> Action | None:
        """Accept any case, as upstream does."""
        lower = str(value).lower()
        return cls(lower) if lower != value and lower in cls.__members__.values() else None

    @classmethod
    def refusal(cls, text: str) -> str:
        """Return the message for an action that there is not."""
        return f'unknown relabel action "{text}"'


class RuleError(ValueError):
    """A rule makes no sense; `key` is the field at fault."""

    def __init__(self, message: str, key: str = "") -> None:
        self.key = key
        super().__init__(message)


EXTENDED: Final = frozenset(
    {
        Action.REPLACE_ALL,
        Action.LABELMAP_ALL,
        Action.KEEP_IF_EQUAL,
        Action.DROP_IF_EQUAL,
        Action.KEEP_IF_CONTAINS,
        Action.DROP_IF_CONTAINS,
        Action.KEEP_METRICS,
        Action.DROP_METRICS,
        Action.GRAPHITE,
    }
)
"""The actions that Prometheus has not."""
_LOOSE: Final = frozenset({Action.REPLACE_ALL, Action.LABELMAP_ALL})
"""Actions whose pattern is looked for anywhere in the text."""
_TARGETED: Final = frozenset(
    {Action.REPLACE, Action.HASHMOD, Action.LOWERCASE, Action.UPPERCASE, Action.KEEP_EQUAL, Action.DROP_EQUAL}
)
_NO_REPLACEMENT: Final = frozenset({Action.LOWERCASE, Action.UPPERCASE, Action.KEEP_EQUAL, Action.DROP_EQUAL})
_CONTAINS: Final = frozenset({Action.KEEP_IF_CONTAINS, Action.DROP_IF_CONTAINS})
_IF_EQUAL: Final = frozenset({Action.KEEP_IF_EQUAL, Action.DROP_IF_EQUAL})
_OF_METRICS: Final = frozenset({Action.KEEP_METRICS, Action.DROP_METRICS})


@frozen(kw_only=True)
class Rule:
    """One relabelling rule.  Raises `RuleError` when the regular expression or a selector is invalid.

    Whether the fields fit the action is told by `faults()`, since it depends on the scheme of names.
    """

    if_: tuple[str, ...] = field(default=(), metadata={"key": "if", "one_or_many": True})
    """Selectors of which a label set must fulfil one, else the rule leaves it alone (`keep`: drops it)."""
    source_labels: tuple[str, ...] = field(default=(), metadata={"flow": True})
    separator: str = DEFAULT_SEPARATOR
    regex: str = field(
        default=DEFAULT_REGEX,
        metadata={"omit": DEFAULT_REGEX, "joined": ("|", "extended", f"a list needs `{EXTENDED_SWITCH}`")},
    )
    modulus: int = field(default=0, metadata={"low": 0, "high": MODULUS_MAX})
    target_label: str = ""
    replacement: str = DEFAULT_REPLACEMENT
    action: Action = Action.REPLACE
    match: str = ""
    """The pattern of `graphite`."""
    labels: tuple[tuple[str, str], ...] = ()
    """The templates of `graphite`, by label name."""
    legacy_names: bool = field(default=False, metadata={"key": None})
    """Only `[a-zA-Z_][a-zA-Z0-9_]*` may become a label name."""
    extended: bool = field(default=False, metadata={"key": None, "context": "extended"})
    """Whether what Prometheus has not is allowed: `if`, `{{label}}` in `replacement`, more actions."""

    condition: AnyOf | None = field(init=False, eq=False, repr=False, metadata={"key": None})
    """`if_`, compiled; None where there is none."""
    _regex: Regex = field(init=False, eq=False, repr=False, metadata={"key": None})
    _target: Template = field(init=False, eq=False, repr=False, metadata={"key": None})
    _replacement: Template = field(init=False, eq=False, repr=False, metadata={"key": None})
    _refers: bool = field(init=False, eq=False, repr=False, metadata={"key": None})
    _loose: Any = field(init=False, eq=False, repr=False, metadata={"key": None})
    _loose_replacement: Template = field(init=False, eq=False, repr=False, metadata={"key": None})
    _graphite: GraphitePattern | None = field(init=False, eq=False, repr=False, metadata={"key": None})

    @condition.default
    def _compile_condition(self) -> AnyOf | None:
        try:
            return AnyOf(self.if_) if self.if_ else None
        except ValueError as e:
            raise RuleError(str(e), "if") from None

    @_regex.default
    def _compile(self) -> Regex:
        try:
            return Regex(self.regex)
        except ValueError as e:
            raise RuleError(str(e), "regex") from None

    @_target.default
    def _compile_target(self) -> Template:
        return compile_template(self.target_label, self._regex.compiled)

    @_replacement.default
    def _compile_replacement(self) -> Template:
        return compile_template(self.replacement, self._regex.compiled)

    @_refers.default
    def _find_references(self) -> bool:
        return self.extended and "{{" in self.replacement

    @_loose.default
    def _compile_loose(self) -> Any:
        """Return the pattern of actions that look for it anywhere; where none is given it has no group."""
        if self.action not in _LOOSE:
            return None
        return compile_re2(".*") if self.regex == DEFAULT_REGEX else self._regex.compiled

    @_loose_replacement.default
    def _compile_loose_replacement(self) -> Template:
        return () if self._loose is None else compile_template(self.replacement, self._loose)

    @_graphite.default
    def _compile_graphite(self) -> GraphitePattern | None:
        return GraphitePattern(self.match) if self.match else None

    def faults(self) -> Iterator[RuleError]:
        """Yield what is wrong with the rule, in the words of upstream; nothing for a good one."""
        if not self.extended:
            yield from self._foreign()
        yield from self._extended_faults() if self.action in EXTENDED else self._plain_faults()
        if self.action is not Action.GRAPHITE:
            for key in ("match", "labels"):
                if getattr(self, key):
                    yield RuleError(f"'{key}' is for the graphite action only", key)

    def _foreign(self) -> Iterator[RuleError]:
        """Yield what Prometheus has not."""
        if self.action in EXTENDED:
            yield RuleError(f"the relabel action {self.action} needs `{EXTENDED_SWITCH}`", "action")
        for key, value in (("if", self.if_), ("match", self.match), ("labels", self.labels)):
            if value:
                yield RuleError(f"'{key}' in a relabelling rule needs `{EXTENDED_SWITCH}`", key)

    def _extended_faults(self) -> Iterator[RuleError]:
        """Yield what is wrong with a rule whose action Prometheus has not."""
        action, source, target = self.action, self.source_labels, self.target_label
        if "" in source:
            yield RuleError('"" is not a valid label name', "source_labels")
        if action in (Action.REPLACE_ALL, *_CONTAINS):
            if not source:
                yield RuleError(f"{action} action requires 'source_labels'", "source_labels")
            if not target:
                yield RuleError(f"{action} action requires 'target_label' value", "target_label")
            elif not self._is_target(target, template=False):
                yield RuleError(f"\"{target}\" is invalid 'target_label' for {action} action", "target_label")
        if action in _IF_EQUAL and len(source) < 2:
            yield RuleError(f"{action} action requires at least two 'source_labels'", "source_labels")
        if action in _OF_METRICS and self.regex in ("", DEFAULT_REGEX) and not self.if_:
            yield RuleError(f"{action} action requires 'regex' or 'if'", "regex")
        if action is Action.GRAPHITE:
            for key in ("match", "labels"):
                if not getattr(self, key):
                    yield RuleError(f"{action} action requires '{key}'", key)
        for key in self._unused():
            yield RuleError(f"'{key}' can not be set for {action} action", key)

    def _unused(self) -> Iterator[str]:
        """Yield the fields that are set although the action, of those that Prometheus has not, makes no use of them."""
        action = self.action
        if self.source_labels and action in (Action.GRAPHITE, *_OF_METRICS):
            yield "source_labels"
        if self.target_label and action in (Action.GRAPHITE, *_IF_EQUAL):
            yield "target_label"
        if self.regex != DEFAULT_REGEX and action in (Action.GRAPHITE, *_CONTAINS, *_IF_EQUAL):
            yield "regex"
        if self.replacement != DEFAULT_REPLACEMENT and action is Action.GRAPHITE:
            yield "replacement"

    def _plain_faults(self) -> Iterator[RuleError]:
        action = self.action
        if "" in self.source_labels:
            yield RuleError('"" is not a valid label name', "source_labels")
        if action is Action.HASHMOD and self.modulus == 0:
            yield RuleError("relabel configuration for hashmod requires non-zero modulus", "modulus")
        if action in _TARGETED and not self.target_label:
            yield RuleError(f"relabel configuration for {action} action requires 'target_label' value", "target_label")
        elif action in _TARGETED and not self._is_target(self.target_label, template=action is Action.REPLACE):
            yield RuleError(f"\"{self.target_label}\" is invalid 'target_label' for {action} action", "target_label")
        if action in _NO_REPLACEMENT and self.replacement != DEFAULT_REPLACEMENT:
            yield RuleError(f"'replacement' can not be set for {action} action", "replacement")
        if action is Action.LABELMAP and not self._is_target(self.replacement, template=True):
            yield RuleError(f"\"{self.replacement}\" is invalid 'replacement' for {action} action", "replacement")
        if action in (Action.KEEP_EQUAL, Action.DROP_EQUAL) and not self._only_defaults("regex"):
            yield RuleError(f"{action} action requires only 'source_labels' and `target_label`, and no other fields")
        if action in (Action.LABELDROP, Action.LABELKEEP) and (
            self.source_labels or self.target_label or not self._only_defaults()
        ):
            yield RuleError(f"{action} action requires only 'regex', and no other fields")

    def _is_target(self, text: str, *, template: bool) -> bool:
        if not self.legacy_names:
            return bool(text)
        if template and ("$" in text or self.action is Action.LABELMAP):
            return _LEGACY_TEMPLATE.fullmatch(text) is not None
        return is_legacy_label_name(text)

    def _only_defaults(self, *more: str) -> bool:
        return (
            ("regex" not in more or self.regex == DEFAULT_REGEX)
            and self.modulus == 0
            and self.separator == DEFAULT_SEPARATOR
            and self.replacement == DEFAULT_REPLACEMENT
        )
