"""The eleven actions of Prometheus; each returns False to drop the label set.

Source: prometheus model/relabel/relabel.go `relabel`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Final

from ..model.labels import is_legacy_label_name
from .draft import Draft
from .rule import DEFAULT_REGEX, Action, Rule
from .template import Template, compile_template, expand


def _replace(rule: Rule, draft: Draft) -> bool:
    value = draft.joined(rule)
    groups = groups_of(rule, value)
    if groups is None:
        return True
    target = expand(rule._target, groups)
    if target and (not rule.legacy_names or is_legacy_label_name(target)):
        draft.set(target, expand(_replacement(rule, draft) if rule._refers else rule._replacement, groups))
    return True


def _replacement(rule: Rule, draft: Draft) -> Template:
    """Return the replacement with its `{{label}}` filled in; what comes out is a template in its turn."""
    parts = rule.replacement.split("{{")
    text = parts[0]
    for part in parts[1:]:
        name, closed, rest = part.partition("}}")
        text += draft.get(name) + rest if closed else "{{" + part
    if rule.regex == DEFAULT_REGEX and "$" not in rule.replacement and "$" not in rule.target_label and text != "$1":
        return (text,)
    return compile_template(text, rule._regex.compiled)


def _keep(rule: Rule, draft: Draft) -> bool:
    return rule._regex.matches(draft.joined(rule))


def _drop(rule: Rule, draft: Draft) -> bool:
    return not rule._regex.matches(draft.joined(rule))


def _keep_equal(rule: Rule, draft: Draft) -> bool:
    return draft.get(rule.target_label) == draft.joined(rule)


def _drop_equal(rule: Rule, draft: Draft) -> bool:
    return draft.get(rule.target_label) != draft.joined(rule)


def _hashmod(rule: Rule, draft: Draft) -> bool:
    # The last 8 bytes of MD5, as earlier and present versions of Prometheus spread targets; no security here.
    text = draft.joined(rule).encode("utf-8", "surrogatepass")
    digest = hashlib.md5(text, usedforsecurity=False).digest()
    draft.set(rule.target_label, str(int.from_bytes(digest[8:], "big") % rule.modulus))
    return True


def _labelmap(rule: Rule, draft: Draft) -> bool:
    for name, value in draft.pairs():
        # Names repeat from series to series, so that the remembered decision spares most matches.
        groups = groups_of(rule, name) if rule._regex.matches(name) else None
        if groups is not None:
            draft.set(expand(rule._replacement, groups), value)
    return True


def _labeldrop(rule: Rule, draft: Draft) -> bool:
    for name, _ in draft.pairs():
        if rule._regex.matches(name):
            draft.delete(name)
    return True


def _labelkeep(rule: Rule, draft: Draft) -> bool:
    for name, _ in draft.pairs():
        if not rule._regex.matches(name):
            draft.delete(name)
    return True


def _lowercase(rule: Rule, draft: Draft) -> bool:
    draft.set(rule.target_label, _per_character(draft.joined(rule), str.lower))
    return True


def _uppercase(rule: Rule, draft: Draft) -> bool:
    draft.set(rule.target_label, _per_character(draft.joined(rule), str.upper))
    return True


Act = Callable[[Rule, Draft], bool]
ACTIONS: Final[dict[Action, Act]] = {
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


def groups_of(rule: Rule, text: str) -> Sequence[str | None] | None:
    """Return the whole match and the capture groups, or None when the rule does not match."""
    if rule.regex == DEFAULT_REGEX:
        return (text, text)
    if rule._regex.literals is not None:
        return (text,) if text in rule._regex.literals else None
    found: Any = rule._regex.compiled.fullmatch(text)
    return None if found is None else (text, *found.groups())


def _per_character(text: str, change: Callable[[str], str]) -> str:
    """Change the case of each character alone, as Go does: what would become two characters stays."""
    if text.isascii():
        return change(text)
    return "".join([new if len(new := change(c)) == 1 else c for c in text])
