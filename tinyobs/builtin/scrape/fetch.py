"""One scrape over HTTP: request, bounded reading, decompression, content type."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Final, Protocol

from attrs import frozen

from ...errors import LimitExceeded, TinyObsError
from ...http_client import Answer

READ_SIZE: Final = 256 * 1024


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

    body_size_limit: most bytes after decompression, 0 for no limit; more raises `LimitExceeded`.  Any status but 200
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
                    if body_size_limit and size > body_size_limit:
                        raise LimitExceeded("body_size_limit", "body size limit exceeded")
                    parts.append(part)
        if unzip is not None and not unzip.eof:
            raise ScrapeError("gzip: unexpected end of the body")
        return Fetched(b"".join(parts), answer.headers.get("content-type", ""))


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
