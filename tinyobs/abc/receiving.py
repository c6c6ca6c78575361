"""What a receiver of pushed samples is given: the way into storage, with admission and counting."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from ..model.batch import AppendResult, Batch

Then = Callable[[AppendResult], None]
"""Goes on with what became of a batch; takes no longer than a commit does."""


class Reception(Protocol):
    """The way of pushed samples into storage for one protocol.  `Services.reception` gives it; used in the event loop.

    For each request, datagram or piece of a stream a receiver calls `admit`, decodes, calls `store` or `store_from`, and
    acknowledges only then.  What it cannot decode it tells by `refuse`, and stores the rest.
    """

    protocol: str
    """The label `protocol` of its metrics."""

    def admit(self, source: str, size_bytes: int = 0, requests: int = 1) -> None:
        """Count work of a source, and let it pass or raise `RateLimited`.

        source: the user, else the address of who pushes; see `tinyobs.receiving`.  size_bytes: as sent.
        """

    async def store(self, batch: Batch, source: str, *, then: Then | None = None) -> AppendResult:
        """Store a batch; returns when it is durable.  then: see `Services.append`.

        Raises `RateLimited` (nothing was stored, the samples may come again), and what `Services.append` raises.
        """

    async def store_from(self, make: Callable[[], Batch], samples: int, source: str) -> AppendResult:
        """Store what `make` returns, which runs in the writer's thread and must be quick; see `Services.append_from`.

        samples: about how many there will be; the limit on samples is held with that number.
        """

    def refuse(self, reason: str, count: int = 1) -> None:
        """Count samples, lines or requests that could not be taken; `reason` is a label: a few fixed words."""

    def refuse_all(self, reasons: Mapping[str, int]) -> None:
        """Do so for several reasons."""
