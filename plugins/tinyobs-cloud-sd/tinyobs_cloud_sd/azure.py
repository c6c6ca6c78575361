"""Discovery kind `azure`: virtual machines of a subscription, those of scale sets too.

The addresses of a machine are asked for interface by interface; what is known of an interface is kept for ten to
thirteen intervals.  Settings and labels: prometheus discovery/azure.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

import structlog
from attrs import field, frozen
from tinyobs.abc import DiscovererContext, DiscovererKind, TargetGroup
from tinyobs.cloud_auth.azure_tokens import CLOUDS, AzureIdentity, AzureMethod, AzureTokens
from tinyobs.config.fields import Fault, inline, setting
from tinyobs.config.http_client import HttpClientConfig
from tinyobs.discovery.http_json import StatusError
from tinyobs.errors import TinyObsError
from tinyobs.model.durations import DurationMs
from tinyobs.model.secrets import Secret

from .azure_answers import (
    InterfaceState,
    ResourceId,
    VirtualMachine,
    address_labels,
    machine_labels,
    machine_of,
    state_of,
)
from .discoverer import CloudDiscoverer, each
from .shapes import objects, text

KEY: Final = "azure_sd_configs"
COMPUTE_VERSION: Final = "2023-03-01"
NETWORK_VERSION: Final = "2023-05-01"
SCALE_SET_NETWORK_VERSION: Final = "2018-10-01"
INTERFACES_AT_ONCE_MAX: Final = 20
"""How many interfaces are asked for at the same time."""
KEPT_MAX: Final = 5000
"""Interfaces that are remembered, as in Prometheus."""
NOT_FOUND: Final = 404

log = structlog.get_logger("azure_sd")


@frozen(kw_only=True)
class AzureSdConfig:
    """One entry of `azure_sd_configs`."""

    environment: str = setting(default="AzurePublicCloud")
    authentication_method: str = setting(default="OAuth")
    subscription_id: str = setting(default="")
    tenant_id: str = setting(default="")
    client_id: str = setting(default="")
    client_secret: Secret = setting(default=Secret())
    resource_group: str = setting(default="")
    """Only what is in this group; empty for the whole subscription."""
    port: int = setting(default=80, low=0, high=65535)
    refresh_interval_ms: DurationMs = setting("refresh_interval", default=DurationMs(300_000), low=1)
    http: HttpClientConfig = inline(HttpClientConfig)

    def faults(self) -> Iterator[Fault]:
        """Yield what is missing or unknown."""
        needed = ["subscription_id"]
        if self.authentication_method == AzureMethod.OAUTH:
            needed += ["tenant_id", "client_id", "client_secret"]
        for key in needed:
            if not getattr(self, key):
                yield Fault(f"azure SD configuration requires a {key}", key)
        if self.authentication_method not in list(AzureMethod):
            yield Fault(
                f'unknown authentication_type "{self.authentication_method}". Supported types are "OAuth", '
                '"ManagedIdentity", "SDK" or "WorkloadIdentity"',
                "authentication_method",
            )
        if self.environment.upper() not in CLOUDS:
            yield Fault(f'there is no cloud configuration matching the name "{self.environment}"', "environment")


@frozen
class AzureSdStatistics:
    """How listing fares."""

    failures_total: int = field(metadata={"metric": "prometheus_sd_azure_failures_total"})
    """Number of Azure service discovery refresh failures."""
    cache_hit_total: int = field(metadata={"metric": "prometheus_sd_azure_cache_hit_total"})
    """Number of cache hit during refresh."""


class AzureDiscoverer(CloudDiscoverer):
    """Publishes all machines that have an address in one group."""

    def __init__(self, config: AzureSdConfig, context: DiscovererContext) -> None:
        super().__init__("azure", config.refresh_interval_ms, context, config.http)
        self._config = config
        cloud = CLOUDS[config.environment.upper()]
        self._base = cloud.resource_manager
        method = AzureMethod(config.authentication_method)
        identity = AzureIdentity(method, config.tenant_id, config.client_id, config.client_secret)
        self._tokens = AzureTokens(identity, cloud, f"{self._base}/.default", context.clock.now_ms)
        self._interfaces: dict[str, tuple[int, Mapping[str, Any]]] = {}
        """Id -> until when it is kept, in ms since 1970, and the interface."""
        self._failures = self._hits = 0

    def statistics(self) -> AzureSdStatistics:
        """Return the counters."""
        return AzureSdStatistics(self._failures, self._hits)

    async def credentials(self) -> Mapping[str, str]:
        """Return the access token."""
        return {"Authorization": f"Bearer {(await self._tokens.get()).value.reveal()}"}

    def forget_credentials(self) -> bool:
        """Get another token."""
        self._tokens.forget()
        return True

    async def aclose(self) -> None:
        """Close the connections."""
        await self._tokens.aclose()
        await super().aclose()

    async def refresh(self) -> Sequence[TargetGroup]:
        """List machines and scale sets, then ask for the interfaces of all."""
        try:
            found = await each(await self._machines(), self._target, INTERFACES_AT_ONCE_MAX)
        except TinyObsError:
            self._failures += 1
            raise
        return [TargetGroup("azure", tuple(target for target in found if target is not None))]

    # -- lists ---------------------------------------------------------------------------------------------------

    async def _machines(self) -> list[VirtualMachine]:
        machines = [machine_of(item, "") for item in await self._listed("virtualMachines")]
        for scale_set in await self._listed("virtualMachineScaleSets"):
            name, where = text(scale_set, "name"), ResourceId.parse(text(scale_set, "id"))
            url = (
                f"{self._base}{where.group_path}/providers/Microsoft.Compute/virtualMachineScaleSets/{name}"
                f"/virtualMachines?api-version={COMPUTE_VERSION}"
            )
            machines += [machine_of(item, name) for item in await self._values(url)]
        return machines

    async def _listed(self, what: str) -> list[Mapping[str, Any]]:
        group, subscription = (quote(x, safe="()") for x in (self._config.resource_group, self._config.subscription_id))
        within = f"/resourceGroups/{group}" if group else ""
        path = f"/subscriptions/{subscription}{within}/providers/Microsoft.Compute/{what}"
        return await self._values(f"{self._base}{path}?api-version={COMPUTE_VERSION}")

    async def _values(self, url: str) -> list[Mapping[str, Any]]:
        pages = await self.linked_pages(url, lambda page: text(page, "nextLink"))
        return [item for page in pages for item in objects(page, "value")]

    # -- interfaces ----------------------------------------------------------------------------------------------

    async def _target(self, machine: VirtualMachine) -> dict[str, str] | None:
        """Return a machine's target, None where it has no address: it is not running, or an interface is gone."""
        labels = machine_labels(machine, self._config.subscription_id, self._config.tenant_id)
        for identity in machine.interfaces:
            interface = await self._interface(identity, machine)
            if interface is None:
                log.warning("a network interface does not exist", id=identity, job=self.context.job)
                return None
            state = state_of(interface)
            if state is InterfaceState.NOT_RUNNING:
                return None
            if state is InterfaceState.PRIMARY:
                return labels | address_labels(interface, machine.name, self._config.port)
        return None

    async def _interface(self, identity: str, machine: VirtualMachine) -> Mapping[str, Any] | None:
        now = self.context.clock.now_ms()
        kept = self._interfaces.get(identity)
        if kept is not None and now < kept[0]:
            self._hits += 1
            return kept[1]
        where = ResourceId.parse(identity)
        if machine.scale_set:
            path = (
                f"{where.group_path}/providers/Microsoft.Compute/virtualMachineScaleSets/{machine.scale_set}"
                f"/virtualMachines/{machine.instance_id}/networkInterfaces/{where.name}"
            )
            version = SCALE_SET_NETWORK_VERSION
        else:
            path = f"{where.group_path}/providers/Microsoft.Network/networkInterfaces/{where.name}"
            version = NETWORK_VERSION
        asked = {"api-version": version, "$expand": "IPConfigurations/PublicIPAddress"}
        try:
            interface: Mapping[str, Any] = await self.get(self._base + path, asked)
        except StatusError as e:
            if e.status == NOT_FOUND:
                return None
            raise
        self._keep(identity, interface, now)
        return interface

    def _keep(self, identity: str, interface: Mapping[str, Any], now_ms: int) -> None:
        """Remember an interface; the time differs from one to the next, so that not all are asked for at once."""
        interval = self._config.refresh_interval_ms
        self._interfaces.pop(identity, None)
        while len(self._interfaces) >= KEPT_MAX:
            del self._interfaces[next(iter(self._interfaces))]
        self._interfaces[identity] = now_ms + 10 * interval + secrets.randbelow(max(3 * interval, 1)), interface


KIND: Final = DiscovererKind(KEY, AzureSdConfig, AzureDiscoverer)
