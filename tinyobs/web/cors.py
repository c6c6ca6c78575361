"""Cross-origin headers for the API, as `--web.cors.origin` asks (prometheus util/httputil/cors.go)."""

from __future__ import annotations

import re
from typing import Final

from .reply import RawHeaders

_VARY: Final = (b"vary", b"Origin")
_ALLOW: Final = (
    (b"access-control-allow-headers", b"Accept, Authorization, Content-Type, Origin"),
    (b"access-control-allow-methods", b"GET, POST, OPTIONS"),
    (b"access-control-expose-headers", b"Date"),
)


def cors_headers(origin: bytes, allowed: re.Pattern[str]) -> RawHeaders:
    """Return the headers for a request from `origin` (b"" for none), which `allowed` must match as a whole."""
    if not origin:
        return (_VARY,)
    if allowed.fullmatch(origin.decode("latin-1")):
        return (_VARY, *_ALLOW, (b"access-control-allow-origin", origin))
    return (_VARY, *_ALLOW)
