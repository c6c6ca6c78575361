"""HTTP clients of a pool's targets: one a target, with certificates shared by the pool and read when they change.

One client a target keeps its connection open from scrape to scrape, and no target waits for another's.  Certificates
that cannot be read fail the scrapes of this pool, with the reason as their error, until they can.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from ...config.http_client import HttpClientConfig
from ...http_client import Answer, Client, HttpError, tls_context


class PoolTls:
    """The TLS settings of a pool as its clients use them."""

    def __init__(self, config: HttpClientConfig) -> None:
        self.config = config
        tls = config.tls_config
        self._files = [f for f in (tls.ca_file, tls.cert_file, tls.key_file) if f]
        self._seen: tuple[tuple[int, ...], ...] | None = None
        self._context: ssl.SSLContext | None = None
        self._error = ""

    def context(self) -> ssl.SSLContext:
        """Return the context for the files as they are now; raises `HttpError` when they make none."""
        now = tuple(map(_signature, self._files))
        if now != self._seen:
            self._seen, self._context, self._error = now, None, ""
            try:
                self._context = tls_context(self.config.tls_config)
            except HttpError as e:
                self._error = str(e)
        if self._context is None:
            raise HttpError(self._error)
        return self._context


class TargetClient:
    """The client of one target; one request at a time."""

    def __init__(self, tls: PoolTls) -> None:
        self._tls = tls
        self._context: ssl.SSLContext | None = None
        self._client: Client | None = None

    @asynccontextmanager
    async def stream(self, method: str, url: str, headers: Mapping[str, str]) -> AsyncIterator[Answer]:
        """Send a request; see `tinyobs.http_client.Client.stream`."""
        context = self._tls.context()
        if self._client is None or context is not self._context:
            await self.aclose()
            self._client, self._context = Client(self._tls.config, context), context
        async with self._client.stream(method, url, headers) as answer:
            yield answer

    async def aclose(self) -> None:
        """Close the connection."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None


def _signature(file: str) -> tuple[int, ...]:
    """Return what changes when a file does; () while it is not there."""
    try:
        status = os.stat(file)
    except OSError:
        return ()
    return status.st_mtime_ns, status.st_size, status.st_ino
