"""Discovery kind `ec2`: instances of Amazon EC2 in one region.

Who asks is found as AWS' own tools do (`tinyobs.cloud_auth.aws_credentials`).  Settings and labels: prometheus
discovery/aws/ec2.go.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import structlog
from attrs import frozen
from tinyobs.abc import DiscovererContext, DiscovererKind, TargetGroup
from tinyobs.config.fields import Fault, inline, setting
from tinyobs.config.http_client import HttpClientConfig
from tinyobs.discovery.refreshing import DiscoveryError
from tinyobs.errors import TinyObsError
from tinyobs.model.durations import DurationMs
from tinyobs.model.secrets import Secret

from .aws_entry import AwsDiscoverer
from .discoverer import PAGES_MAX, in_thread
from .ec2_answers import ec2_targets, zone_ids

KEY: Final = "ec2_sd_configs"
VERSION: Final = "2016-11-15"
PAGE_SIZE: Final = 1000
"""The most that one page of instances may have."""

log = structlog.get_logger("ec2_sd")


@frozen(kw_only=True)
class Ec2Filter:
    """What instances must have: one of the values."""

    name: str = setting(default="", always=True)
    values: tuple[str, ...] = setting(default=(), always=True)


@frozen(kw_only=True)
class Ec2SdConfig:
    """One entry of `ec2_sd_configs`."""

    region: str = setting(default="")
    """Empty: that of the environment, the profile or the instance."""
    endpoint: str = setting(default="")
    """An address instead of the region's own."""
    access_key: str = setting(default="")
    secret_key: Secret = setting(default=Secret())
    profile: str = setting(default="")
    role_arn: str = setting(default="")
    external_id: str = setting(default="")
    filters: tuple[Ec2Filter, ...] = setting(default=())
    port: int = setting(default=80, low=0, high=65535)
    refresh_interval_ms: DurationMs = setting("refresh_interval", default=DurationMs(60_000), low=1)
    http: HttpClientConfig = inline(HttpClientConfig)

    def faults(self) -> Iterator[Fault]:
        """Yield filters that would match nothing."""
        yield from filter_faults(self.filters)


class Ec2Discoverer(AwsDiscoverer):
    """Publishes the instances that have an address in one group."""

    def __init__(self, config: Ec2SdConfig, context: DiscovererContext) -> None:
        super().__init__("ec2", "ec2", config, context)
        self._config = config
        self._zones: Mapping[str, str] | None = None
        """Availability zone -> id, once it could be had."""

    async def refresh(self) -> Sequence[TargetGroup]:
        """Ask page by page."""
        region = await self.access.region()
        if self._zones is None:
            await self._learn_zones()
        form = {"MaxResults": str(PAGE_SIZE), **filter_fields(self._config.filters)}
        targets: list[dict[str, str]] = []
        for _ in range(PAGES_MAX):
            answer = await self.query("DescribeInstances", VERSION, form)
            targets += await in_thread(ec2_targets, answer, self._zones or {}, region, self._config.port)
            token = answer.value("nextToken")
            if token is None:
                return [TargetGroup(region, tuple(targets))]
            form["NextToken"] = token
        raise DiscoveryError(f"the list of instances has more than {PAGES_MAX} pages")

    async def _learn_zones(self) -> None:
        """Ask for the ids of the zones; without the right to it the label that has them stays empty."""
        try:
            self._zones = zone_ids(await self.query("DescribeAvailabilityZones", VERSION))
        except TinyObsError as e:
            log.debug("the ids of the availability zones cannot be had", job=self.context.job, reason=str(e))


def filter_faults(filters: Sequence[Ec2Filter]) -> Iterator[Fault]:
    """Yield filters without values."""
    for i, one in enumerate(filters):
        if not one.values:
            yield Fault("EC2 SD configuration filter values cannot be empty", f"filters[{i}]")


def filter_fields(filters: Sequence[Ec2Filter]) -> dict[str, str]:
    """Return the parameters that say the filters."""
    fields = {}
    for i, one in enumerate(filters, 1):
        fields[f"Filter.{i}.Name"] = one.name
        fields |= {f"Filter.{i}.Value.{j}": value for j, value in enumerate(one.values, 1)}
    return fields


KIND: Final = DiscovererKind(KEY, Ec2SdConfig, Ec2Discoverer)
