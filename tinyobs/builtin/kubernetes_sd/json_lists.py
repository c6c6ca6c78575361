"""Reads a long list of objects one after the other, so that neither its memory nor its time comes at once.  Pure.

The `json` module reads a text as a whole and lets no other thread run meanwhile.  A page of a list may be many
megabytes; here each object is decoded by itself, reduced by `read`, and forgotten.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeVar

T = TypeVar("T")

_SPACE: Final = re.compile(r"[ \t\n\r]*")
_DECODER: Final = json.JSONDecoder()


def read_list(data: bytes, read: Callable[[Mapping[str, Any]], T]) -> tuple[Mapping[str, Any], list[T]]:
    """Return (metadata of the list, what `read` makes of its items); raises `ValueError` for what is no such list."""
    try:
        text = data.decode()
        metadata: Any = {}
        items: list[T] = []
        for key, at in _members(text):
            if key == "items" and text.startswith("[", at.position):
                items = [read(item) for item in _elements(text, at) if isinstance(item, dict)]
            elif (value := at.decode(text)) is not None and key == "metadata":
                metadata = value
    except RecursionError:
        raise ValueError("JSON that is nested too deeply") from None
    if not isinstance(metadata, dict):
        raise ValueError("a list without metadata")
    return metadata, items


class _Position:
    """How far a text is read."""

    def __init__(self) -> None:
        self.position = 0

    def skip_space(self, text: str) -> None:
        match = _SPACE.match(text, self.position)
        assert match
        self.position = match.end()

    def decode(self, text: str) -> Any:
        """Return the value that begins here."""
        value, self.position = _DECODER.raw_decode(text, self.position)
        return value

    def take(self, text: str, choices: str) -> str:
        """Return the next character, which has to be one of these."""
        self.skip_space(text)
        found = text[self.position : self.position + 1]
        if not found or found not in choices:
            raise ValueError(f"expected {' or '.join(choices)} at character {self.position}")
        self.position += 1
        self.skip_space(text)
        return found


def _members(text: str) -> Iterator[tuple[str, _Position]]:
    """Yield each key of an object with the place where its value begins; who takes it reads the value."""
    at = _Position()
    at.take(text, "{")
    is_open = not text.startswith("}", at.position)
    if not is_open:
        at.take(text, "}")
    while is_open:
        key = at.decode(text)
        if not isinstance(key, str):
            raise ValueError(f"a key that is no text before character {at.position}")
        at.take(text, ":")
        yield key, at
        is_open = at.take(text, ",}") == ","
    if text[at.position :].strip():
        raise ValueError(f"more than one value, from character {at.position}")


def _elements(text: str, at: _Position) -> Iterator[Any]:
    """Yield the values of an array."""
    at.take(text, "[")
    if text.startswith("]", at.position):
        at.position += 1
        return
    while True:
        yield at.decode(text)
        if at.take(text, ",]") == "]":
            return
