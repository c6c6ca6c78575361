"""The parser's place in the tokens, and how it complains.

Shared by the parts of the parser (`parser.py`, `selectors.py`, `duration_syntax.py`).  Source of the wording: prometheus
promql/parser/parse.go.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import define

from ..errors import QueryParseError
from .lexer import ERROR, Token, describe
from .signatures import Signature

NESTING_MAX: Final = 100
"""How deep parentheses, calls and signs may nest, in levels: the parser needs a few Python frames for each."""
TREE_HEIGHT_MAX: Final = 250
"""Levels of the syntax tree; each link of a chain such as `a or b or c` is one.  Evaluation recurses that far."""


@define
class Cursor:
    """Where parsing stands.  `token` is the current one, `kind` its kind; `height` is that of the tree parsed last."""

    text: str
    tokens: list[Token]
    features: frozenset[str]
    functions: Mapping[str, Signature]
    index: int = 0
    token: Token = ("", "", 0)
    kind: str = ""
    nesting: int = 0
    height: int = 1
    aggregations: int = 0

    def __attrs_post_init__(self) -> None:
        self.token = self.tokens[0]
        self.kind = self.token[0]

    def advance(self) -> None:
        """Go to the next token; never from the last one."""
        self.index += 1
        token = self.token = self.tokens[self.index]
        self.kind = token[0]

    @property
    def lexeme(self) -> str:
        """The text of the current token."""
        return self.token[1]

    @property
    def start(self) -> int:
        """Where the current token starts."""
        return self.token[2]

    @property
    def end(self) -> int:
        """Where the token before the current one ends."""
        _, text, start = self.tokens[self.index - 1]
        return start + len(text)

    def next_kind(self) -> str:
        """Return the kind of the token after the current one, which is not the last."""
        return self.tokens[self.index + 1][0]

    def fail(self, message: str, start: int, end: int) -> QueryParseError:
        """Return the error for a stretch of the text; the caller raises it."""
        return QueryParseError(message, start, min(end, len(self.text)), self.text)

    def unexpected(self, context: str = "", expected: str = "") -> QueryParseError:
        """Return the error that the current token cannot stand here."""
        if self.kind == ERROR:
            return self.fail(self.lexeme, self.start, len(self.text))
        if not context and self.aggregations:
            context = "aggregation"
        message = f"unexpected {describe(self.token)}"
        message += f" in {context}" if context else ""
        message += f", expected {expected}" if expected else ""
        return self.fail(message, self.start, self.start + len(self.lexeme))

    def descend(self) -> None:
        """Go one level of nesting down; the caller subtracts it again."""
        self.nesting += 1
        if self.nesting > NESTING_MAX:
            raise self.fail(f"expression is nested deeper than {NESTING_MAX} levels", self.start, len(self.text))

    def grow(self, height: int) -> None:
        """Note the height of the tree that was just put together."""
        self.height = height
        if height > TREE_HEIGHT_MAX:
            raise self.fail(f"expression has more than {TREE_HEIGHT_MAX} levels", 0, self.end)
