"""Requests as handlers get them: those of Starlette, with headers and parameters that are found without looking at all of them."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

from starlette.datastructures import Headers, QueryParams
from starlette.requests import Request

_CACHED_BYTES_MAX: Final = 256
"""Longest query string that is read once for all requests that have it: a sender has always the same, and a short one."""


class RequestHeaders(Headers):
    """Headers with lower-case names, as servers give them; of those that are there twice the first is found, as in `Headers`."""

    def __init__(self, raw: list[tuple[bytes, bytes]]) -> None:
        super().__init__(raw=raw)
        self._first = {name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(raw)}

    def __getitem__(self, key: str) -> str:
        return self._first[key.lower()]

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and key.lower() in self._first

    def get(self, key: str, default: Any = None) -> Any:
        """Return a header, or `default`."""
        return self._first.get(key.lower(), default)


class WebRequest(Request):
    """A request of the daemon's own server."""

    @property
    def headers(self) -> Headers:
        """The headers."""
        if not hasattr(self, "_headers"):
            self._headers = RequestHeaders(self.scope["headers"])
        return self._headers

    @property
    def query_params(self) -> QueryParams:
        """The parameters of the URL."""
        query: bytes = self.scope["query_string"]
        return _short(query) if len(query) <= _CACHED_BYTES_MAX else QueryParams(query)


@lru_cache(256)
def _short(query: bytes) -> QueryParams:
    return QueryParams(query)
