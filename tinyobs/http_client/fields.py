"""Header fields: as they are sent, and as an answer has them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Final

from .errors import HttpError

Field = tuple[bytes, bytes]
"""A name and a value as they go over the wire."""

_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NOT_SENT: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
"""What a value cannot carry (RFC 9110, section 5.5)."""


def field(name: str, value: str) -> Field:
    """Return a header as it is sent, in UTF-8; raises `HttpError`, which must not show a value that may be a secret."""
    if _NOT_SENT.search(value):
        raise HttpError(f"the value of the header {name} has a line break or another control character")
    try:
        return _name(name), value.strip(" \t").encode()
    except UnicodeEncodeError:
        raise HttpError(f"the value of the header {name} is not UTF-8") from None


@lru_cache(maxsize=1024)
def _name(name: str) -> bytes:
    if not _NAME.fullmatch(name):
        raise HttpError(f"{name!r} is no name of a header")
    return name.encode()


class Headers(Mapping[str, str]):
    """The headers of an answer by name, in any case; values of one name are joined by commas."""

    def __init__(self, fields: Iterable[Field]) -> None:
        self.fields = list(fields)
        """As they came; names in any case."""
        self._by_name: dict[str, str] | None = None

    def __getitem__(self, name: str) -> str:
        return self._found()[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found())

    def __len__(self) -> int:
        return len(self._found())

    def _found(self) -> dict[str, str]:
        if self._by_name is None:
            found: dict[str, str] = {}
            for raw_name, raw_value in self.fields:
                name, value = raw_name.decode("latin-1").lower(), _text(raw_value)
                found[name] = f"{found[name]}, {value}" if name in found else value
            self._by_name = found
        return self._by_name


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
