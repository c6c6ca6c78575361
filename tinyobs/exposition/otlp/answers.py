"""What a request is answered with: `ExportMetricsServiceResponse` and `google.rpc.Status`, in the form of the request.

Source: https://opentelemetry.io/docs/specs/otlp/#otlphttp-response.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from .schema import MESSAGES

PROTOBUF: Final = "application/x-protobuf"
JSON: Final = "application/json"

_CODES: Final[Mapping[int, int]] = {
    400: 3, 401: 16, 403: 7, 404: 5, 408: 4, 413: 8, 415: 3, 429: 8, 500: 13, 503: 14, 504: 4, 507: 8,
}  # fmt: skip
"""Status of HTTP -> code of gRPC."""
_UNKNOWN: Final = 2


def response(content_type: str, rejected: int, message: str) -> bytes:
    """Return the body of an answer 200.  rejected: data points that were not stored; message: "" where all is well."""
    if content_type == JSON:
        partial = {"partialSuccess": {"rejectedDataPoints": str(rejected), "errorMessage": message}}
        return orjson.dumps(partial if rejected or message else {})
    made = MESSAGES["ExportMetricsServiceResponse"]()
    if rejected or message:
        made.partial_success.rejected_data_points = rejected
        made.partial_success.error_message = message
    return _bytes(made)


def failure(content_type: str, status: int, message: str) -> bytes:
    """Return the body of an answer that is an error."""
    code = _CODES.get(status, _UNKNOWN)
    if content_type == JSON:
        return orjson.dumps({"code": code, "message": message})
    return _bytes(MESSAGES["Status"](code=code, message=message))


def _bytes(message: Any) -> bytes:
    return bytes(message.SerializeToString())
