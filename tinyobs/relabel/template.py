"""Templates of relabelling, `$1`, `${name}` and `$$`, as Go's `Regexp.Expand` has them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, TypeAlias

_VARIABLE: Final = re.compile(r"\$(?:(?P<dollar>\$)|\{(?P<braced>\w+)\}|(?P<bare>\w+))")
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,7}", re.ASCII)
Template: TypeAlias = tuple[str | int, ...]
"""Literal texts and numbers of capture groups, in order."""


@lru_cache(maxsize=4096)
def compile_template(text: str, compiled: Any) -> Template:
    """Compile a template for a pattern: `$name` takes the longest run of word characters, an unknown group is empty."""
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
        if _NUMBER.fullmatch(name):
            number = int(name)
        if number is not None and number <= compiled.groups:
            parts.append(number)
    if at < len(text):
        parts.append(text[at:])
    return tuple(parts)


def expand(template: Template, groups: Sequence[str | None]) -> str:
    """Return the text of a template; groups: the whole match and then the capture groups, None for one without part."""
    return "".join([part if isinstance(part, str) else groups[part] or "" for part in template])


def replace_all(compiled: Any, template: Template, text: str) -> str:
    """Replace every match in a text, as Go's `ReplaceAllString`: an empty match right behind another is none."""
    out: list[str] = []
    copied = at = 0
    while at <= len(text):
        found = compiled.search(text, at)
        if found is None:
            break
        start, end = found.span()
        out.append(text[copied:start])
        if end > copied or start == 0:
            out.append(expand(template, (found.group(), *found.groups())))
        copied = end
        at = max(at + 1, end)
    return "".join(out) + text[copied:]
