"""Secrets that do not leak by accident: printing, formatting or logging one gives `<secret>`.

Not encryption: the text is in memory, and `reveal()` returns it where a request is built.
"""

from __future__ import annotations

from typing import Final

from attrs import field, frozen

MASK: Final = "<secret>"
"""What is shown instead, as Prometheus does."""


@frozen(repr=False)
class Secret:
    """A text that only `reveal()` shows; equal secrets compare equal, an empty one is false."""

    _text: str = field(default="")

    def reveal(self) -> str:
        """Return the text."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __repr__(self) -> str:
        return MASK

    def __str__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)
