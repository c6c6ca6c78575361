"""Requests to one destination over HTTP: headers, time-out, and an address for each shard where that is asked for."""

from __future__ import annotations

import ipaddress
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import attrs
import trio
from attrs import frozen

from ...config.remote import RemoteWriteConfig
from ...http_client import Client, HttpError

BODY_READ_MAX: Final = 64 << 10
"""Bytes of an answer that are read so that its connection can be used again."""
TEXT_READ_MAX: Final = 1024
"""Of those the ones that may be logged."""


class NoAnswer(Exception):
    """A request got no answer; it may have been carried out all the same."""


@frozen
class Reply:
    """An answer."""

    status: int
    headers: Mapping[str, str]
    text: str


class Poster:
    """Sends bodies."""

    def __init__(self, config: RemoteWriteConfig) -> None:
        """Raises `HttpError` when a certificate cannot be read."""
        self._config = config
        self._parts = urlsplit(config.url)
        self._host = self._parts.hostname or ""
        self._spread = config.round_robin_dns and not _is_address(self._host)
        http = config.http
        if self._spread and not http.tls_config.server_name:
            http = attrs.evolve(http, tls_config=attrs.evolve(http.tls_config, server_name=self._host))
        self._client = Client(http)
        self._picked: dict[int, str] = {}

    async def post(self, body: bytes, content_type: str, version: str, shard: int) -> Reply:
        """Send a body; raises `NoAnswer` when there is none in time."""
        headers = {
            **dict(self._config.headers),
            "Content-Encoding": "snappy",
            "Content-Type": content_type,
            "X-Prometheus-Remote-Write-Version": version,
        }
        seconds = self._config.remote_timeout_ms / 1000
        try:
            with trio.fail_after(seconds):
                url = self._config.url if not self._spread else await self._picked_url(shard, headers)
                async with (
                    self._client.stream("POST", url, headers, body) as answer,
                    aclosing(answer.pieces()) as pieces,
                ):
                    found = await _beginning(pieces)
                    return Reply(answer.status, answer.headers, found.decode("utf-8", "replace"))
        except trio.TooSlowError:
            self._picked.pop(shard, None)
            raise NoAnswer(f"no answer within {seconds:g}s") from None
        except (HttpError, OSError) as e:
            self._picked.pop(shard, None)
            raise NoAnswer(str(e)) from e

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def _picked_url(self, shard: int, headers: dict[str, str]) -> str:
        """Return the URL with one of the host's addresses, which the shard keeps until it fails."""
        port = self._parts.port
        picked = self._picked.get(shard)
        if picked is None:
            found = await trio.socket.getaddrinfo(self._host, port, type=trio.socket.SOCK_STREAM)
            picked = self._picked[shard] = str(random.choice(found)[4][0])  # noqa: S311 - no secret hangs on it
        user, _, place = self._parts.netloc.rpartition("@")
        headers["Host"] = place
        address = f"[{picked}]" if ":" in picked else picked
        netloc = (f"{user}@" if user else "") + address + (f":{port}" if port else "")
        return urlunsplit(self._parts._replace(netloc=netloc))


async def _beginning(pieces: AsyncIterator[bytes]) -> bytes:
    """Read a body, up to a limit, and return what may be shown of it."""
    text, size = b"", 0
    async for piece in pieces:
        size += len(piece)
        text += piece[: TEXT_READ_MAX - len(text)]
        if size > BODY_READ_MAX:
            break
    return text


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
