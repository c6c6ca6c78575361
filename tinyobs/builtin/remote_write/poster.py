"""Requests to one destination over HTTP: headers, signatures, time-outs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing
from typing import Final

import trio
from attrs import frozen

from ...config.remote import RemoteWriteConfig
from ...errors import TinyObsError
from ...http_client import Client

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

    def __init__(self, config: RemoteWriteConfig, now_ms: Callable[[], int]) -> None:
        """Raises `HttpError` when a certificate cannot be read."""
        self._config = config
        signer = None
        if config.sigv4 or config.azuread or config.google_iam:
            from ...cloud_auth.request_signers import signer_of  # ten modules that few destinations need

            signer = signer_of(config, now_ms)
        self._client = Client(config.http, signer=signer, any_address=config.round_robin_dns)

    async def post(self, body: bytes, content_type: str, version: str, attempt: int = 0) -> Reply:
        """Send a body; raises `NoAnswer` when there is none in time.  attempt: how often it was sent before."""
        config = self._config
        headers = {
            **dict(config.headers),
            "Content-Encoding": "snappy",
            "Content-Type": content_type,
            "X-Prometheus-Remote-Write-Version": version,
        }
        if attempt:
            headers["Retry-Attempt"] = str(attempt)
        seconds = config.remote_timeout_ms / 1000
        try:
            with trio.fail_after(seconds):
                async with self._client.stream("POST", config.url, headers, body) as answer:
                    async with aclosing(answer.pieces()) as pieces:
                        text = await _beginning(pieces)
                    return Reply(answer.status, answer.headers, text.decode("utf-8", "replace"))
        except trio.TooSlowError:
            raise NoAnswer(f"no answer within {seconds:g}s") from None
        except (TinyObsError, OSError) as e:
            raise NoAnswer(str(e)) from e

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.aclose()


async def _beginning(pieces: AsyncIterator[bytes]) -> bytes:
    """Read a body, up to a limit, and return what may be shown of it."""
    text, size = b"", 0
    async for piece in pieces:
        size += len(piece)
        text += piece[: TEXT_READ_MAX - len(text)]
        if size > BODY_READ_MAX:
            break
    return text
