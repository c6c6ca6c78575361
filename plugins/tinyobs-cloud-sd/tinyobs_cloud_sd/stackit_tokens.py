"""Access tokens of STACKIT: claims signed with a service account's key (RS512) are exchanged for them."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlencode

import trio
from attrs import frozen
from tinyobs.cloud_auth.exchange import CloudError, decode_json, exchange, expect_success
from tinyobs.cloud_auth.jwt import rsa_jwt
from tinyobs.cloud_auth.tokens import Renewed, Token, token_of
from tinyobs.errors import TinyObsError
from tinyobs.http_client import Client
from tinyobs.http_client.files import read_secret
from tinyobs.model.secrets import Secret

TOKEN_URL: Final = "https://service-account.api.stackit.cloud/token"  # noqa: S105 - an address
TOKEN_SECONDS: Final = 30.0
ASSERTION_SECONDS: Final = 600
"""How long a signed claim is good."""
ANSWER_BYTES_MAX: Final = 1 << 20
CREDENTIALS_FILE: Final = ".stackit/credentials.json"
_HEADERS: Final = {"Content-Type": "application/x-www-form-urlencoded"}
_GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"


@frozen
class StackitAccount:
    """Where the keys of a service account are."""

    key: Secret
    key_file: str
    private_key: Secret
    private_key_file: str
    credentials_file: str
    """Names the file of the private key where nothing else does; empty for `~/.stackit/credentials.json`."""


class StackitTokens:
    """Tokens of one service account, renewed before they expire."""

    def __init__(
        self,
        account: StackitAccount,
        now_ms: Callable[[], int],
        client: Callable[[], Client],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._account, self._now_ms, self._client = account, now_ms, client
        self._environment = os.environ if environment is None else environment
        self._tokens: Renewed[Token] = Renewed(self._fetch, lambda token: token.expires_ms, now_ms)

    async def get(self) -> Token:
        """Return a token; raises `TinyObsError` where none can be had."""
        return await self._tokens.get()

    def forget(self) -> None:
        """Fetch a new one next time."""
        self._tokens.forget()

    async def _fetch(self) -> Token:
        began = self._now_ms()
        claim = await trio.to_thread.run_sync(self._claim, began)
        url = self._environment.get("STACKIT_TOKEN_BASEURL") or TOKEN_URL
        reply = await exchange(
            self._client(),
            url,
            seconds=TOKEN_SECONDS,
            method="POST",
            headers=_HEADERS,
            content=urlencode({"grant_type": _GRANT, "assertion": claim}).encode(),
            answer_bytes_max=ANSWER_BYTES_MAX,
        )
        return token_of(await decode_json(expect_success(reply, url), url), url, began)

    def _claim(self, now_ms: int) -> str:
        account = self._account
        text = account.key.reveal() or read_secret(account.key_file)
        credentials = _lower(_object(text, "the service account's key").get("credentials"))
        private = self._private_key() or str(credentials.get("privatekey") or "")
        if not private:
            raise CloudError("private key is not part of the service account key and could not be found")
        now = now_ms // 1000
        claims = {name: str(credentials.get(name, "")) for name in ("iss", "sub", "aud")}
        times = {"iat": now, "exp": now + ASSERTION_SECONDS}
        return rsa_jwt("RS512", str(credentials.get("kid", "")), {**claims, **times, "jti": str(uuid.uuid4())}, private)

    def _private_key(self) -> str:
        account, environment = self._account, self._environment
        if account.private_key:
            return account.private_key.reveal()
        file = account.private_key_file or environment.get("STACKIT_PRIVATE_KEY_PATH", "")
        if not file:
            named = account.credentials_file or environment.get("STACKIT_CREDENTIALS_PATH", "")
            named = named or f"{environment.get('HOME', '')}/{CREDENTIALS_FILE}"
            try:
                found = _object(read_secret(named), named)
            except TinyObsError:
                return ""
            file = str(found.get("stackit_private_key_path") or "")
        return read_secret(file) if file else ""


def _object(text: str, name: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise CloudError(f"{name} is not JSON") from None
    if not isinstance(value, dict):
        raise CloudError(f"{name} is not a JSON object")
    return _lower(value)


def _lower(value: Any) -> dict[str, Any]:
    """Return an object with its keys in small letters: STACKIT's own tools take them in any."""
    return {key.lower(): item for key, item in value.items()} if isinstance(value, dict) else {}
