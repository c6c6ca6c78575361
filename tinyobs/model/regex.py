"""Regular expressions as Prometheus has them: RE2 syntax, anchored at both ends, `.` matches newlines.

RE2 decides; in front of it stand plain string tests for the shapes that nearly all matchers have (a literal, an
alternation of literals, `prefix.*`, `.*suffix`, `.*infix.*`), and behind it a bounded memory of decisions, since label
values repeat.  Source of the semantics: prometheus model/labels/regexp.go and the RE2 syntax page.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

import re2

REGEX_LENGTH_MAX: Final = 16_384
"""Longest accepted pattern, in characters."""
REMEMBERED_VALUES_MAX: Final = 10_000
"""Decisions remembered per pattern."""

_META = re.compile(r"[\\.+*?()|\[\]{}^$]")
_OPTIONS = re2.Options()
_OPTIONS.dot_nl = True
_OPTIONS.log_errors = False
_OPTIONS.never_capture = False
_GO_WORDS: Final = {
    "missing )": "missing closing )",
    "missing ]": "missing closing ]",
    "no argument for repetition operator": "missing argument to repetition operator",
    "bad repetition operator": "invalid nested repetition operator",
    "invalid repetition size": "invalid repeat count",
    "invalid named capture group": "invalid named capture",
    "invalid perl operator": "invalid or unsupported Perl syntax",
}


class Regex:
    """A compiled pattern.  Raises `ValueError` with the words of Prometheus when it is invalid.

    literals: the finite set of strings that match, where the pattern is a literal or an alternation of literals;
    else None.  prefix: a literal that every match begins with ("" where there is none known).
    """

    __slots__ = ("_decide", "_remembered", "compiled", "literals", "pattern", "prefix")

    def __init__(self, pattern: str) -> None:
        if len(pattern) > REGEX_LENGTH_MAX:
            raise ValueError(f"regular expression longer than {REGEX_LENGTH_MAX} characters")
        self.pattern = pattern
        self.compiled = compile_re2(pattern)
        self.literals, self.prefix, self._decide = _shape(pattern, self.compiled)
        self._remembered: dict[str, bool] = {}

    def matches(self, value: str) -> bool:
        """Tell whether the whole of `value` matches."""
        known = self._remembered.get(value)
        if known is None:
            if len(self._remembered) >= REMEMBERED_VALUES_MAX:
                self._remembered.clear()
            known = self._remembered[value] = self._decide(value)
        return known

    def __repr__(self) -> str:
        return f"Regex({self.pattern!r})"


@lru_cache(maxsize=1024)
def compile_re2(pattern: str) -> Any:
    """Return the RE2 object of a pattern with TinyObs's options (use `fullmatch`); `ValueError` when invalid."""
    if r"\C" in pattern and re.search(r"(?<!\\)(?:\\\\)*\\C", pattern):
        raise ValueError("error parsing regexp: invalid escape sequence: `\\C`")
    try:
        return re2.compile(pattern, _OPTIONS)
    except re2.error as e:
        text = e.args[0] if e.args else b""
        reason = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
        raise ValueError(_upstream_words(reason)) from None


def _upstream_words(reason: str) -> str:
    """Return a complaint of RE2 ("what: where") as Go's regexp package, and so Prometheus, puts it."""
    if reason.startswith("trailing \\"):
        return "error parsing regexp: trailing backslash at end of expression: ``"
    what, colon, where = reason.partition(": ")
    what = _GO_WORDS.get(what, what)
    return f"error parsing regexp: {what}" + (f": `{where}`" if colon else "")


def _shape(pattern: str, compiled: Any) -> tuple[frozenset[str] | None, str, Callable[[str], bool]]:
    """Return (literals, prefix, decision) of a pattern."""
    alternatives = pattern.split("|")
    if not any(_META.search(a) for a in alternatives):
        literals = frozenset(alternatives)
        prefix = pattern if len(alternatives) == 1 else ""
        return literals, prefix, literals.__contains__
    dotless = pattern
    head = tail = False
    if dotless.startswith(".*"):
        head, dotless = True, dotless[2:]
    if dotless.endswith(".*") and not dotless.endswith("\\.*"):
        tail, dotless = True, dotless[:-2]
    if (head or tail) and not _META.search(dotless):
        if head and tail:
            return None, "", lambda value: dotless in value
        if head:
            return None, "", lambda value: value.endswith(dotless)
        return None, dotless, lambda value: value.startswith(dotless)
    if pattern == ".+":
        return None, "", bool
    first = _META.search(pattern)
    literal = pattern[: first.start()] if first and "|" not in pattern else ""
    if first and first.group() in "*?{":
        literal = literal[:-1]
    return None, literal, lambda value: compiled.fullmatch(value) is not None
