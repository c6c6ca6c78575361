"""The contract of those who tell what changed since when; a storage has one (`abc.Storage.changes`)."""

from __future__ import annotations

from typing import Protocol


class Changes(Protocol):
    """Tells from which time on answers that somebody remembers may be wrong."""

    def now(self) -> int:
        """Return a number for this moment; asked for before a view is opened."""

    def since(self, number: int) -> int:
        """Return the least time in ms of samples that were added or removed since then; 2^63 - 1 without any."""
