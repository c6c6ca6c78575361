"""Asks a running daemon through the admin API of Prometheus."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from ...errors import QueryError, TinyObsError
from ..ask import ask

ANSWER_BYTES_MAX: Final = 1 << 20
SECONDS_MAX: Final = 600.0
"""How long a daemon may take: a snapshot waits for the writer, cleaning tombstones rewrites segments."""


def post(url: str, action: str, parameters: Sequence[tuple[str, str]] = ()) -> dict[str, Any]:
    """POST to /api/v1/admin/tsdb/ACTION and return the data of the answer, {} where there is none.

    Raises `TinyObsError` with the daemon's own words.
    """
    path = f"admin/tsdb/{action}"
    try:
        envelope = ask(url, path, parameters, SECONDS_MAX, bytes_max=ANSWER_BYTES_MAX)
    except QueryError as e:  # whose exit code is that of queries
        raise TinyObsError(str(e)) from e
    if envelope.get("status", "success") != "success":
        raise TinyObsError(f"{url.rstrip('/')}/api/v1/{path}: {envelope.get('error')}")
    return dict(envelope.get("data") or {})
