"""A large body that is made piece by piece while it is sent, each piece in a worker thread.

Not Starlette's `StreamingResponse`, which leaves an unfinished generator behind when the client goes away, and whose
threads are those of another library's limiter.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping
from typing import Any

import trio
from starlette.responses import Response


class PiecesResponse(Response):
    """Sends what a generator yields.  The generator is closed in any case, as soon as it is not running."""

    def __init__(
        self,
        pieces: Generator[bytes],
        status_code: int = 200,
        media_type: str | None = None,
        headers: Mapping[str, str] | None = None,
        seconds: float = math.inf,
    ) -> None:
        """Take the generator; there is no content length.  seconds: how long the client may take to receive it all."""
        self._pieces = pieces
        self._seconds = seconds
        self.status_code = status_code
        self.media_type = media_type
        self.background = None
        self.body = b""
        self.init_headers(headers)
        del self.headers["content-length"]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Send head and pieces; raises `ConnectionResetError` when the client takes too long."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        try:
            with trio.move_on_after(self._seconds) as scope:
                while (piece := await trio.to_thread.run_sync(next, self._pieces, None)) is not None:
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
        finally:
            self._pieces.close()
        if scope.cancelled_caught:
            raise ConnectionResetError("the client took too long to receive the answer")
        await send({"type": "http.response.body", "body": b"", "more_body": False})
