"""OAuth2 access tokens: fetched from the token endpoint, kept until shortly before they expire, shared by all requests.

Grants: client credentials (RFC 6749, section 4.4) and JWT bearer (RFC 7523).  As Go's client does, the first request of
the former sends id and secret as Basic authentication; where the endpoint refuses, they go into the form, and what
worked is remembered.  What an endpoint answers is never repeated in an error but for its `error` code.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, quote_plus, urlencode

import trio
from attrs import frozen

from ..config.http_client import JWT_BEARER, OAuth2
from .assertions import assertion
from .errors import HttpError
from .files import WatchedFiles, read_secret
from .places import basic

EARLY_SECONDS: Final = 10.0
"""How long before its end a token is replaced, or a quarter of its life where that is shorter."""
ANSWER_BYTES_MAX: Final = 1 << 20
EXPIRES_SECONDS_MAX: Final = 10 * 366 * 86_400.0
_CODE: Final = re.compile(r"[a-z_]{1,64}")
"""Codes of errors (RFC 6749, section 5.2)."""
_TYPES: Final = {"": "Bearer", "bearer": "Bearer", "mac": "MAC", "basic": "Basic"}

Post = Callable[[str, Mapping[str, str], bytes], Awaitable[tuple[int, str, bytes]]]
"""Sends a form and returns (status, content type, body of at most `ANSWER_BYTES_MAX` bytes)."""


@frozen(repr=False)
class Token:
    """What goes into the Authorization header, until when, in seconds of trio's clock."""

    header: str
    replace_at: float


class Tokens:
    """The token of one configuration."""

    def __init__(self, config: OAuth2, post: Post) -> None:
        self._config = config
        self._post = post
        self._is_jwt = config.grant_type == JWT_BEARER
        self._file = config.client_certificate_key_file if self._is_jwt else config.client_secret_file
        self._files = WatchedFiles((self._file,))
        inline = config.client_certificate_key if self._is_jwt else config.client_secret
        self._secret: str | None = None if self._file else inline.reveal()
        self._token: Token | None = None
        self._in_form = False
        """Whether the endpoint wants id and secret in the form."""
        self._lock = trio.Lock()
        self._attempts = 0
        self._failure: HttpError | None = None

    async def header(self) -> str:
        """Return the value of the Authorization header; raises `HttpError` when there is no token."""
        self._read_secret()
        if (header := self._usable()) is not None:
            return header
        attempts = self._attempts
        async with self._lock:
            if (header := self._usable()) is not None:
                return header
            if self._failure is not None and self._attempts != attempts:
                raise HttpError(str(self._failure))  # another request has just asked for all who waited
            return await self._fetch()

    async def renewed(self, used: str) -> str:
        """Return another token than the one that a server has refused."""
        if self._token is not None and self._token.header == used:
            self._token = None
        return await self.header()

    def _usable(self) -> str | None:
        token = self._token
        return token.header if token is not None and trio.current_time() < token.replace_at else None

    def _read_secret(self) -> None:
        """Read the file with the secret where it may have changed; another secret makes the token void."""
        if not self._file or not self._files.changed(trio.current_time()):
            return
        try:
            secret = read_secret(self._file)
        except HttpError:
            self._files.look_again()
            raise
        if secret != self._secret:
            self._secret, self._token = secret, None

    async def _fetch(self) -> str:
        try:
            status, kind, body = await self._ask()
            self._token = _token(status, kind, body)
        except HttpError as e:
            self._failure = e if str(e).startswith("oauth2") else HttpError(f"oauth2: cannot fetch token: {e}")
            raise self._failure from e
        else:
            self._failure = None
        finally:
            self._attempts += 1
        return self._token.header

    async def _ask(self) -> tuple[int, str, bytes]:
        """Ask the endpoint; a second time in another way where it does not take the first."""
        assert self._secret is not None
        form = dict(self._config.endpoint_params)
        if self._is_jwt:
            form = {"grant_type": JWT_BEARER, **form, "assertion": assertion(self._config, self._secret, time.time())}
            return await self._send(form, {})
        form = {"grant_type": "client_credentials", **form}
        if self._config.scopes:
            form["scope"] = " ".join(self._config.scopes)
        own = {"client_id": self._config.client_id} | ({"client_secret": self._secret} if self._secret else {})
        if self._in_form:
            return await self._send(form | own, {})
        header = {"Authorization": basic(quote_plus(self._config.client_id), quote_plus(self._secret))}
        answer = await self._send(form, header)
        if 200 <= answer[0] < 300:
            return answer
        again = await self._send(form | own, {})
        self._in_form = 200 <= again[0] < 300
        return again

    async def _send(self, form: Mapping[str, str], headers: Mapping[str, str]) -> tuple[int, str, bytes]:
        sent = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json", **headers}
        assert self._config.token_url
        return await self._post(self._config.token_url, sent, urlencode(form).encode())


def _token(status: int, kind: str, body: bytes) -> Token:
    """Return the token of an answer (RFC 6749, section 5.1), which some endpoints write as a form."""
    kind = kind.partition(";")[0].strip().lower()
    found: Mapping[str, Any] = {}
    try:
        if kind in ("application/x-www-form-urlencoded", "text/plain"):
            found = dict(parse_qsl(body.decode()))
        else:
            found = json.loads(body)
    except (ValueError, RecursionError):
        found = {}
    found = found if isinstance(found, Mapping) else {}
    code = str(found.get("error", ""))
    told = f" ({code})" if _CODE.fullmatch(code) else ""
    if not 200 <= status < 300:
        raise HttpError(f"oauth2: cannot fetch token: the token endpoint answered with status {status}{told}")
    access = found.get("access_token")
    if code or not isinstance(access, str) or not access:
        raise HttpError(f"oauth2: server response missing access_token{told}")
    kind = str(found.get("token_type", ""))
    life = _seconds(found.get("expires_in"))
    replace_at = trio.current_time() + life - min(EARLY_SECONDS, life / 4)
    return Token(f"{_TYPES.get(kind.lower(), kind)} {access}", replace_at)


def _seconds(expires_in: Any) -> float:
    """Return the life of a token; one without an end gets a long one."""
    try:
        seconds = float(expires_in or 0)
    except (TypeError, ValueError):
        seconds = 0.0
    return min(seconds, EXPIRES_SECONDS_MAX) if seconds > 0 else EXPIRES_SECONDS_MAX
