"""One scrape over HTTP: request, bounded reading, decompression, content type."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Final, Protocol

import trio
from attrs import frozen

from ...errors import LimitExceeded, TinyObsError
from ...http_client import Answer

READ_SIZE: Final = 256 * 1024
"""Most bytes that are unpacked at once; other tasks get their turn in between."""
BODY_BYTES_MAX: Final = 256 * 1024 * 1024
"""Most bytes of a body after decompression where the configuration sets no `body_size_limit`."""
JOIN_IN_THREAD_BYTES: Final = 8 * 1024 * 1024
"""Bodies longer than this are put together in a worker thread."""


class ScrapeError(TinyObsError):
    """A scrape failed; the text is the target's last error."""


class Requester(Protocol):
    """What a scrape needs of an HTTP client."""

    def stream(self, method: str, url: str, headers: Mapping[str, str]) -> AbstractAsyncContextManager[Answer]:
        """Send a request; the answer's body is read within the context."""


@frozen
class Fetched:
    """A scraped body, decompressed."""

    body: bytes
    content_type: str


async def fetch(client: Requester, url: str, headers: Mapping[str, str], body_size_limit: int) -> Fetched:
    """Return the body at a URL; the caller sets the deadline.

    body_size_limit: most bytes after decompression, 0 for `BODY_BYTES_MAX`; more raises `LimitExceeded`.  Any status but 200
    raises `ScrapeError` with upstream's text, as do connection errors.
    """
    async with client.stream("GET", url, headers) as answer:
        if answer.status != 200:
            raise ScrapeError(f"server returned HTTP status {answer.status} {answer.reason}".rstrip())
        encoding = answer.headers.get("content-encoding", "").strip().lower()
        if encoding not in ("", "identity", "gzip"):
            raise ScrapeError(f"server answered with content encoding {encoding!r}, which was not asked for")
        unzip = zlib.decompressobj(wbits=31) if encoding == "gzip" else None
        parts: list[bytes] = []
        size = 0
        async with aclosing(answer.pieces()) as pieces:
            async for piece in pieces:
                for part in _unpack(unzip, piece):
                    size += len(part)
                    if size > (body_size_limit or BODY_BYTES_MAX):
                        raise LimitExceeded("body_size_limit", _too_long(body_size_limit))
                    parts.append(part)
                    if unzip is not None and unzip.unconsumed_tail:
                        await trio.lowlevel.checkpoint()
        if unzip is not None and not unzip.eof:
            raise ScrapeError("gzip: unexpected end of the body")
        long = size > JOIN_IN_THREAD_BYTES
        body = await trio.to_thread.run_sync(b"".join, parts) if long else b"".join(parts)
        return Fetched(body, answer.headers.get("content-type", ""))


def _too_long(body_size_limit: int) -> str:
    """Return the error text; upstream's where the limit is the configured one."""
    if body_size_limit:
        return "body size limit exceeded"
    return f"body size limit exceeded: more than the {BODY_BYTES_MAX} bytes that are read without a body_size_limit"


def _unpack(unzip: zlib._Decompress | None, piece: bytes) -> Iterator[bytes]:
    """Yield the decompressed bytes of a piece in bounded portions, so that no small body can unpack to a huge one."""
    if unzip is None:
        yield piece
        return
    while piece:
        try:
            yield unzip.decompress(piece, READ_SIZE)
        except zlib.error as e:
            raise ScrapeError(f"gzip: {e}") from None
        piece = unzip.unconsumed_tail
