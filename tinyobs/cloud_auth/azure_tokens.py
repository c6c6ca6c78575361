"""Access tokens of Azure (Microsoft Entra ID): a client secret, a managed identity, a workload identity.

`SDK` is the order of Azure's own libraries: the variables of the environment, a workload identity, a managed identity.
Their further steps, which run other programs (`az` and the like), are not taken.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Final
from urllib.parse import quote, urlencode

from attrs import field, frozen

from ..http_client import Client
from ..model.secrets import Secret
from .exchange import Clients, CloudError, decode_json, exchange, expect_success, read_token_file
from .tokens import Renewed, Token, token_of

METADATA: Final = "http://169.254.169.254"
TOKEN_SECONDS: Final = 30.0
METADATA_SECONDS: Final = 5.0
ANSWER_BYTES_MAX: Final = 1 << 20
FORM: Final = "application/x-www-form-urlencoded"
_ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class AzureMethod(StrEnum):
    """Ways to authenticate, as configurations name them."""

    OAUTH = "OAuth"
    MANAGED_IDENTITY = "ManagedIdentity"
    SDK = "SDK"
    WORKLOAD_IDENTITY = "WorkloadIdentity"


@frozen
class AzureCloud:
    """The addresses of one of Azure's separate clouds."""

    authority: str
    resource_manager: str


PUBLIC: Final = AzureCloud("https://login.microsoftonline.com", "https://management.azure.com")
CHINA: Final = AzureCloud("https://login.chinacloudapi.cn", "https://management.chinacloudapi.cn")
GOVERNMENT: Final = AzureCloud("https://login.microsoftonline.us", "https://management.usgovcloudapi.net")

CLOUDS: Final[Mapping[str, AzureCloud]] = {
    "AZURECHINACLOUD": CHINA,
    "AZURECLOUD": PUBLIC,
    "AZUREGERMANCLOUD": PUBLIC,
    "AZUREPUBLICCLOUD": PUBLIC,
    "AZUREUSGOVERNMENT": GOVERNMENT,
    "AZUREUSGOVERNMENTCLOUD": GOVERNMENT,
}
"""Name in upper case -> cloud."""


@frozen
class AzureIdentity:
    """Who asks; what a method does not need stays empty."""

    method: AzureMethod
    tenant_id: str = ""
    client_id: str = ""
    client_secret: Secret = field(factory=Secret)
    token_file: str = ""
    """Where the token of a workload identity is; empty: where `AZURE_FEDERATED_TOKEN_FILE` says."""


class AzureTokens:
    """Tokens for one scope, renewed before they expire."""

    def __init__(
        self,
        identity: AzureIdentity,
        cloud: AzureCloud,
        scope: str,
        now_ms: Callable[[], int],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """scope: what the token is for, e.g. `https://management.azure.com/.default`."""
        self._identity, self._cloud, self._scope = identity, cloud, scope
        self._now_ms = now_ms
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
        """Close the connections to whoever gave tokens and to the metadata service."""
        await self._clients.aclose()

    async def _fetch(self) -> Token:
        who = self._identity
        match who.method:
            case AzureMethod.OAUTH:
                return await self._client_secret(who.tenant_id, who.client_id, who.client_secret)
            case AzureMethod.MANAGED_IDENTITY:
                return await self._managed(who.client_id)
            case AzureMethod.WORKLOAD_IDENTITY:
                return await self._workload(who.tenant_id, who.client_id)
            case AzureMethod.SDK:
                return await self._in_order(who.tenant_id)

    async def _in_order(self, tenant_id: str) -> Token:
        env = self._environment
        tenant, client = tenant_id or env.get("AZURE_TENANT_ID", ""), env.get("AZURE_CLIENT_ID", "")
        if tenant and client and env.get("AZURE_CLIENT_SECRET"):
            return await self._client_secret(tenant, client, Secret(env["AZURE_CLIENT_SECRET"]))
        if env.get("AZURE_FEDERATED_TOKEN_FILE"):
            return await self._workload(tenant, client)
        return await self._managed(client)

    async def _client_secret(self, tenant: str, client_id: str, secret: Secret) -> Token:
        return await self._sign_in(tenant, {"client_id": client_id, "client_secret": secret.reveal()})

    async def _workload(self, tenant: str, client_id: str) -> Token:
        env = self._environment
        file = self._identity.token_file or env.get("AZURE_FEDERATED_TOKEN_FILE", "")
        tenant, client_id = tenant or env.get("AZURE_TENANT_ID", ""), client_id or env.get("AZURE_CLIENT_ID", "")
        if not (file and tenant and client_id):
            raise CloudError(
                "a workload identity needs AZURE_FEDERATED_TOKEN_FILE, AZURE_TENANT_ID and AZURE_CLIENT_ID"
            )
        assertion = await read_token_file(file)
        return await self._sign_in(
            tenant,
            {
                "client_id": client_id,
                "client_assertion_type": _ASSERTION_TYPE,
                "client_assertion": assertion.reveal(),
            },
        )

    async def _sign_in(self, tenant: str, form: Mapping[str, str]) -> Token:
        authority = self._cloud.authority.rstrip("/")
        url = f"{authority}/{quote(tenant, safe='')}/oauth2/v2.0/token"
        body = {**form, "grant_type": "client_credentials", "scope": self._scope}
        content = urlencode(body).encode()
        return await self._ask(self._clients.remote(), url, TOKEN_SECONDS, {"Content-Type": FORM}, content)

    async def _managed(self, client_id: str) -> Token:
        """Ask the address that App Service and Container Apps name, else the machine's metadata service."""
        env = self._environment
        parameters = {"resource": self._scope.removesuffix("/.default")} | (
            {"client_id": client_id} if client_id else {}
        )
        if env.get("IDENTITY_ENDPOINT") and env.get("IDENTITY_HEADER"):
            base, headers = env["IDENTITY_ENDPOINT"], {"X-IDENTITY-HEADER": env["IDENTITY_HEADER"]}
            parameters["api-version"] = "2019-08-01"
        else:
            host = (env.get("AZURE_POD_IDENTITY_AUTHORITY_HOST") or METADATA).rstrip("/")
            base, headers = f"{host}/metadata/identity/oauth2/token", {"Metadata": "true"}
            parameters["api-version"] = "2018-02-01"
        return await self._ask(self._clients.local(), f"{base}?{urlencode(parameters)}", METADATA_SECONDS, headers)

    async def _ask(
        self, client: Client, url: str, seconds: float, headers: Mapping[str, str], content: bytes | None = None
    ) -> Token:
        began = self._now_ms()
        reply = await exchange(
            client,
            url,
            seconds=seconds,
            method="GET" if content is None else "POST",
            headers=headers,
            content=content,
            answer_bytes_max=ANSWER_BYTES_MAX,
        )
        value: Any = await decode_json(expect_success(reply, url), url)
        token = token_of(value, url, began)
        if token.expires_ms is None and str(value.get("expires_on", "")).isdigit():
            token = Token(token.value, int(value["expires_on"]) * 1000, token.type)
        return token
