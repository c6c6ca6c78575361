"""Environment variables in configuration values.

Two notations, for two purposes.  `expand` is TinyObs's own, used in every value of a file that asks for it with
`tinyobs: {expand_env: true}`: `${NAME}` or `${NAME:-default}`; a variable that is not set is a fault; `$${` stands
for `${`; a lone `$` means itself, so that `$1` in a relabelling rule is safe.  `expand_label` is what Prometheus does
with external labels, always: `$NAME` or `${NAME}`, `$$` for `$`, and nothing for a variable that is not set.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

EXPANDED_LENGTH_MAX: Final = 1 << 20
"""Longest value after expansion, in characters."""

_REFERENCE: Final = re.compile(r"\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_LABEL_REFERENCE: Final = re.compile(r"\$(?:(\$)|\{([^}]*)\}|([A-Za-z0-9_]+))")


def expand(text: str, environment: Mapping[str, str]) -> str:
    """Return the text with its references replaced; raises `ValueError` for a variable that is not set."""
    if "${" not in text:
        return text

    def value_of(reference: re.Match[str]) -> str:
        name, default = reference.group(1), reference.group(2)
        if name is None:
            return "${"
        value = environment.get(name)
        if value is None or (value == "" and default is not None):
            if default is None:
                raise ValueError(f"the environment variable '{name}' is not set")
            return default
        return value

    out = _REFERENCE.sub(value_of, text)
    if len(out) > EXPANDED_LENGTH_MAX:
        raise ValueError(f"longer than {EXPANDED_LENGTH_MAX} characters after expansion")
    return out


def expand_label(text: str, environment: Mapping[str, str]) -> tuple[str, list[str]]:
    """Return an external label's value with its references replaced, and the names that were not set or empty."""
    missing: list[str] = []

    def value_of(reference: re.Match[str]) -> str:
        if reference.group(1):
            return "$"
        name = reference.group(2) if reference.group(2) is not None else reference.group(3)
        if name == "$":
            return "$"
        value = environment.get(name, "")
        if not value:
            missing.append(name)
        return value

    return _LABEL_REFERENCE.sub(value_of, text), missing
