"""How remote write proves to a cloud who sends: the keys `sigv4`, `azuread` and `google_iam`.

Names and messages: prometheus/sigv4 sigv4_config.go, prometheus storage/remote/azuread and googleiam.  Here is only what is
configured; `tinyobs.cloud_auth` does it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from attrs import frozen

from ..model.secrets import Secret
from .fields import Fault, FilePath, setting, unsupported

_SESSION_NAME: Final = re.compile(r"[\w+=,.@-]{2,64}\Z", re.ASCII)
_SCOPE: Final = re.compile(r"[\w\s:/.\-]+\Z", re.ASCII)
_TENANT: Final = re.compile(r"[0-9a-zA-Z-.]+\Z")
_UUID: Final = re.compile(r"(?:urn:uuid:|\{)?[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}\}?\Z")
TAG_KEY_LENGTH_MAX: Final = 128
TAG_VALUE_LENGTH_MAX: Final = 256
AZURE_TOKEN_FILE: Final = FilePath("/var/run/secrets/azure/tokens/azure-identity-token")
"""Where AKS puts the token of a workload identity."""
AZURE_CLOUDS: Final = ("AzureChina", "AzureGovernment", "AzurePublic")


@frozen(kw_only=True)
class SigV4Config:
    """Signatures of AWS; what is empty is taken from where AWS' own tools take it."""

    region: str = setting(default="")
    access_key: str = setting(default="")
    secret_key: Secret = setting(default=Secret())
    profile: str = setting(default="")
    role_arn: str = setting(default="")
    external_id: str = setting(default="")
    session_name: str = setting(default="")
    tags: tuple[tuple[str, str], ...] = setting(default=())
    use_fips_sts_endpoint: bool = setting(default=False)
    service_name: str = setting(default="")
    """Empty: `aps`, Amazon Managed Service for Prometheus."""

    def faults(self) -> Iterator[Fault]:
        """Yield contradictions."""
        if bool(self.access_key) != bool(self.secret_key):
            yield Fault(
                "must provide a AWS SigV4 Access key and Secret Key if credentials are specified in the SigV4 config",
                "access_key",
            )
        for key in ("external_id", "session_name", "tags"):
            if getattr(self, key) and not self.role_arn:
                yield Fault(f"{key} can only be used with role_arn", key)
        if self.session_name and not _SESSION_NAME.match(self.session_name):
            yield Fault(
                r"session_name must match ^[\w+=,.@-]{2,64}$ (2-64 alphanumeric and +=,.@- characters)", "session_name"
            )
        for name, value in self.tags:
            if not name:
                yield Fault("tag key must not be empty", "tags")
            if len(name.encode()) > TAG_KEY_LENGTH_MAX:
                yield Fault(f'tag key "{name}" exceeds maximum length of {TAG_KEY_LENGTH_MAX}', "tags")
            if len(value.encode()) > TAG_VALUE_LENGTH_MAX:
                yield Fault(f'tag value for key "{name}" exceeds maximum length of {TAG_VALUE_LENGTH_MAX}', "tags")


@frozen(kw_only=True)
class AzureManagedIdentity:
    """An identity of the machine; without `client_id` the one that it has by itself."""

    client_id: str = setting(default="")

    def faults(self) -> Iterator[Fault]:
        """Yield an id that is none."""
        if self.client_id and not _UUID.match(self.client_id):
            yield Fault("the provided Azure Managed Identity client_id is invalid", "client_id")


@frozen(kw_only=True)
class AzureWorkloadIdentity:
    """An identity that a token in a file proves."""

    client_id: str = setting(default="")
    tenant_id: str = setting(default="")
    token_file_path: FilePath = setting(default=AZURE_TOKEN_FILE)

    def faults(self) -> Iterator[Fault]:
        """Yield what is missing or no id."""
        yield from _id_faults("Workload Identity", self.client_id, self.tenant_id)


@frozen(kw_only=True)
class AzureOAuth:
    """An application with a secret."""

    client_id: str = setting(default="")
    client_secret: Secret = setting(default=Secret())
    tenant_id: str = setting(default="")

    def faults(self) -> Iterator[Fault]:
        """Yield what is missing or no id."""
        if not self.client_secret:
            yield Fault("must provide an Azure OAuth client_secret in the Azure AD config", "client_secret")
        yield from _id_faults("OAuth", self.client_id, self.tenant_id)


@frozen(kw_only=True)
class AzureSdk:
    """What the environment has, in the order of Azure's libraries."""

    tenant_id: str = setting(default="")

    def faults(self) -> Iterator[Fault]:
        """Yield an id that is none."""
        if self.tenant_id and not _TENANT.match(self.tenant_id):
            yield Fault("the provided Azure SDK tenant_id is invalid", "tenant_id")


@frozen(kw_only=True)
class AzureAdConfig:
    """Tokens of Microsoft Entra ID, got in one of four ways."""

    cloud: str = setting(default="AzurePublic")
    managed_identity: AzureManagedIdentity | None = setting(default=None)
    workload_identity: AzureWorkloadIdentity | None = setting(default=None)
    oauth: AzureOAuth | None = setting(default=None)
    sdk: AzureSdk | None = setting(default=None)
    certificate: Any = unsupported()
    scope: str = setting(default="")
    """What the token is for; empty: the ingestion of Azure Monitor in the cloud."""

    def faults(self) -> Iterator[Fault]:
        """Yield what is missing or too much."""
        if self.cloud not in AZURE_CLOUDS:
            yield Fault("must provide a cloud in the Azure AD config", "cloud")
        ways = [self.managed_identity, self.workload_identity, self.oauth, self.sdk]
        given = sum(way is not None for way in ways)
        if given == 0:
            yield Fault(
                "must provide an Azure Managed Identity, Azure Workload Identity, Azure OAuth or Azure SDK in the "
                "Azure AD config"
            )
        elif given > 1:
            yield Fault("cannot provide multiple authentication methods in the Azure AD config")
        if self.scope and not _SCOPE.match(self.scope):
            yield Fault("the provided scope contains invalid characters", "scope")


@frozen(kw_only=True)
class GoogleIamConfig:
    """Tokens of Google Cloud for Cloud Monitoring; without a file those of the environment."""

    credentials_file: FilePath = setting(default=FilePath(""))
    """The key of a service account."""


def _id_faults(way: str, client_id: str, tenant_id: str) -> Iterator[Fault]:
    for key, value, pattern in (("client_id", client_id, _UUID), ("tenant_id", tenant_id, _TENANT)):
        if not value:
            yield Fault(f"must provide an Azure {way} {key} in the Azure AD config", key)
        elif not pattern.match(value):
            yield Fault(f"the provided Azure {way} {key} is invalid", key)
