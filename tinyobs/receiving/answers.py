"""What an error is answered with; each protocol puts it into words of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ..abc import Services
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


def refused_status(services: Services, *, is_over_limit: bool) -> int:
    """Return the status for a push of which a part was refused, and the rest stored.

    is_over_limit: whether all of that is beyond limits on how many series there are.  What it is answered is a setting, since
    many senders repeat what is answered 429.
    """
    return int(services.config.tinyobs.limits.refused_status) if is_over_limit else 400


def refused_error(status: int, message: str, headers: Mapping[str, str] | None = None) -> HttpError:
    """Return the answer with the status that `refused_status` has told."""
    again = {"retry-after": RETRY_SECONDS} if status == 429 else {}
    return HttpError(status, message, {**again, **(headers or {})})
