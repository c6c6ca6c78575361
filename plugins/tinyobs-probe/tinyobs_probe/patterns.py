"""Regular expressions of probe modules: RE2 with Go's defaults, matching anywhere, `.` stopping at line ends.

Not the matchers' regexes of TinyObs, which are anchored and let `.` match everything.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final

import re2

_OPTIONS: Final = re2.Options()
_OPTIONS.log_errors = False
_VARIABLE: Final = re.compile(r"\$(?:(?P<dollar>\$)|\{(?P<braced>[0-9A-Za-z_]+)\}|(?P<bare>[0-9A-Za-z_]+))")


@lru_cache(maxsize=1024)
def compile_pattern(pattern: str) -> Any:
    """Return the compiled pattern; raises `ValueError` with RE2's words when it is none."""
    try:
        return re2.compile(pattern, _OPTIONS)
    except re2.error as e:
        text = e.args[0] if e.args else ""
        reason = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
        raise ValueError(f"error parsing regexp: {reason}: `{pattern}`") from None


def found(pattern: str, text: str) -> bool:
    """Tell whether a pattern matches anywhere in a text."""
    return compile_pattern(pattern).search(text) is not None


def expand(template: str, match: Any) -> str:
    """Return a template with `$1`, `${name}` and `$$` replaced; a group that is unknown or took no part is empty.

    Source: Go's Regexp.Expand.
    """

    def value(variable: re.Match[str]) -> str:
        if variable["dollar"]:
            return "$"
        name = variable["braced"] or variable["bare"]
        try:
            return match.group(int(name) if name.isdigit() else name) or ""
        except (IndexError, KeyError, re2.error):
            return ""

    return _VARIABLE.sub(value, template)
