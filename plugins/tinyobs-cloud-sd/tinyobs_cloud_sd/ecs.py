"""Discovery kind `ecs`: tasks of Amazon ECS in one region.

Keys and region are found as for `ec2`.  Settings and labels: prometheus discovery/aws/ecs.go.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

import trio
from attrs import frozen
from tinyobs.abc import DiscovererContext, DiscovererKind, TargetGroup
from tinyobs.config.fields import inline, setting
from tinyobs.config.http_client import HttpClientConfig
from tinyobs.discovery.refreshing import DiscoveryError
from tinyobs.model.durations import DurationMs
from tinyobs.model.secrets import Secret

from .aws_entry import AwsDiscoverer
from .discoverer import PAGES_MAX, each, in_thread
from .ec2 import VERSION, Ec2Filter, filter_fields
from .ecs_answers import EcsCluster, EcsMachine, ecs_targets, machines_of, own_interface, public_ips_of
from .shapes import objects, text, texts

KEY: Final = "ecs_sd_configs"
TARGET: Final = "AmazonEC2ContainerServiceV20141113."
BATCH: Final = 100
"""How many clusters, tasks, instances and interfaces are described at once."""
SERVICES_BATCH: Final = 10
T = TypeVar("T")


@frozen(kw_only=True)
class EcsSdConfig:
    """One entry of `ecs_sd_configs`."""

    region: str = setting(default="")
    """Empty: that of the environment, the profile or the instance."""
    endpoint: str = setting(default="")
    """An address instead of the region's own; EC2 is asked at its own all the same."""
    access_key: str = setting(default="")
    secret_key: Secret = setting(default=Secret())
    profile: str = setting(default="")
    role_arn: str = setting(default="")
    external_id: str = setting(default="")
    clusters: tuple[str, ...] = setting(default=())
    """ARNs or names; empty for all."""
    request_concurrency: int = setting(default=20, low=1, high=1000)
    """How many requests are made at the same time."""
    port: int = setting(default=80, low=0, high=65535)
    refresh_interval_ms: DurationMs = setting("refresh_interval", default=DurationMs(60_000), low=1)
    http: HttpClientConfig = inline(HttpClientConfig)


class EcsDiscoverer(AwsDiscoverer):
    """Publishes the tasks that have an address in one group."""

    def __init__(self, config: EcsSdConfig, context: DiscovererContext) -> None:
        super().__init__("ecs", "ecs", config, context)
        self._config = config
        self._limit = trio.CapacityLimiter(config.request_concurrency)

    async def refresh(self) -> Sequence[TargetGroup]:
        """Ask for the clusters, then for what runs in each."""
        region = await self.access.region()
        names = self._config.clusters or await self._listed("ListClusters", {}, "clusterArns")
        asked = [{"clusters": some, "include": ["TAGS"]} for some in batches(names, BATCH)]
        clusters = await self._described("DescribeClusters", asked, "clusters")
        found = await each(clusters, self._cluster, self._config.request_concurrency)
        targets = [target for one in found for target in await in_thread(ecs_targets, one, region, self._config.port)]
        return [TargetGroup(region, tuple(targets))]

    async def _cluster(self, cluster: Mapping[str, Any]) -> EcsCluster:
        """Ask for all that is needed of a cluster's tasks."""
        here = {"cluster": text(cluster, "clusterArn")}
        arns = await self._listed("ListTasks", here, "taskArns")
        if not arns:
            return EcsCluster(cluster, (), (), {}, {}, {})
        asked = [{**here, "tasks": some, "include": ["TAGS"]} for some in batches(arns, BATCH)]
        tasks = await self._described("DescribeTasks", asked, "tasks")
        arns = await self._listed("ListServices", here, "serviceArns")
        asked = [{**here, "services": some, "include": ["TAGS"]} for some in batches(arns, SERVICES_BATCH)]
        services = await self._described("DescribeServices", asked, "services")

        arns = sorted({text(task, "containerInstanceArn") for task in tasks} - {""})
        asked = [{**here, "containerInstances": some} for some in batches(arns, BATCH)]
        described = await self._described("DescribeContainerInstances", asked, "containerInstances")
        instances = {text(one, "containerInstanceArn"): text(one, "ec2InstanceId") for one in described}
        machines: dict[str, EcsMachine] = {}
        for page in await self._ec2("DescribeInstances", "instance-id", sorted(set(instances.values()) - {""})):
            machines |= machines_of(page)

        interfaces = {(own_interface(task) or {}).get("networkInterfaceId", "") for task in tasks}
        public_ips: dict[str, str] = {}
        for page in await self._ec2("DescribeNetworkInterfaces", "network-interface-id", sorted(interfaces - {""})):
            public_ips |= public_ips_of(page)
        return EcsCluster(cluster, services, tasks, instances, machines, public_ips)

    async def _listed(self, operation: str, asked: Mapping[str, Any], key: str) -> list[str]:
        fields = {**asked, "maxResults": BATCH}
        found: list[str] = []
        for _ in range(PAGES_MAX):
            answer = await self._ecs(operation, fields)
            found += texts(answer, key)
            token = text(answer, "nextToken")
            if not token:
                return found
            fields["nextToken"] = token
        raise DiscoveryError(f"the answer to {operation} has more than {PAGES_MAX} pages")

    async def _described(self, operation: str, asked: Sequence[Mapping[str, Any]], key: str) -> list[Mapping[str, Any]]:
        async def one(fields: Mapping[str, Any]) -> list[Mapping[str, Any]]:
            return objects(await self._ecs(operation, fields), key)

        return [item for some in await each(asked, one, self._config.request_concurrency) for item in some]

    async def _ecs(self, operation: str, asked: Mapping[str, Any]) -> Any:
        async with self._limit:
            return await self.post_json(TARGET + operation, asked)

    async def _ec2(self, action: str, name: str, identities: Sequence[str]) -> list[Any]:
        """Return the pages with what some identities stand for; what is gone meanwhile is left out."""
        pages = []
        for some in batches(identities, BATCH):
            form = filter_fields([Ec2Filter(name=name, values=tuple(some))])
            for _ in range(PAGES_MAX):
                async with self._limit:
                    pages.append(await self.query(action, VERSION, form, "ec2"))
                token = pages[-1].value("nextToken")
                if not token:
                    break
                form["NextToken"] = token
        return pages


def batches(items: Sequence[T], size: int) -> list[list[T]]:
    """Return items in lists of at most `size`."""
    return [list(items[i : i + size]) for i in range(0, len(items), size)]


KIND: Final = DiscovererKind(KEY, EcsSdConfig, EcsDiscoverer)
