"""Asks a running daemon through the admin API of Prometheus."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any, Final
from urllib.parse import urlencode

import trio

from ...errors import TinyObsError
from ...http_client import Client, HttpError

ANSWER_BYTES_MAX: Final = 1 << 20
SECONDS_MAX: Final = 600.0
"""How long a daemon may take: a snapshot waits for the writer, cleaning tombstones rewrites segments."""
NO_CONTENT: Final = 204


def post(url: str, action: str, parameters: Sequence[tuple[str, str]] = ()) -> dict[str, Any]:
    """POST to /api/v1/admin/tsdb/ACTION and return the data of the answer, {} where there is none.

    Raises `TinyObsError` with the daemon's own words.
    """
    return trio.run(_post, f"{url.rstrip('/')}/api/v1/admin/tsdb/{action}", urlencode(parameters))


async def _post(url: str, form: str) -> dict[str, Any]:
    client = Client()
    head = {"Content-Type": "application/x-www-form-urlencoded"}
    body = bytearray()
    try:
        with trio.fail_after(SECONDS_MAX):
            async with client.stream("POST", url, head, form.encode()) as answer:
                async with aclosing(answer.pieces()) as pieces:
                    async for piece in pieces:
                        body += piece
                        if len(body) > ANSWER_BYTES_MAX:
                            raise TinyObsError(f"the answer of {url} is larger than {ANSWER_BYTES_MAX} bytes")
                status = answer.status
    except HttpError as e:
        raise TinyObsError(f"no answer from {url}: {e}; is a daemon running there? (--url)") from e
    except trio.TooSlowError:
        raise TinyObsError(f"no answer from {url} within {SECONDS_MAX:g} s") from None
    finally:
        await client.aclose()
    if status == NO_CONTENT:
        return {}
    try:
        envelope = json.loads(body)
        good = envelope["status"] == "success"
    except (ValueError, TypeError, KeyError):
        raise TinyObsError(f"{url} answered {status} with something else than the Prometheus API") from None
    if not good:
        raise TinyObsError(f"{url}: {envelope.get('error')}")
    return dict(envelope.get("data") or {})
