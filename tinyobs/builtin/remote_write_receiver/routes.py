"""The answers of the remote write receiver.

204 stored; 400 malformed or partly refused (the good samples are stored; a sender does not retry); 413 too large; 415 another
message or compression; 429 beyond a rate, or partly refused for too many series alone; 503 overloaded and 507 disk full (a
sender retries).  An answer to 2.0 says in any case how much was written; one to 1.0 does not, so that nobody takes it for one
to 2.0.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from attrs import frozen
from starlette.requests import Request
from starlette.responses import Response

from ...abc import Route
from ...errors import TinyObsError
from ...receiving.answers import http_error, refused_error
from ...web.api_v1.envelope import allow
from ...web.problem import HttpError
from .negotiation import Message, message_of

PATHS: Final = ("/api/v1/write", "/api/v1/push")
"""The path of Prometheus, and one that VictoriaMetrics takes as well."""
PROBLEMS_SHOWN_MAX: Final = 10
"""Reasons for refused samples named in one answer."""

_WRITTEN: Final = "x-prometheus-remote-write-{}-written"


@frozen
class Written:
    """What of a request was written, and a sentence for every kind of thing that was not, with the status for that."""

    samples: int = 0
    histograms: int = 0
    exemplars: int = 0
    problems: Sequence[str] = ()
    refused_status: int = 400

    def headers(self) -> dict[str, str]:
        """Return the headers that remote write 2.0 requires."""
        counts = {"samples": self.samples, "histograms": self.histograms, "exemplars": self.exemplars}
        return {_WRITTEN.format(kind): str(count) for kind, count in counts.items()}


Write = Callable[[Request, Message], Awaitable[Written]]
"""Reads, decodes and stores a request; returns when it is durable.  Raises `HttpError` or `TinyObsError`."""


def write_routes(write: Write | None, accepted: Sequence[str] = tuple(Message)) -> list[Route]:
    """Return the routes; write: None where the receiver is not enabled.  accepted: the messages that are taken."""
    api = WriteApi(write, accepted)
    routes = [Route(path, api.write, ("POST",), whole_body=True) for path in PATHS]
    return [*routes, *(Route(path, allow, ("OPTIONS",)) for path in PATHS)]


class WriteApi:
    """The handler."""

    def __init__(self, write: Write | None, accepted: Sequence[str]) -> None:
        self._write, self._accepted = write, accepted

    async def write(self, request: Request) -> Response:
        """Answer a request."""
        if self._write is None:
            raise HttpError(404, "remote write receiver needs to be enabled with --web.enable-remote-write-receiver")
        kind, encoding = (request.headers.get(f"content-{name}", "") for name in ("type", "encoding"))
        message = message_of(kind, encoding, self._accepted)
        is_v2 = message is Message.V2
        try:
            written = await self._write(request, message)
        except HttpError as e:
            raise _with_counts(e, is_v2) from None
        except TinyObsError as e:
            raise _with_counts(http_error(e), is_v2) from None
        headers = written.headers() if is_v2 else {}
        if written.problems:
            raise refused_error(written.refused_status, "\n".join(written.problems[:PROBLEMS_SHOWN_MAX]), headers)
        return Response(status_code=204, headers=headers)


def _with_counts(error: HttpError, is_v2: bool) -> HttpError:
    """Return the answer to a request of which nothing was written."""
    if not is_v2:
        return error
    return HttpError(error.status, error.message, {**Written().headers(), **(error.headers or {})})
