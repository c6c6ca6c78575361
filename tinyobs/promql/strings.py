r"""String literals of PromQL, and the way Prometheus quotes text in messages.

Literals: `"..."` and `'...'` with the escapes of Go (`\a \b \f \n \r \t \v \\ \' \" \ooo \xhh \uhhhh \Uhhhhhhhh`), raw strings in
back-ticks.  `\ooo` and `\xhh` name bytes: bytes that are not UTF-8 are kept as lone surrogates (Python's
`surrogateescape`), so nothing is lost and nothing matches by accident.  Not here: finding the end of a literal in a
query that is well formed, which the lexer does by itself.  Source: prometheus promql/parser/lex.go, util/strutil/quote.go.
"""

from __future__ import annotations

import re
from typing import Final

_ESCAPE = re.compile(r"\\([abfnrtv\\'\"]|[0-7]{3}|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8})")
_SIMPLE: Final = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_SHORT: Final = {v: f"\\{k}" for k, v in _SIMPLE.items()} | {"\\": "\\\\"}
_DIGITS: Final = {"x": (2, 16, 255), "u": (4, 16, 0x10FFFF), "U": (8, 16, 0x10FFFF)}


def unquote(literal: str) -> str:
    """Return the text that a well-formed literal, quotes included, stands for."""
    inside = literal[1:-1]
    if literal[0] == "`" or "\\" not in inside:
        return inside
    parts: list[bytes] = []
    at = 0
    for found in _ESCAPE.finditer(inside):
        parts.append(inside[at : found.start()].encode("utf-8", "surrogateescape"))
        parts.append(_escaped(found[1]))
        at = found.end()
    parts.append(inside[at:].encode("utf-8", "surrogateescape"))
    return b"".join(parts).decode("utf-8", "surrogateescape")


def _escaped(code: str) -> bytes:
    """Return the bytes of one escape sequence, given without its backslash."""
    first = code[0]
    if first == "x":
        return bytes([int(code[1:], 16)])
    if first in "uU":
        return chr(int(code[1:], 16)).encode("utf-8")
    if first in "01234567":
        return bytes([int(code, 8)])
    return _SIMPLE.get(first, first).encode()


def scan_string(text: str, start: int) -> tuple[int, str]:
    """Find the end of the literal whose quote stands at `start`; return (end, "") or (-1, what is wrong)."""
    mark = text[start]
    if mark == "`":
        return _scan_raw(text, start)
    at = start + 1
    while at < len(text):
        char = text[at]
        if char == mark:
            return at + 1, ""
        if char == "\n":
            break
        if is_broken(char):
            return -1, "invalid UTF-8 rune"
        at += 1
        if char == "\\":
            at, problem = _scan_escape(text, at, mark)
            if problem:
                return -1, problem
    return -1, "unterminated quoted string"


def _scan_raw(text: str, start: int) -> tuple[int, str]:
    for at in range(start + 1, len(text)):
        if text[at] == "`":
            return at + 1, ""
        if is_broken(text[at]):
            return -1, "invalid UTF-8 rune"
    return -1, "unterminated raw string"


def _scan_escape(text: str, at: int, mark: str) -> tuple[int, str]:
    """Check the escape sequence after a backslash; return (end, problem)."""
    char = text[at : at + 1]
    if not char:
        return at, "escape sequence not terminated"
    if char in _SIMPLE or char in ("\\", mark):
        return at + 1, ""
    if char in "01234567":
        count, base, most = 3, 8, 255
    elif char in _DIGITS:
        count, base, most = _DIGITS[char]
        at += 1
    else:
        return at, f"unknown escape sequence {_code_point(char)}"
    value = 0
    for at in range(at, at + count):  # noqa: B020  (the loop starts where the digits do)
        digit = text[at : at + 1]
        if not digit:
            return at, "escape sequence not terminated"
        if digit not in "0123456789abcdefABCDEF"[: 22 if base == 16 else 8]:
            return at, f"illegal character {_code_point(digit)} in escape sequence"
        value = value * base + int(digit, 16)
    if value > most or 0xD800 <= value < 0xE000:
        return at, "escape sequence is an invalid Unicode code point"
    return at + 1, ""


def is_broken(char: str) -> bool:
    """Tell whether a character stands for bytes that were not UTF-8."""
    return char == "\ufffd" or "\ud800" <= char <= "\udfff"


def quote(text: str) -> str:
    """Return the text in double quotes as Go's `%q` prints it, but U+FFFD as an escape, so that it can be read back."""
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return '"' + "".join('\\"' if c == '"' else _printable(c) for c in text) + '"'


def quote_char(char: str) -> str:
    """Return one character in single quotes as Go's `%q` prints a rune; "" (the end of input) is U+FFFD."""
    if char in ("", "\ufffd"):
        return "'\ufffd'"
    return "'" + ("\\'" if char == "'" else _printable(char)) + "'"


def _printable(char: str) -> str:
    short = _SHORT.get(char)
    if short is not None:
        return short
    if char.isprintable() and char != "\ufffd":
        return char
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # a byte kept by surrogateescape
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _code_point(char: str) -> str:
    return f"U+{ord(char):04X} '{char}'" if char.isprintable() else f"U+{ord(char):04X}"
