"""One request with a whole, bounded answer: what talks to a cloud's interfaces has in common.

Not for bodies that are read in pieces; those use `tinyobs.http_client.Client.stream`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any, Final

import trio
from attrs import field, frozen

from ..config.http_client import HttpClientConfig, ProxyConfig
from ..errors import TinyObsError
from ..http_client import Client, HttpError
from ..http_client.files import read_secret
from ..model.secrets import Secret

ANSWER_BYTES_MAX: Final = 64 << 20
"""Longest answer of a cloud's interface; a page of a list is far shorter."""
THREAD_BYTES: Final = 256 << 10
"""Answers from this length on are decoded in a worker thread."""
REASON_LENGTH_MAX: Final = 200
"""How much an error repeats of what a server said, in characters."""


class CloudError(TinyObsError):
    """A cloud's interface refused a request, said nothing in time, or said what makes no sense."""


class RefusedError(CloudError):
    """An answer with another status than success; `status` is the number."""

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        super().__init__(text)


@frozen
class Reply:
    """An answer; it may hold tokens, so it is never shown."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    """Found without regard to upper and lower case."""
    body: bytes = field(repr=False)


async def exchange(
    client: Client,
    url: str,
    *,
    seconds: float,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    content: bytes | None = None,
    answer_bytes_max: int = ANSWER_BYTES_MAX,
) -> Reply:
    """Return the answer, whatever its status.

    Raises `CloudError` that names the URL when there is none, it is too long, or it takes more than `seconds`.
    """
    try:
        with trio.fail_after(seconds):
            async with client.stream(method, url, headers, content) as answer, aclosing(answer.pieces()) as pieces:
                body = bytearray()
                async for piece in pieces:
                    body += piece
                    if len(body) > answer_bytes_max:
                        raise CloudError(f"{origin(url)}: the answer is longer than {answer_bytes_max} bytes")
                return Reply(answer.status, answer.headers, bytes(body))
    except trio.TooSlowError:
        raise CloudError(f"{origin(url)}: no whole answer within {seconds:g} s") from None
    except HttpError as e:
        raise CloudError(f"{origin(url)}: {e}") from e


def expect_success(reply: Reply, url: str) -> Reply:
    """Return the answer; raises `RefusedError`, with what the server said of it, unless the status is 2xx."""
    if 200 <= reply.status < 300:
        return reply
    reason = reason_of(reply)
    raise RefusedError(reply.status, f"{origin(url)} answered {reply.status}" + (f": {reason}" if reason else ""))


async def decode_json(reply: Reply, url: str) -> Any:
    """Return the value of a JSON body; raises `CloudError` when it is none."""
    try:
        if len(reply.body) < THREAD_BYTES:
            return json.loads(reply.body)
        return await trio.to_thread.run_sync(json.loads, reply.body)
    except (ValueError, RecursionError) as e:
        what = e.msg if isinstance(e, json.JSONDecodeError) else type(e).__name__
        raise CloudError(f"{origin(url)}: the answer is not JSON ({what})") from None


class Clients:
    """Clients of what gives tokens, made when they are needed first."""

    def __init__(self) -> None:
        self._remote: Client | None = None
        self._local: Client | None = None

    def remote(self) -> Client:
        """Return a client for the servers of a cloud; it goes through the proxies that the environment names."""
        if self._remote is None:
            self._remote = Client(HttpClientConfig(proxy=ProxyConfig(proxy_from_environment=True)))
        return self._remote

    def local(self) -> Client:
        """Return a client for services of the machine itself, to which no proxy leads."""
        if self._local is None:
            self._local = Client()
        return self._local

    async def aclose(self) -> None:
        """Close their connections."""
        for client in (self._remote, self._local):
            if client is not None:
                await client.aclose()


async def read_token_file(file: str) -> Secret:
    """Return the content of a file with a token, which others write anew now and then; raises `CloudError`."""
    try:
        return Secret(await trio.to_thread.run_sync(read_secret, file))
    except HttpError as e:
        raise CloudError(str(e)) from None


def origin(url: str) -> str:
    """Return scheme, host and path of a URL, which name it without its parameters."""
    return url.partition("?")[0]


def reason_of(reply: Reply) -> str:
    """Return what an error answer says, "" where it has no known form: one line, shortened."""
    try:
        value: Any = json.loads(reply.body[: 64 << 10])
    except (ValueError, RecursionError):
        return ""
    return _first_text(value)[:REASON_LENGTH_MAX].replace("\n", " ")


def _first_text(value: Any, depth: int = 0) -> str:
    """Return the text below the keys that interfaces have for a reason."""
    if isinstance(value, str):
        return value if depth else ""
    if isinstance(value, list) and value and depth < 4:
        return _first_text(value[0], depth + 1)
    if isinstance(value, dict) and depth < 4:
        for key in ("error_description", "message", "Message", "reason", "title", "error", "errors", "detail"):
            if value.get(key) and (text := _first_text(value[key], depth + 1)):
                return text
    return ""
