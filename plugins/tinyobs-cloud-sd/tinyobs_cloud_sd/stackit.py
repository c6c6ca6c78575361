"""Discovery kind `stackit`: servers of a project at STACKIT.

Settings and labels: prometheus discovery/stackit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote, urlsplit

from attrs import frozen
from tinyobs.abc import DiscovererContext, DiscovererKind, TargetGroup
from tinyobs.config.fields import Fault, FilePath, inline, setting
from tinyobs.config.http_client import HttpClientConfig
from tinyobs.discovery.names import sanitize_label_name
from tinyobs.model.durations import DurationMs
from tinyobs.model.secrets import Secret

from .discoverer import CloudDiscoverer, in_thread
from .labels import address
from .shapes import mapping, objects, text
from .stackit_tokens import StackitAccount, StackitTokens

KEY: Final = "stackit_sd_configs"
_META: Final = "__meta_stackit_"
_PLAIN: Final = {
    "id": "id",
    "name": "name",
    "availability_zone": "availabilityZone",
    "status": "status",
    "power_status": "powerStatus",
    "type": "machineType",
}


@frozen(kw_only=True)
class StackitSdConfig:
    """One entry of `stackit_sd_configs`."""

    project: str = setting(default="")
    region: str = setting(default="eu01")
    endpoint: str = setting(default="")
    """An address instead of the region's own."""
    service_account_key: Secret = setting(default=Secret())
    """JSON, as STACKIT gives it."""
    service_account_key_path: FilePath = setting(default=FilePath(""))
    private_key: Secret = setting(default=Secret())
    """PEM; it goes before the one in the service account's key."""
    private_key_path: FilePath = setting(default=FilePath(""))
    credentials_file_path: FilePath = setting(default=FilePath(""))
    port: int = setting(default=80, low=0, high=65535)
    refresh_interval_ms: DurationMs = setting("refresh_interval", default=DurationMs(60_000), low=1)
    http: HttpClientConfig = inline(HttpClientConfig)

    def faults(self) -> Iterator[Fault]:
        """Yield what is missing or no address."""
        if not self.endpoint and not self.region:
            yield Fault("endpoint or region missing", "endpoint")
        try:
            urlsplit(self.endpoint)
        except ValueError as e:
            yield Fault(f'invalid endpoint "{self.endpoint}": {e}', "endpoint")


class StackitDiscoverer(CloudDiscoverer):
    """Publishes the servers that have an address in one group."""

    def __init__(self, config: StackitSdConfig, context: DiscovererContext) -> None:
        super().__init__("stackit", config.refresh_interval_ms, context, config.http)
        self._config = config
        self._base = (config.endpoint or f"https://iaas.api.{config.region}.stackit.cloud").rstrip("/")
        self._tokens: StackitTokens | None = None
        if config.service_account_key or config.service_account_key_path:
            account = StackitAccount(
                config.service_account_key,
                config.service_account_key_path,
                config.private_key,
                config.private_key_path,
                config.credentials_file_path,
            )
            self._tokens = StackitTokens(account, context.clock.now_ms, client=self.client)

    async def credentials(self) -> Mapping[str, str]:
        """Return the access token where there is a service account."""
        if self._tokens is None:
            return {}
        return {"Authorization": f"Bearer {(await self._tokens.get()).value.reveal()}"}

    def forget_credentials(self) -> bool:
        """Get another token."""
        if self._tokens is not None:
            self._tokens.forget()
        return self._tokens is not None

    async def refresh(self) -> Sequence[TargetGroup]:
        """Ask for all servers; the interface has no pages."""
        project = self._config.project
        answer = await self.get(f"{self._base}/v1/projects/{quote(project, safe='')}/servers", {"details": "true"})
        targets = await in_thread(stackit_targets, objects(answer, "items"), project, self._config.port)
        return [TargetGroup("stackit", tuple(targets))]


def stackit_targets(servers: Sequence[Mapping[str, Any]], project: str, port: int) -> list[dict[str, str]]:
    """Return a target for each server that has an address: the first public one, else the first private one."""
    targets = []
    for one in servers:
        labels = {_META + "project": project}
        labels |= {_META + name: text(one, key) for name, key in _PLAIN.items()}
        public = chosen = ""
        for interface in objects(one, "nics"):
            if text(interface, "publicIp") and not public:
                public = chosen = text(interface, "publicIp")
            if private := text(interface, "ipv4"):
                labels[_META + "private_ipv4_" + sanitize_label_name(text(interface, "networkName"))] = private
                chosen = chosen or private
        if not chosen:
            continue
        labels["__address__"] = address(chosen, port)
        if public:
            labels[_META + "public_ipv4"] = public
        for key, value in mapping(one, "labels").items():
            if isinstance(value, str):
                labels[_META + "labelpresent_" + sanitize_label_name(key)] = "true"
                labels[_META + "label_" + sanitize_label_name(key)] = value
        targets.append(labels)
    return targets


KIND: Final = DiscovererKind(KEY, StackitSdConfig, StackitDiscoverer)
