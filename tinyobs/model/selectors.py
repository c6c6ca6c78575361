"""Series selectors as VictoriaMetrics writes them: `name{a="b",c=~"d" or e!="f"}`, for one label set at a time.

A superset of the selectors of PromQL: alternatives with `or`, label names with dots.  Not a query: what is selected
is decided by looking at labels.  Source of the grammar: the parser of MetricsQL.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from .labels import NAME
from .matchers import Matcher, MatchType

SELECTOR_LENGTH_MAX: Final = 65_536
"""Longest text of a selector, in characters."""

_TOKEN: Final = re.compile(
    r"""\s*(?:(?P<comment>\#[^\n]*)
    |(?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`)
    |(?P<name>(?:[^\W\d]|[:]|\\.)(?:[\w:.]|\\.)*)
    |(?P<sign>=~|!~|!=|==|=|\{|\}|,))""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE: Final = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{3}|.)", re.DOTALL)
_PLAIN_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


class Selector:
    """Matcher sets of which one must be fulfilled; none at all fulfils nothing.  Raises `ValueError` for a bad text."""

    __slots__ = ("_sets", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._sets = _Reader(text).selector()

    @property
    def alternatives(self) -> Sequence[Sequence[Matcher]]:
        """The matcher sets."""
        return self._sets

    def matches(self, get: Callable[[str], str]) -> bool:
        """Tell whether labels fulfil it; get: returns the value of a label, "" for an absent one."""
        return any(all(m.matches(get(m.name)) for m in matchers) for matchers in self._sets)


class AnyOf:
    """Several selectors of which one must be fulfilled."""

    __slots__ = ("_selectors",)

    def __init__(self, texts: Sequence[str]) -> None:
        self._selectors = [Selector(text) for text in texts]

    def matches(self, get: Callable[[str], str]) -> bool:
        """Tell whether labels fulfil one of them."""
        return any(s.matches(get) for s in self._selectors)


class _Reader:
    """Reads one text from left to right."""

    def __init__(self, text: str) -> None:
        if len(text) > SELECTOR_LENGTH_MAX:
            raise ValueError(f"the selector is longer than {SELECTOR_LENGTH_MAX} characters")
        self._text = text
        self._tokens = list(_tokens(text))
        self._at = 0

    def selector(self) -> list[list[Matcher]]:
        """Return the matcher sets of the whole text."""
        named: list[Matcher] = []
        kind, value = self._take()
        if kind == "name":
            named = [Matcher(MatchType.EQUAL, NAME, value)]
            kind, value = self._take()
        if (kind, value) == ("end", "") and named:
            return [named]
        if (kind, value) != ("sign", "{"):
            raise self._fault(value)
        sets = self._alternatives()
        if (found := self._take())[0] != "end":
            raise self._fault(found[1])
        if not any(sets):
            return [named] if named else []
        return [named + one for one in sets if one or named]

    def _alternatives(self) -> list[list[Matcher]]:
        sets: list[list[Matcher]] = [[]]
        while True:
            kind, value = self._take()
            if (kind, value) == ("sign", "}"):
                return sets
            if (kind, value.lower()) == ("name", "or") and not self._is_operator():
                sets.append([])
                continue
            if kind not in ("name", "string"):
                raise self._fault(value)
            sets[-1].append(self._matcher(kind, value))
            kind, value = self._peek()
            if (kind, value) == ("sign", ","):
                self._at += 1
            elif (kind, value) != ("sign", "}") and (kind, value.lower()) != ("name", "or"):
                raise self._fault(value)

    def _matcher(self, kind: str, name: str) -> Matcher:
        if not self._is_operator():
            if kind == "string":  # a metric name in quotes
                return Matcher(MatchType.EQUAL, NAME, name)
            raise self._fault(self._peek()[1])
        _, sign = self._take()
        kind, value = self._take()
        if kind != "string":
            raise self._fault(value)
        return Matcher(MatchType.EQUAL if sign == "==" else MatchType(sign), name, value)

    def _is_operator(self) -> bool:
        kind, value = self._peek()
        return kind == "sign" and value in ("=", "==", "!=", "=~", "!~")

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._at] if self._at < len(self._tokens) else ("end", "")

    def _take(self) -> tuple[str, str]:
        found = self._peek()
        self._at += 1
        return found

    def _fault(self, value: str) -> ValueError:
        where = f"unexpected {value!r}" if value else "it ends too early"
        return ValueError(f"{self._text!r} is not a series selector: {where}")


def _tokens(text: str) -> list[tuple[str, str]]:
    found = []
    at, end = 0, len(text.rstrip())
    while at < end:
        token = _TOKEN.match(text, at)
        if token is None:
            raise ValueError(f"{text!r} is not a series selector: unexpected {text[at:].lstrip()[:1]!r}")
        at = token.end()
        kind = str(token.lastgroup)
        if kind == "string":
            found.append((kind, _unquoted(token[kind])))
        elif kind == "name":
            found.append((kind, _unescaped(token[kind])))
        elif kind == "sign":
            found.append((kind, token[kind]))
    return found


def _unquoted(text: str) -> str:
    return text[1:-1] if text[0] == "`" else _unescaped(text[1:-1])


def _unescaped(text: str) -> str:
    def one(found: re.Match[str]) -> str:
        code = found[1]
        if len(code) == 1:
            return _PLAIN_ESCAPES.get(code, code)
        number = int(code, 8) if code.isdigit() and len(code) == 3 else int(code[1:], 16)
        return chr(number) if number < 0x110000 else "\ufffd"

    return _ESCAPE.sub(one, text) if "\\" in text else text
