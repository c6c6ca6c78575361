"""What is fetched again before it expires: a cache around any source of temporary credentials."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, Generic, TypeVar

import trio
from attrs import frozen

from ..model.secrets import Secret
from .exchange import CloudError

EARLY_MS: Final = 5 * 60_000
"""How long before its end a token is exchanged, so that it does not end on its way."""


@frozen
class Token:
    """An access token as it is sent, and until when it is good."""

    value: Secret
    expires_ms: int | None = None
    """In ms since 1970; None where it does not expire."""
    type: str = "Bearer"


def token_of(value: Any, url: str, began_ms: int) -> Token:
    """Return the token of an OAuth 2.0 answer (RFC 6749, section 5.1); raises `CloudError` where there is none."""
    if not isinstance(value, dict) or not isinstance(value.get("access_token"), str):
        raise CloudError(f"{url.partition('?')[0]}: the answer has no access token")
    try:
        seconds = int(value["expires_in"]) if value.get("expires_in") else None
    except (TypeError, ValueError):
        seconds = None
    end = began_ms + seconds * 1000 if seconds is not None else None
    return Token(Secret(value["access_token"]), end, str(value.get("token_type") or "Bearer"))


T = TypeVar("T")


class Renewed(Generic[T]):
    """Keeps what `fetch` returns until shortly before it expires.  Concurrent askers wait for one fetch."""

    def __init__(
        self,
        fetch: Callable[[], Awaitable[T]],
        expires_ms: Callable[[T], int | None],
        now_ms: Callable[[], int],
    ) -> None:
        self._fetch, self._expires_ms, self._now_ms = fetch, expires_ms, now_ms
        self._kept: T | None = None
        self._lock = trio.Lock()

    async def get(self) -> T:
        """Return what is good for some minutes more; raises what `fetch` raises."""
        if (kept := self._good()) is None:
            async with self._lock:
                kept = self._good()  # somebody else may have fetched it meanwhile
                if kept is None:
                    kept = self._kept = await self._fetch()
        return kept

    def forget(self) -> None:
        """Fetch anew next time: the server did not take what is kept."""
        self._kept = None

    def _good(self) -> T | None:
        if self._kept is None:
            return None
        end = self._expires_ms(self._kept)
        return self._kept if end is None or self._now_ms() < end - EARLY_MS else None
