"""Access tokens of Google Cloud, from "application default credentials".

In order: the key file that the configuration or `GOOGLE_APPLICATION_CREDENTIALS` names, the file that
`gcloud auth application-default login` writes, the metadata server of the machine.  Signing with the key of a service
account needs the package `cryptography`; nothing else here does.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import trio

from ..http_client import Client
from ..http_client.files import FILE_BYTES_MAX
from .exchange import Clients, CloudError, decode_json, exchange, expect_success
from .jwt import rsa_jwt
from .tokens import Renewed, Token, token_of

TOKEN_URL: Final = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
METADATA_HOST: Final = "metadata.google.internal"
TOKEN_SECONDS: Final = 30.0
METADATA_SECONDS: Final = 5.0
ASSERTION_SECONDS: Final = 3600
"""How long a signed claim is good; Google takes no more."""
ANSWER_BYTES_MAX: Final = 1 << 20
FORM: Final = "application/x-www-form-urlencoded"
_JWT_GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"


class GoogleTokens:
    """Tokens for one scope, renewed before they expire."""

    def __init__(
        self,
        scope: str,
        now_ms: Callable[[], int],
        credentials_file: str = "",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """credentials_file: the key of a service account; it goes before all else."""
        self._scope, self._now_ms, self._file = scope, now_ms, credentials_file
        self._environment = os.environ if environment is None else environment
        self._clients = Clients()
        self._tokens: Renewed[Token] = Renewed(self._fetch, lambda token: token.expires_ms, now_ms)

    async def get(self) -> Token:
        """Return a token; raises `CloudError` where none can be had."""
        return await self._tokens.get()

    def forget(self) -> None:
        """Fetch a new one next time."""
        self._tokens.forget()

    async def aclose(self) -> None:
        """Close the connections to whoever gave tokens and to the metadata server."""
        await self._clients.aclose()

    async def _fetch(self) -> Token:
        file = self._file or self._environment.get("GOOGLE_APPLICATION_CREDENTIALS", "")
        found = await trio.to_thread.run_sync(_read_key_file, file, True) if file else None
        if found is None:
            home = self._environment.get("CLOUDSDK_CONFIG") or f"{self._environment.get('HOME', '')}/.config/gcloud"
            found = await trio.to_thread.run_sync(_read_key_file, f"{home}/application_default_credentials.json", False)
        if found is None:
            return await self._from_metadata()
        kind = found.get("type")
        if kind == "service_account":
            form = {"grant_type": _JWT_GRANT, "assertion": service_account_claim(found, self._scope, self._now_ms())}
            url = found.get("token_uri") or TOKEN_URL
        elif kind == "authorized_user":
            form = {"grant_type": "refresh_token"}
            form |= {key: str(found.get(key, "")) for key in ("client_id", "client_secret", "refresh_token")}
            url = TOKEN_URL
        else:
            raise CloudError(f"Google credentials of type '{kind}' are not supported, only service_account and user")
        return await self._ask(
            self._clients.remote(), str(url), TOKEN_SECONDS, "POST", {"Content-Type": FORM}, urlencode(form).encode()
        )

    async def _from_metadata(self) -> Token:
        host = self._environment.get("GCE_METADATA_HOST") or METADATA_HOST
        url = f"http://{host}/computeMetadata/v1/instance/service-accounts/default/token?" + urlencode(
            {"scopes": self._scope}
        )
        try:
            return await self._ask(self._clients.local(), url, METADATA_SECONDS, "GET", {"Metadata-Flavor": "Google"})
        except CloudError as e:
            raise CloudError(
                "no Google credentials: GOOGLE_APPLICATION_CREDENTIALS is not set, and there is no metadata server "
                f"({e})"
            ) from None

    async def _ask(
        self,
        client: Client,
        url: str,
        seconds: float,
        method: str,
        headers: Mapping[str, str],
        content: bytes | None = None,
    ) -> Token:
        began = self._now_ms()
        reply = await exchange(
            client,
            url,
            seconds=seconds,
            method=method,
            headers=headers,
            content=content,
            answer_bytes_max=ANSWER_BYTES_MAX,
        )
        return token_of(await decode_json(expect_success(reply, url), url), url, began)


def service_account_claim(key: Mapping[str, Any], scope: str, now_ms: int) -> str:
    """Return the signed claim (JWT, RS256) that a service account's key exchanges for a token."""
    now = now_ms // 1000
    claims = {
        "iss": key.get("client_email", ""),
        "scope": scope,
        "aud": key.get("token_uri") or TOKEN_URL,
        "iat": now,
        "exp": now + ASSERTION_SECONDS,
    }
    return rsa_jwt("RS256", str(key.get("private_key_id", "")), claims, str(key.get("private_key", "")))


def _read_key_file(file: str, must_exist: bool) -> dict[str, Any] | None:
    try:
        with Path(file).open("rb") as f:
            value = json.loads(f.read(FILE_BYTES_MAX))
    except FileNotFoundError as e:
        if not must_exist:
            return None
        raise CloudError(f"cannot read Google credentials from {file}: {e.strerror}") from None
    except (OSError, ValueError, RecursionError) as e:
        what = e.strerror if isinstance(e, OSError) else "it is not JSON"
        raise CloudError(f"cannot read Google credentials from {file}: {what}") from None
    if not isinstance(value, dict):
        raise CloudError(f"cannot read Google credentials from {file}: it is not a JSON object")
    return value
