"""Failures of a request as exceptions, and the answers they become.

A handler raises `HttpError` for plain text or `ApiError` for the envelope of the Prometheus API.  Anything else that
escapes a handler is our bug: it is logged with its traceback, and the client learns only that it happened.
"""

from __future__ import annotations

import math
import traceback
from collections.abc import Mapping
from typing import Final

from starlette.responses import PlainTextResponse, Response

from ..errors import RateLimited
from ..exposition.json import dump

STATUS_OF_KIND: Final[Mapping[str, int]] = {
    "bad_data": 400,
    "execution": 422,
    "canceled": 499,
    "timeout": 503,
    "internal": 500,
    "unavailable": 503,
    "not_found": 404,
    "not_acceptable": 406,
}
"""`errorType` of the Prometheus API -> HTTP status."""
_CHAIN_MAX: Final = 20


class HttpError(Exception):
    """Answer with a status and a line of text."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        self.status, self.message, self.headers = status, message, headers
        super().__init__(message)

    def response(self) -> Response:
        """Return the answer."""
        headers = {"x-content-type-options": "nosniff", **(self.headers or {})}
        return PlainTextResponse(self.message + "\n", self.status, headers)


def retry_after(error: RateLimited) -> str:
    """Return the value of the header `Retry-After`: whole seconds, at least one."""
    return str(max(math.ceil(error.retry_after_seconds), 1))


def forget_frames(error: BaseException) -> None:
    """Let go of what the frames of an error hold, those of the errors before it included.

    A failure in a worker thread is part of a cycle with its traceback, and a body of megabytes with it, until the garbage
    collector comes by.
    """
    left: BaseException | None = error
    for _ in range(_CHAIN_MAX):
        if left is None:
            return
        traceback.clear_frames(left.__traceback__)
        left.__traceback__ = None  # a frame without its variables still has its function, and that what it closes over
        left = left.__context__


class ApiError(HttpError):
    """Answer with the error envelope; `kind` is its `errorType`."""

    def __init__(self, kind: str, message: str) -> None:
        self.kind = kind
        super().__init__(STATUS_OF_KIND[kind], message)

    def response(self) -> Response:
        """Return the answer."""
        body = dump({"status": "error", "errorType": self.kind, "error": self.message})
        return Response(body.encode(), self.status, self.headers, media_type="application/json")
