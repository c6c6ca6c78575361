"""Discovery kind `outscale`: virtual machines of OUTSCALE in one region.

Requests are signed as those to AWS are.  Settings and labels: prometheus discovery/outscale.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import trio
from attrs import frozen
from tinyobs.abc import DiscovererContext, DiscovererKind, TargetGroup
from tinyobs.cloud_auth.aws_signing import AwsKeys, sign
from tinyobs.config.fields import Fault, FilePath, inline, setting
from tinyobs.config.http_client import HttpClientConfig
from tinyobs.discovery.names import sanitize_label_name
from tinyobs.discovery.refreshing import DiscoveryError
from tinyobs.http_client.files import read_secret
from tinyobs.model.durations import DurationMs
from tinyobs.model.secrets import Secret

from .discoverer import PAGES_MAX, CloudDiscoverer, in_thread
from .labels import address
from .shapes import member, objects, text

KEY: Final = "outscale_sd_configs"
SERVICE: Final = "oapi"
_META: Final = "__meta_outscale_vm_"


@frozen(kw_only=True)
class OutscaleSdConfig:
    """One entry of `outscale_sd_configs`."""

    region: str = setting(default="eu-west-2")
    endpoint: str = setting(default="")
    """An address instead of the region's own."""
    access_key: str = setting(default="")
    secret_key: Secret = setting(default=Secret())
    secret_key_file: FilePath = setting(default=FilePath(""))
    port: int = setting(default=80, low=0, high=65535)
    refresh_interval_ms: DurationMs = setting("refresh_interval", default=DurationMs(60_000), low=1)
    http: HttpClientConfig = inline(HttpClientConfig)

    def faults(self) -> Iterator[Fault]:
        """Yield what is missing."""
        if not self.region:
            yield Fault("outscale SD configuration requires a region", "region")
        if not self.access_key:
            yield Fault("outscale SD configuration requires access_key", "access_key")
        if not self.secret_key and not self.secret_key_file:
            yield Fault("one of secret_key & secret_key_file must be configured", "secret_key")
        if self.secret_key and self.secret_key_file:
            yield Fault("at most one of secret_key & secret_key_file must be configured", "secret_key_file")


class OutscaleDiscoverer(CloudDiscoverer):
    """Publishes the machines that have an address in one group."""

    def __init__(self, config: OutscaleSdConfig, context: DiscovererContext) -> None:
        super().__init__("outscale", config.refresh_interval_ms, context, config.http)
        self._config = config
        base = config.endpoint or f"https://api.{config.region}.outscale.com/api/v1"
        self._url = f"{base.rstrip('/')}/ReadVms"

    async def refresh(self) -> Sequence[TargetGroup]:
        """Ask page by page."""
        config = self._config
        secret = config.secret_key
        if config.secret_key_file:
            secret = Secret(await trio.to_thread.run_sync(read_secret, config.secret_key_file))
        keys = AwsKeys(config.access_key, secret)
        asked: dict[str, str] = {}
        targets: list[dict[str, str]] = []
        for _ in range(PAGES_MAX):
            answer = await self._signed(asked, keys)
            targets += await in_thread(outscale_targets, objects(answer, "Vms"), config.region, config.port)
            token = text(answer, "NextPageToken")
            if not token:
                return [TargetGroup(config.region, tuple(targets))]
            asked["NextPageToken"] = token
        raise DiscoveryError(f"the list of machines has more than {PAGES_MAX} pages")

    async def _signed(self, asked: Mapping[str, str], keys: AwsKeys) -> Any:
        content, headers = json.dumps(asked).encode(), {"Content-Type": "application/json"}
        signed = sign(
            "POST",
            self._url,
            headers,
            content,
            keys=keys,
            region=self._config.region,
            service=SERVICE,
            now_ms=self.context.clock.now_ms(),
        )
        return (await self.ask(self._url, method="POST", headers={**headers, **signed}, content=content)).value


def outscale_targets(machines: Sequence[Mapping[str, Any]], region: str, port: int) -> list[dict[str, str]]:
    """Return a target for each machine that has an address, the private one before the public one."""
    targets = []
    for one in machines:
        private, public = text(one, "PrivateIp"), text(one, "PublicIp")
        if not (private or public):
            continue
        labels = {
            "__address__": address(private or public, port),
            _META + "instance_id": text(one, "VmId"),
            _META + "region": region,
            _META + "state": text(one, "State"),
        }
        for name, path in (
            ("subregion", ("Placement", "SubregionName")),
            ("private_ip", ("PrivateIp",)),
            ("public_ip", ("PublicIp",)),
        ):
            if member(one, *path) is not None:
                labels[_META + name] = text(one, *path)
        for tag in objects(one, "Tags"):
            if text(tag, "Key") and text(tag, "Value"):
                labels[_META + "tag_" + sanitize_label_name(text(tag, "Key"))] = text(tag, "Value")
        targets.append(labels)
    return targets


KIND: Final = DiscovererKind(KEY, OutscaleSdConfig, OutscaleDiscoverer)
