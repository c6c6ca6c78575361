"""Notice that the daemon stops, for whoever waits for something that need not come any more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import trio

STOPPING: Final = "the daemon is stopping"


class Stopping:
    """One for an application; used in the event loop."""

    def __init__(self) -> None:
        self.came = False
        self._scopes: set[trio.CancelScope] = set()

    def come(self) -> None:
        """End all waits now, and those that begin later at once; idempotent."""
        self.came = True
        for scope in self._scopes:
            scope.cancel()

    @contextmanager
    def ends(self, scope: trio.CancelScope) -> Iterator[None]:
        """Cancel a scope when the daemon stops, as long as the context is open."""
        if self.came:
            scope.cancel()
        self._scopes.add(scope)
        try:
            yield
        finally:
            self._scopes.discard(scope)
