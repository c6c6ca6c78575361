"""Text of a query -> tokens.

A token is the tuple (kind, text, start), `start` counted in characters.  The kind of an operator is the operator, that
of a keyword the keyword in lower case; the others are named below.  The list ends with END, or with ERROR, whose text is
the message: the parser reports it when it gets there, so that what is wrong earlier is reported first.

The language has four ways to read: ordinary text, inside braces (no keywords), inside brackets up to the first number,
and inside brackets after it; `:` is part of names in the first and a token in the last two.  Source of rules and wording:
prometheus promql/parser/lex.go.  Not here: values of literals (`numerals.py`, `strings.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, TypeAlias

from attrs import Factory, define

from .numerals import scan_number
from .signatures import AGGREGATORS
from .strings import quote, quote_char, scan_string

Token: TypeAlias = tuple[str, str, int]

IDENTIFIER: Final = "identifier"
METRIC_IDENTIFIER: Final = "metric identifier"
STRING: Final = "string"
NUMBER: Final = "number"
DURATION: Final = "duration"
END: Final = "end of input"
ERROR: Final = "error"

SET_OPERATORS: Final = frozenset(("and", "or", "unless"))
FILLS: Final = frozenset(("fill", "fill_left", "fill_right"))
CONTEXT_NAMES: Final = frozenset(("start", "end", "step", "range", "min_of", "max_of"))
"""Names of functions that mean something inside durations and after `@`."""
MODIFIERS: Final = FILLS | frozenset(
    ["offset", "smoothed", "anchored", "by", "without", "on", "ignoring", "group_left", "group_right", "bool"]
)
OPERATORS: Final = (
    frozenset(["+", "-", "*", "/", "%", "^", "==", "!=", "<=", "<", ">=", ">", "</", ">/", "=~", "!~", "@", "atan2"])
    | SET_OPERATORS
)

_WORDS: Final = SET_OPERATORS | AGGREGATORS | MODIFIERS | CONTEXT_NAMES | {"atan2"}
_KEYWORDS: Final = {word: word for word in _WORDS} | {"inf": NUMBER, "nan": NUMBER}


def is_keyword(name: str) -> bool:
    """Tell whether a name is a word of the language, which no function may have."""
    return name.lower() in _KEYWORDS


_DURATION_WORDS: Final = frozenset(("step", "range", "min_of", "max_of"))

_SPACE = r"[ \t\r\n]*"
_NUMERAL = r"([0-9]+(?:\.[0-9]+)?(?![0-9a-zA-Z_.]))|([0-9]+(?:ms|[smhdwy])(?:[0-9]+(?:ms|[smhdw]))*(?![0-9a-zA-Z_]))|([0-9]|\.[0-9])"
_LITERAL = r'("[^"\\\n\ufffd\ud800-\udfff]*"|' + r"'[^'\\\n\ufffd\ud800-\udfff]*'|`[^`\ufffd\ud800-\udfff]*`)|([\"'`])"
_SIGNS = r"(==|!=|<=|>=|</|>/|[-+*/%^,@<>]|=(?!~))"
_USUAL_RANGE = r"\[([0-9]+(?:ms|[smhdwy]))\]"
_PARENS = r"([()\[\]{}])"
_COMMON = rf"{_PARENS}|{_SIGNS}|{_NUMERAL}|{_LITERAL}|(#[^\r\n]*)|(\Z)|(.)"

_ORDINARY = re.compile(rf"{_SPACE}(?:([a-zA-Z_:][a-zA-Z0-9_:]*)|{_USUAL_RANGE}|{_COMMON})", re.DOTALL)
_BRACKET = re.compile(rf"{_SPACE}(?:([a-zA-Z_]+|:)|(?!)()|{_COMMON})", re.DOTALL)
_WORD, _RANGE, _PAREN, _SIGN, _NUMBER, _DURATION, _ODD, _STRING, _QUOTE, _COMMENT, _EOF = range(1, 12)

_PLAIN: Final = {_NUMBER: NUMBER, _DURATION: DURATION, _STRING: STRING}

_LABEL = r"([a-zA-Z_][a-zA-Z0-9_]*)"
_USUAL_MATCHER = rf"""{_LABEL}{_SPACE}(=~|!~|!=|=){_SPACE}("[^"\\\n\ufffd\ud800-\udfff]*")"""
_BRACE = re.compile(
    rf"{_SPACE}(?:{_USUAL_MATCHER}|(=~|!~|!=|=|,)|(\}})|{_LABEL}|{_LITERAL}|(#[^\r\n]*)|(\Z)|(.))", re.DOTALL
)
(_BRACE_MATCHER, _BRACE_SIGN, _BRACE_CLOSE, _BRACE_LABEL, _BRACE_STRING, _BRACE_QUOTE, _BRACE_COMMENT, _BRACE_EOF) = (
    range(3, 11)
)

_FOLLOWED_BY_PAREN = re.compile(rf"{_SPACE}\(")
_Mode: TypeAlias = Callable[[], "_Mode | None"]


def lex(text: str) -> list[Token]:
    """Return the tokens of a query, the last one END or ERROR.  Never raises."""
    lexer = _Lexer(text)
    mode: _Mode | None = lexer.ordinary
    while mode is not None:
        mode = mode()
    return lexer.tokens


def describe(token: Token) -> str:
    """Return how messages name a token: `identifier "foo"`, `<op:+>`, `<by>`, `"("`, `end of input`."""
    kind, text, _ = token
    if kind == END:
        return END
    if kind in OPERATORS:
        return f"<op:{text}>"
    if kind in AGGREGATORS:
        return f"<aggr:{text}>"
    if kind in MODIFIERS:
        return f"<{text}>"
    if kind in (IDENTIFIER, METRIC_IDENTIFIER):
        return f"{kind} {quote(text)}"
    shown = quote(text[:10]) + "..." if len(text) > 10 else quote(text)
    return f"{kind} {shown}" if kind in (STRING, NUMBER, DURATION) else shown


@define
class _Lexer:
    """Where reading stands; each mode is a method that returns the next mode, or None at the end."""

    text: str
    tokens: list[Token] = Factory(list)
    at: int = 0
    parens: int = 0
    in_bracket: bool = False
    colon_seen: bool = False

    def fail(self, message: str, start: int) -> _Mode | None:
        """End the tokens with an error."""
        self.tokens.append((ERROR, message, start))
        return None

    def ordinary(self) -> _Mode | None:
        """Read outside braces and brackets, up to the next of either (a plain `[5m]` needs no mode of its own)."""
        tokens = self.tokens
        add = tokens.append
        keyword = _KEYWORDS.get
        for found in _ORDINARY.finditer(self.text, self.at):
            group = found.lastindex
            assert group is not None
            text, start = found[group], found.start(group)
            if group == _WORD:
                kind = keyword(text.lower())
                if kind is None:
                    kind = METRIC_IDENTIFIER if ":" in text else IDENTIFIER
                elif kind in FILLS and not _FOLLOWED_BY_PAREN.match(self.text, found.end()):
                    kind = IDENTIFIER  # a metric may have this name
                add((kind, text, start))
            elif group == _PAREN and (text == "(" or (text == ")" and self.parens > 0)):
                self.parens += 1 if text == "(" else -1
                add((text, text, start))
            elif group == _SIGN:
                add((text, text, start))
            elif group == _RANGE:
                tokens += (("[", "[", start - 1), (DURATION, text, start), ("]", "]", found.end() - 1))
            elif group in _PLAIN:
                add((_PLAIN[group], text, start))
            elif group == _EOF and self.parens == 0:
                add((END, "", start))
                return None
            elif group != _COMMENT:
                self.at = found.end()
                return self.rare(group, text, start)
        return None

    def rare(self, group: int, text: str, start: int) -> _Mode | None:
        """Take what changes the mode, needs a careful look or is wrong; outside braces."""
        if group == _PAREN:
            return self.paren(text, start)
        if group == _ODD:
            end, good, is_duration = scan_number(self.text, start)
            shown = self.text[start:end]
            if not good:
                return self.fail(f"bad number or duration syntax: {quote(shown)}", start)
            self.tokens.append((DURATION if is_duration else NUMBER, shown, start))
            self.at = end
            return self.after_number if self.in_bracket else self.ordinary
        if group == _QUOTE:
            return self.string(start)
        if group == _EOF:
            return self.fail("unclosed left parenthesis" if self.parens else "unclosed left bracket", start)
        if text in ("=", "!"):
            return self.fail(
                f"unexpected character after '{text}': {quote_char(self.text[start + 1 : start + 2])}", start
            )
        return self.fail(f"unexpected character: {quote_char(text)}", start)

    def paren(self, text: str, start: int) -> _Mode | None:
        """Take one of `( ) [ ] { }` outside braces."""
        if text == "(":
            self.parens += 1
        elif text == ")":
            self.parens -= 1
            if self.parens < 0:
                return self.fail(f"unexpected right parenthesis {quote_char(text)}", start + 1)
        elif text == "[":
            if self.in_bracket:
                return self.fail(f"unexpected left bracket {quote_char(text)}", start)
            self.in_bracket, self.colon_seen = True, False
            self.tokens.append((text, text, start))
            return self.before_number
        elif text == "]":
            if not self.in_bracket:
                return self.fail(f"unexpected right bracket {quote_char(text)}", start)
            self.in_bracket = False
        elif text == "}":
            return self.fail(f"unexpected character: {quote_char(text)}", start)
        self.tokens.append((text, text, start))
        if text == "{":
            return self.braces
        return self.after_number if self.in_bracket else self.ordinary

    def string(self, start: int) -> _Mode | None:
        """Take a string literal that has escapes or is broken."""
        end, problem = scan_string(self.text, start)
        if problem:
            return self.fail(problem, start)
        self.tokens.append((STRING, self.text[start:end], start))
        self.at = end
        return self.after_number if self.in_bracket else self.ordinary

    def before_number(self) -> _Mode | None:
        """Read inside brackets until a number or the end of the bracket: only what durations are made of."""
        for found in _BRACKET.finditer(self.text, self.at):
            group = found.lastindex
            assert group is not None
            text, start = found[group], found.start(group)
            self.at = found.end()
            if group == _EOF:
                return self.fail("unexpected end of input in duration expression", start)
            if group in (_NUMBER, _DURATION):
                self.tokens.append((_PLAIN[group], text, start))
                return self.after_number
            if group == _ODD:
                return self.rare(group, text, start)
            if group == _PAREN and text in ")]":
                return self.paren(text, start)
            if group == _WORD and text == ":":
                if self.tokens[-1][0] == "[":
                    return self.fail("unexpected colon before duration in duration expression", start + 1)
                return self.colon(start)
            if group == _WORD and text.lower() in _DURATION_WORDS:
                self.tokens.append((text.lower(), text, start))
            elif text in ("+", "-", "*", "/", "%", "^", ",", "("):
                self.parens += text == "("
                self.tokens.append((text, text, start))
            else:
                return self.fail(f"unexpected character in duration expression: {quote_char(text[0])}", start)
        return None

    def after_number(self) -> _Mode | None:
        """Read inside brackets after the first number: as ordinary text, but for names and the colon."""
        for found in _BRACKET.finditer(self.text, self.at):
            group = found.lastindex
            assert group is not None
            text, start = found[group], found.start(group)
            self.at = found.end()
            if group == _WORD and text == ":":
                return self.colon(start)
            if group == _WORD and text.lower() not in _DURATION_WORDS:
                return self.fail(f"unexpected character: {quote_char(text[0])}, expected ':'", start)
            if group in (_WORD, _SIGN):
                self.tokens.append((text.lower(), text, start))
            elif group in _PLAIN:
                self.tokens.append((_PLAIN[group], text, start))
            elif group != _COMMENT:
                return self.rare(group, text, start)
        return None

    def colon(self, start: int) -> _Mode | None:
        """Take the colon of a subquery."""
        if self.colon_seen:
            return self.fail("unexpected colon ':'", start)
        self.colon_seen = True
        self.tokens.append((":", ":", start))
        return self.after_number

    def braces(self) -> _Mode | None:
        """Read label matchers up to the closing brace."""
        tokens = self.tokens
        add = tokens.append
        for found in _BRACE.finditer(self.text, self.at):
            group = found.lastindex
            assert group is not None
            text, start = found[group], found.start(group)
            if group == _BRACE_MATCHER:
                label, sign, value = found.groups()[:3]
                tokens += ((IDENTIFIER, label, found.start(1)), (sign, sign, found.start(2)), (STRING, value, start))
            elif group == _BRACE_SIGN:
                add((text, text, start))
            elif group == _BRACE_CLOSE:
                add((text, text, start))
                self.at = found.end()
                return self.after_number if self.in_bracket else self.ordinary
            elif group == _BRACE_LABEL:
                add((IDENTIFIER, text, start))
            elif group == _BRACE_STRING:
                add((STRING, text, start))
            elif group == _BRACE_QUOTE:
                mode = self.string(start)
                return mode and self.braces
            elif group != _BRACE_COMMENT:
                return self.fail(self.wrong_in_braces(group, text, start), start)
        return None

    def wrong_in_braces(self, group: int, text: str, start: int) -> str:
        """Return the message for a character that cannot stand in braces."""
        if group == _BRACE_EOF:
            return "unexpected end of input inside braces"
        if text == "{":
            return f"unexpected left brace {quote_char(text)}"
        if text == "!":
            after = self.text[start + 1 : start + 2]
            return f"unexpected character after '!' inside braces: {quote_char(after)}"
        return f"unexpected character inside braces: {quote_char(text)}"
