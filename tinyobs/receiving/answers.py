"""What an error is answered with; each protocol puts it into words of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ..errors import (
    DiskFullError,
    ExpositionError,
    LimitExceeded,
    RateLimited,
    StorageError,
    TinyObsError,
    Unavailable,
    WireError,
)
from ..web.problem import HttpError, retry_after

RETRY_SECONDS: Final = "5"
"""When to try again what the storage could not take."""

_STATUS: Final[Mapping[type[TinyObsError], int]] = {
    WireError: 400,
    ExpositionError: 400,
    LimitExceeded: 413,
    RateLimited: 429,
    Unavailable: 503,
    DiskFullError: 507,
    StorageError: 503,
}
"""The first class that fits counts."""


def http_error(error: TinyObsError) -> HttpError:
    """Return the answer for what went wrong with a push: its status, a text, and when to try again."""
    status = next((s for kind, s in _STATUS.items() if isinstance(error, kind)), 500)
    headers = {}
    if isinstance(error, RateLimited):
        headers["retry-after"] = retry_after(error)
    elif status in (503, 507):
        headers["retry-after"] = RETRY_SECONDS
    return HttpError(status, str(error), headers)
