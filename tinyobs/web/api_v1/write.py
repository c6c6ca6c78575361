"""`/write`: the remote write receiver, version 1.0.

Answers: 204 stored; 400 malformed or partly refused (the good samples are stored; a sender does not retry); 413 too
large; 415 not snappy protobuf; 503 overloaded and 507 disk full (a sender retries).  Source: prometheus
storage/remote/write_handler.go and the remote write specification 1.0.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from ...abc import Route
from ...errors import DiskFullError, LimitExceeded, StorageError, Unavailable, WireError
from ..problem import HttpError
from ..services import WriteOutcome
from .envelope import allow

PROBLEMS_SHOWN_MAX: Final = 10
"""Reasons for refused samples named in one answer."""

_PROTOBUF: Final = "application/x-protobuf"
_MESSAGE: Final = "prometheus.WriteRequest"
_RETRY: Final = {"retry-after": "5"}


RemoteWrite = Callable[[bytes], Awaitable[WriteOutcome]]


def write_routes(write: RemoteWrite | None) -> list[Route]:
    """Return the route of the receiver."""
    post = Route("/api/v1/write", WriteApi(write).write, ("POST",), whole_body=True)
    return [post, Route("/api/v1/write", allow, ("OPTIONS",))]


class WriteApi:
    """The handler."""

    def __init__(self, write: RemoteWrite | None) -> None:
        """`write` decodes and stores a body and returns when it is durable; None: the receiver is not enabled.

        It raises `WireError`, `LimitExceeded`, `Unavailable` or `StorageError`.
        """
        self._write = write

    async def write(self, request: Request) -> Response:
        """Answer `/write`."""
        if self._write is None:
            raise HttpError(404, "remote write receiver needs to be enabled with --web.enable-remote-write-receiver")
        _check_content_type(request.headers.get("content-type", ""))
        encoding = request.headers.get("content-encoding", "")
        if encoding not in ("", "snappy"):
            raise HttpError(
                415, f"{encoding} encoding (compression) is not accepted by this server; only snappy is acceptable"
            )
        try:
            outcome = await self._write(await request.body())
        except WireError as e:
            raise HttpError(400, str(e)) from None
        except LimitExceeded as e:
            raise HttpError(413, str(e)) from None
        except Unavailable as e:
            raise HttpError(503, str(e), _RETRY) from None
        except DiskFullError as e:
            raise HttpError(507, str(e), _RETRY) from None
        except StorageError as e:
            raise HttpError(503, str(e), _RETRY) from None
        if outcome.problems:
            raise HttpError(400, "\n".join(outcome.problems[:PROBLEMS_SHOWN_MAX]))
        return Response(status_code=204)


def _check_content_type(text: str) -> None:
    """Raise `HttpError` 415 unless the type is that of a remote write 1.0 request, or is not given."""
    if not text:
        return
    kind, *settings = (part.strip() for part in text.split(";"))
    if kind.lower() != _PROTOBUF:
        raise HttpError(415, f"expected {_PROTOBUF} as the first (media) part, got {text} content-type")
    for setting in settings:
        name, _, message = setting.partition("=")
        if name.strip().lower() == "proto" and message.strip() != _MESSAGE:
            raise HttpError(
                415, f"got {text} content type; unknown remote write protobuf message {message}, supported: {_MESSAGE}"
            )
