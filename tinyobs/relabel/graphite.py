"""Patterns and templates of Graphite's names: `*` is a part without a dot, `$1` and `${1}` what the first one was.

Source: VictoriaMetrics lib/promrelabel/graphite.go.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

_REFERENCE: Final = re.compile(r"\$(?:\{([^}]*)\}|([0-9]*))")
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,9}", re.ASCII)


class GraphitePattern:
    """What `match` says; compared part by part from the left, the first place that fits is taken."""

    __slots__ = ("_parts",)

    def __init__(self, text: str) -> None:
        self._parts = [part for part in re.split(r"(\*)", text) if part]

    def match(self, name: str) -> Sequence[str] | None:
        """Return the whole name and what each `*` stands for, None when the name does not fit."""
        found, rest = [name], name
        parts = iter(self._parts)
        for part in parts:
            if part != "*":
                if not rest.startswith(part):
                    return None
                rest = rest[len(part) :]
                continue
            following = next(parts, None)
            if following is None:
                return None if "." in rest else [*found, rest]
            before, there, rest = rest.partition(following)
            if not there or "." in before:
                return None
            found.append(before)
        return None if rest else found


def expand_graphite(template: str, groups: Sequence[str]) -> str:
    """Return a template with its references filled in; one to a part that there is not stays as it is written."""

    def filled(reference: re.Match[str]) -> str:
        text = reference[1] if reference[1] is not None else reference[2]
        number = int(text) if _INTEGER.fullmatch(text) else -1
        return groups[number] if 0 <= number < len(groups) else reference[0]

    return _REFERENCE.sub(filled, template)
