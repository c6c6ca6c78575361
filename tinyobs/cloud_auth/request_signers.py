"""What signs the requests of remote write for a cloud, made from the keys `sigv4`, `azuread` and `google_iam`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Protocol

from attrs import frozen

from ..config.cloud_auth import AzureAdConfig, GoogleIamConfig, SigV4Config
from ..http_client.signing import RequestSigner
from .aws_credentials import AwsAccess, AwsSettings
from .aws_signing import sign
from .azure_tokens import CHINA, GOVERNMENT, PUBLIC, AzureCloud, AzureIdentity, AzureMethod, AzureTokens
from .google_tokens import GoogleTokens
from .tokens import Token

SERVICE: Final = "aps"
"""Amazon Managed Service for Prometheus."""
MONITORING: Final = "https://www.googleapis.com/auth/monitoring.write"
_UNSIGNED: Final = frozenset({"uber-trace-id"})
EXPIRED: Final = "ExpiredTokenException"
UNAUTHORIZED: Final = 401
FORBIDDEN: Final = 403


@frozen
class _Audience:
    """An Azure cloud, and what its ingestion calls itself."""

    cloud: AzureCloud
    scope: str


_AUDIENCES: Final = {
    "AzurePublic": _Audience(PUBLIC, "https://monitor.azure.com//.default"),
    "AzureChina": _Audience(CHINA, "https://monitor.azure.cn//.default"),
    "AzureGovernment": _Audience(GOVERNMENT, "https://monitor.azure.us//.default"),
}


class Tokens(Protocol):
    """What gives tokens: of Azure or of Google."""

    async def get(self) -> Token:
        """Return a token that is good."""

    def forget(self) -> None:
        """Get another one next time."""

    async def aclose(self) -> None:
        """Close what was opened."""


class CloudKeys(Protocol):
    """The part of a `remote_write` entry that is read here."""

    @property
    def sigv4(self) -> SigV4Config | None:
        """Signatures of AWS."""

    @property
    def azuread(self) -> AzureAdConfig | None:
        """Tokens of Azure."""

    @property
    def google_iam(self) -> GoogleIamConfig | None:
        """Tokens of Google."""


def signer_of(config: CloudKeys, now_ms: Callable[[], int]) -> RequestSigner | None:
    """Return what signs the requests of an entry, None where no cloud is configured.  Reads and asks nothing yet."""
    if config.sigv4 is not None:
        return SigV4Signer(config.sigv4, now_ms)
    if config.azuread is not None:
        return TokenSigner(azure_tokens(config.azuread, now_ms))
    if config.google_iam is not None:
        file = config.google_iam.credentials_file
        return TokenSigner(GoogleTokens(MONITORING, now_ms, file))
    return None


class SigV4Signer(RequestSigner):
    """Signs as AWS wants it."""

    def __init__(self, config: SigV4Config, now_ms: Callable[[], int]) -> None:
        self._service, self._now_ms = config.service_name or SERVICE, now_ms
        settings = AwsSettings(
            region=config.region,
            access_key=config.access_key,
            secret_key=config.secret_key,
            profile=config.profile,
            role_arn=config.role_arn,
            external_id=config.external_id,
            session_name=config.session_name,
            tags=config.tags,
            has_fips_sts=config.use_fips_sts_endpoint,
        )
        self._access = AwsAccess(settings, now_ms)

    async def headers(self, method: str, url: str, headers: Mapping[str, str], content: bytes) -> Mapping[str, str]:
        """Return the signature and what belongs to it."""
        return sign(
            method,
            url,
            {name: value for name, value in headers.items() if name.lower() not in _UNSIGNED},
            content,
            keys=await self._access.keys(),
            region=await self._access.region(),
            service=self._service,
            now_ms=self._now_ms(),
        )

    def may_help(self, status: int, headers: Mapping[str, str]) -> bool:
        """Get other keys when those that signed have ended on the way."""
        if status != FORBIDDEN or not headers.get("x-amzn-errortype", "").startswith(EXPIRED):
            return False
        self._access.forget()
        return True

    async def aclose(self) -> None:
        """Close what was opened."""
        await self._access.aclose()


class TokenSigner(RequestSigner):
    """Sends a token, and another when one is refused."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    async def headers(self, method: str, url: str, headers: Mapping[str, str], content: bytes) -> Mapping[str, str]:
        """Return the token."""
        return {"Authorization": f"Bearer {(await self._tokens.get()).value.reveal()}"}

    def may_help(self, status: int, headers: Mapping[str, str]) -> bool:
        """Get another token when this one was refused."""
        if status != UNAUTHORIZED:
            return False
        self._tokens.forget()
        return True

    async def aclose(self) -> None:
        """Close what was opened."""
        await self._tokens.aclose()


def azure_tokens(config: AzureAdConfig, now_ms: Callable[[], int]) -> AzureTokens:
    """Return the tokens for the way that is configured."""
    if config.oauth is not None:
        oauth = config.oauth
        who = AzureIdentity(AzureMethod.OAUTH, oauth.tenant_id, oauth.client_id, oauth.client_secret)
    elif config.workload_identity is not None:
        given = config.workload_identity
        who = AzureIdentity(
            AzureMethod.WORKLOAD_IDENTITY, given.tenant_id, given.client_id, token_file=given.token_file_path
        )
    elif config.managed_identity is not None:
        who = AzureIdentity(AzureMethod.MANAGED_IDENTITY, client_id=config.managed_identity.client_id)
    else:
        who = AzureIdentity(AzureMethod.SDK, config.sdk.tenant_id if config.sdk is not None else "")
    audience = _AUDIENCES[config.cloud]
    return AzureTokens(who, audience.cloud, config.scope or audience.scope, now_ms)
