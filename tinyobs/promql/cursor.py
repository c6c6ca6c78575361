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
    """Where parsing stands.  `kind`, `lexeme` and `start` are those of the current token; `end` is where the one before
    it ends; `height` is that of the tree parsed last."""

    text: str
    tokens: list[Token]
    features: frozenset[str]
    functions: Mapping[str, Signature]
    index: int = 0
    kind: str = ""
    lexeme: str = ""
    start: int = 0
    end: int = 0
    nesting: int = 0
    height: int = 1
    aggregations: int = 0

    def __attrs_post_init__(self) -> None:
        self.kind, self.lexeme, self.start = self.tokens[0]

    def advance(self) -> None:
        """Go to the next token."""
        self.end = self.start + len(self.lexeme)
        self.index += 1
        self.kind, self.lexeme, self.start = self.tokens[self.index]

    def next_kind(self) -> str:
        """Return the kind of the token after the current one."""
        return self.tokens[min(self.index + 1, len(self.tokens) - 1)][0]

    def fail(self, message: str, start: int, end: int) -> QueryParseError:
        """Return the error for a stretch of the text; the caller raises it."""
        return QueryParseError(message, start, min(end, len(self.text)), self.text)

    def unexpected(self, context: str = "", expected: str = "") -> QueryParseError:
        """Return the error that the current token cannot stand here."""
        if self.kind == ERROR:
            return self.fail(self.lexeme, self.start, len(self.text))
        if not context and self.aggregations:
            context = "aggregation"
        message = f"unexpected {describe((self.kind, self.lexeme, self.start))}"
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
