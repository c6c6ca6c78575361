"""Asks a server with the Prometheus HTTP API, for commands that are not asynchronous."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any, Final
from urllib.parse import urlencode

import trio

from ..errors import QueryError, TinyObsError
from ..http_client import Client, HttpError

DEFAULT_URL: Final = "http://127.0.0.1:9090"
ANSWER_BYTES_MAX: Final = 1 << 30
NO_CONTENT: Final = 204
_FORM: Final = {"Content-Type": "application/x-www-form-urlencoded"}


def ask(
    url: str,
    path: str,
    parameters: Sequence[tuple[str, str]],
    seconds: float,
    *,
    get: bool = False,
    bytes_max: int = ANSWER_BYTES_MAX,
) -> dict[str, Any]:
    """Return the envelope of the answer of `/api/v1/PATH`, of success or of error; {} where it has no content.

    Raises `QueryError` for an answer that is late or too long, `TinyObsError` where there is no such server.
    """
    return trio.run(_ask, f"{url.rstrip('/')}/api/v1/{path}", urlencode(parameters), seconds, get, bytes_max)


async def _ask(url: str, form: str, seconds: float, get: bool, bytes_max: int) -> dict[str, Any]:
    client = Client()
    body = bytearray()
    try:
        with trio.fail_after(seconds):
            request = ("GET", f"{url}?{form}", {}, None) if get else ("POST", url, _FORM, form.encode())
            async with client.stream(*request) as answer:
                async with aclosing(answer.pieces()) as pieces:
                    async for piece in pieces:
                        body += piece
                        if len(body) > bytes_max:
                            raise QueryError(f"the answer of {url} is larger than {bytes_max} bytes")
                status = answer.status
    except HttpError as e:
        raise TinyObsError(f"no answer from {url}: {e}; is a daemon running there? (--url)") from e
    except trio.TooSlowError:
        raise QueryError(f"no answer from {url} within {seconds:g} s") from None
    finally:
        await client.aclose()
    if status == NO_CONTENT:
        return {}
    try:
        envelope = json.loads(body)
    except ValueError:
        envelope = None
    if not isinstance(envelope, dict) or "status" not in envelope:
        raise TinyObsError(f"{url} answered {status} with something else than the Prometheus API")
    return envelope
