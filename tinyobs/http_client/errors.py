"""The one exception of the HTTP client, and what an operator reads of a failed request."""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import TinyObsError


class HttpError(TinyObsError):
    """A request got no answer: refused, reset, not resolved, TLS failure, a credentials file that cannot be read."""


def describe(error: BaseException) -> str:
    """Return what an operator wants to read of a failed request."""
    return ": ".join(dict.fromkeys(_causes(error))) or type(error).__name__


def _causes(error: BaseException | None) -> Iterator[str]:
    """Yield the outermost text there is, and what the system said of each attempt to connect."""
    told = False
    while error is not None:
        if isinstance(error, BaseExceptionGroup):
            yield from (e.strerror for e in error.exceptions if isinstance(e, OSError) and e.strerror)
            return
        if not told and str(error):
            yield str(error)
            told = True
        error = error.__cause__ or error.__context__
