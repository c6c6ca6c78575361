"""Relabelling: a label set and rules give another label set, or nothing when a rule drops it.

Pure and independent of any configuration file: a `Rule` is a value, compiled when it is made.  Meant to run once per
series or target and to be remembered by the caller, never per sample.  Source of the semantics and of the messages:
prometheus model/relabel/relabel.go; templates (`$1`, `${name}`, `$$`) are those of Go's `Regexp.Expand`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from typing import Any, Final

from attrs import field, frozen

from .model.labels import Labels, is_legacy_label_name
from .model.regex import Regex, compile_re2

DEFAULT_REGEX: Final = "(.*)"
DEFAULT_SEPARATOR: Final = ";"
DEFAULT_REPLACEMENT: Final = "$1"
MODULUS_MAX: Final = 2**64 - 1
"""Largest `modulus`: the hash has 64 bits."""

_LEGACY_TEMPLATE: Final = compile_re2(r"(?:(?:[a-zA-Z_]|\$(?:\{\w+\}|\w+))+\w*)+")
_VARIABLE: Final = re.compile(r"\$(?:(?P<dollar>\$)|\{(?P<braced>\w+)\}|(?P<bare>\w+))")
_Template = tuple[str | int, ...]
"""Literal texts and numbers of capture groups, in order."""


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


_TARGETED: Final = frozenset(
    {Action.REPLACE, Action.HASHMOD, Action.LOWERCASE, Action.UPPERCASE, Action.KEEP_EQUAL, Action.DROP_EQUAL}
)
_NO_REPLACEMENT: Final = frozenset({Action.LOWERCASE, Action.UPPERCASE, Action.KEEP_EQUAL, Action.DROP_EQUAL})


@frozen(kw_only=True)
class Rule:
    """One relabelling rule.  Raises `RuleError` when the regular expression is invalid.

    Whether the fields fit the action is told by `faults()`, since it depends on the scheme of names.
    """

    source_labels: tuple[str, ...] = field(default=(), metadata={"flow": True})
    separator: str = DEFAULT_SEPARATOR
    regex: str = field(default=DEFAULT_REGEX, metadata={"omit": DEFAULT_REGEX})
    modulus: int = field(default=0, metadata={"low": 0, "high": MODULUS_MAX})
    target_label: str = ""
    replacement: str = DEFAULT_REPLACEMENT
    action: Action = Action.REPLACE
    legacy_names: bool = field(default=False, metadata={"key": None})
    """Only `[a-zA-Z_][a-zA-Z0-9_]*` may become a label name."""

    _regex: Regex = field(init=False, eq=False, repr=False, metadata={"key": None})
    _target: _Template = field(init=False, eq=False, repr=False, metadata={"key": None})
    _replacement: _Template = field(init=False, eq=False, repr=False, metadata={"key": None})

    @_regex.default
    def _compile(self) -> Regex:
        try:
            return Regex(self.regex)
        except ValueError as e:
            raise RuleError(str(e), "regex") from None

    @_target.default
    def _compile_target(self) -> _Template:
        return _template(self.target_label, self._regex.compiled)

    @_replacement.default
    def _compile_replacement(self) -> _Template:
        return _template(self.replacement, self._regex.compiled)

    def faults(self) -> Iterator[RuleError]:
        """Yield what is wrong with the rule, in the words of upstream; nothing for a good one."""
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


def apply(labels: Labels, rules: Sequence[Rule]) -> Labels | None:
    """Return the labels after all rules, the very same object where nothing changed, or None when dropped."""
    draft = _Draft(labels)
    for rule in rules:
        if not _ACTIONS[rule.action](rule, draft):
            return None
    return draft.labels() if draft.changed else labels


class _Draft:
    """A label set being changed.  Labels set by rules come after the others when a rule walks over all."""

    __slots__ = ("base", "changed", "set_later")

    def __init__(self, labels: Labels) -> None:
        self.base = dict(labels)
        self.set_later: dict[str, str] = {}
        self.changed = False

    def get(self, name: str) -> str:
        value = self.set_later.get(name)
        return self.base.get(name, "") if value is None else value

    def joined(self, rule: Rule) -> str:
        return rule.separator.join([self.get(name) for name in rule.source_labels])

    def set(self, name: str, value: str) -> None:
        if not value:
            self.delete(name)
            return
        if self.get(name) != value:
            self.changed = True
        self.base.pop(name, None)
        self.set_later[name] = value

    def delete(self, name: str) -> None:
        found = self.base.pop(name, None) is not None
        if self.set_later.pop(name, None) is not None or found:
            self.changed = True

    def pairs(self) -> list[tuple[str, str]]:
        return [*self.base.items(), *self.set_later.items()]

    def labels(self) -> Labels:
        return tuple(sorted(self.pairs()))


# -- the actions; each returns False to drop the label set -------------------------------------------------------


def _replace(rule: Rule, draft: _Draft) -> bool:
    value = draft.joined(rule)
    groups = _groups(rule, value)
    if groups is None:
        return True
    target = _expand(rule._target, groups)
    if target and (not rule.legacy_names or is_legacy_label_name(target)):
        draft.set(target, _expand(rule._replacement, groups))
    return True


def _keep(rule: Rule, draft: _Draft) -> bool:
    return rule._regex.matches(draft.joined(rule))


def _drop(rule: Rule, draft: _Draft) -> bool:
    return not rule._regex.matches(draft.joined(rule))


def _keep_equal(rule: Rule, draft: _Draft) -> bool:
    return draft.get(rule.target_label) == draft.joined(rule)


def _drop_equal(rule: Rule, draft: _Draft) -> bool:
    return draft.get(rule.target_label) != draft.joined(rule)


def _hashmod(rule: Rule, draft: _Draft) -> bool:
    # The last 8 bytes of MD5, as earlier and present versions of Prometheus spread targets; no security here.
    text = draft.joined(rule).encode("utf-8", "surrogatepass")
    digest = hashlib.md5(text, usedforsecurity=False).digest()
    draft.set(rule.target_label, str(int.from_bytes(digest[8:], "big") % rule.modulus))
    return True


def _labelmap(rule: Rule, draft: _Draft) -> bool:
    for name, value in draft.pairs():
        # Names repeat from series to series, so that the remembered decision spares most matches.
        groups = _groups(rule, name) if rule._regex.matches(name) else None
        if groups is not None:
            draft.set(_expand(rule._replacement, groups), value)
    return True


def _labeldrop(rule: Rule, draft: _Draft) -> bool:
    for name, _ in draft.pairs():
        if rule._regex.matches(name):
            draft.delete(name)
    return True


def _labelkeep(rule: Rule, draft: _Draft) -> bool:
    for name, _ in draft.pairs():
        if not rule._regex.matches(name):
            draft.delete(name)
    return True


def _lowercase(rule: Rule, draft: _Draft) -> bool:
    draft.set(rule.target_label, _per_character(draft.joined(rule), str.lower))
    return True


def _uppercase(rule: Rule, draft: _Draft) -> bool:
    draft.set(rule.target_label, _per_character(draft.joined(rule), str.upper))
    return True


_ACTIONS: Final[dict[Action, Callable[[Rule, _Draft], bool]]] = {
    Action.REPLACE: _replace,
    Action.KEEP: _keep,
    Action.DROP: _drop,
    Action.KEEP_EQUAL: _keep_equal,
    Action.DROP_EQUAL: _drop_equal,
    Action.HASHMOD: _hashmod,
    Action.LABELMAP: _labelmap,
    Action.LABELDROP: _labeldrop,
    Action.LABELKEEP: _labelkeep,
    Action.LOWERCASE: _lowercase,
    Action.UPPERCASE: _uppercase,
}


def _groups(rule: Rule, text: str) -> Sequence[str | None] | None:
    """Return the whole match and the capture groups, or None when the rule does not match."""
    if rule.regex == DEFAULT_REGEX:
        return (text, text)
    if rule._regex.literals is not None:
        return (text,) if text in rule._regex.literals else None
    found: Any = rule._regex.compiled.fullmatch(text)
    return None if found is None else (text, *found.groups())


def _template(text: str, compiled: Any) -> _Template:
    """Compile a template: `$name` takes the longest run of word characters, an unknown group is empty."""
    parts: list[str | int] = []
    at = 0
    for variable in _VARIABLE.finditer(text):
        if variable.start() > at:
            parts.append(text[at : variable.start()])
        at = variable.end()
        if variable["dollar"]:
            parts.append("$")
            continue
        name = variable["braced"] or variable["bare"]
        number = compiled.groupindex.get(name)
        if re.fullmatch(r"0|[1-9][0-9]{0,7}", name, re.ASCII):
            number = int(name)
        if number is not None and number <= compiled.groups:
            parts.append(number)
    if at < len(text):
        parts.append(text[at:])
    return tuple(parts)


def _expand(template: _Template, groups: Sequence[str | None]) -> str:
    return "".join([part if isinstance(part, str) else groups[part] or "" for part in template])


def _per_character(text: str, change: Callable[[str], str]) -> str:
    """Change the case of each character alone, as Go does: what would become two characters stays."""
    if text.isascii():
        return change(text)
    return "".join([new if len(new := change(c)) == 1 else c for c in text])
