"""Discovery kind `msk`: brokers and controllers of Amazon MSK (Kafka) in one region.

Keys and region are found as for `ec2`.  Settings and labels: prometheus discovery/aws/msk.go.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from attrs import frozen
from tinyobs.abc import DiscovererContext, DiscovererKind, TargetGroup
from tinyobs.config.fields import inline, setting
from tinyobs.config.http_client import HttpClientConfig
from tinyobs.discovery.names import sanitize_label_name
from tinyobs.discovery.refreshing import DiscoveryError
from tinyobs.model.durations import DurationMs
from tinyobs.model.secrets import Secret

from .aws_entry import AwsDiscoverer
from .discoverer import PAGES_MAX, each, in_thread
from .labels import address
from .shapes import integer, mapping, member, objects, pairs, text, texts

KEY: Final = "msk_sd_configs"
SERVICE: Final = "kafka"
PER_PAGE: Final = "100"
_META: Final = "__meta_msk_"
_CLUSTER: Final = {
    "name": ("clusterName",),
    "arn": ("clusterArn",),
    "state": ("state",),
    "type": ("clusterType",),
    "version": ("currentVersion",),
    "configuration_arn": ("provisioned", "currentBrokerSoftwareInfo", "configurationArn"),
    "kafka_version": ("provisioned", "currentBrokerSoftwareInfo", "kafkaVersion"),
}
_REVISION: Final = ("provisioned", "currentBrokerSoftwareInfo", "configurationRevision")
_MONITORING: Final = ("provisioned", "openMonitoring", "prometheus")
_NODE: Final = {"arn": "nodeARN", "added_time": "addedToClusterTime", "instance_type": "instanceType"}
_BROKER: Final = {
    "node_attached_eni": "attachedENIId",
    "broker_client_subnet": "clientSubnet",
    "broker_client_vpc_ip": "clientVpcIpAddress",
}


@frozen(kw_only=True)
class MskSdConfig:
    """One entry of `msk_sd_configs`."""

    region: str = setting(default="")
    """Empty: that of the environment, the profile or the instance."""
    endpoint: str = setting(default="")
    """An address instead of the region's own."""
    access_key: str = setting(default="")
    secret_key: Secret = setting(default=Secret())
    profile: str = setting(default="")
    role_arn: str = setting(default="")
    external_id: str = setting(default="")
    clusters: tuple[str, ...] = setting(default=())
    """ARNs; empty for all provisioned ones."""
    request_concurrency: int = setting(default=10, low=1, high=1000)
    """How many clusters are asked about at the same time."""
    port: int = setting(default=80, low=0, high=65535)
    refresh_interval_ms: DurationMs = setting("refresh_interval", default=DurationMs(60_000), low=1)
    http: HttpClientConfig = inline(HttpClientConfig)


class MskDiscoverer(AwsDiscoverer):
    """Publishes the addresses of all brokers and controllers in one group."""

    def __init__(self, config: MskSdConfig, context: DiscovererContext) -> None:
        super().__init__("msk", SERVICE, config, context)
        self._config = config

    async def refresh(self) -> Sequence[TargetGroup]:
        """Ask for the clusters, then for the nodes of each."""
        region = await self.access.region()
        if self._config.clusters:
            clusters = await each(self._config.clusters, self._described, self._config.request_concurrency)
        else:
            clusters = await self._listed(
                "api/v2/clusters", {"clusterTypeFilter": "PROVISIONED", "maxResults": PER_PAGE}, "clusterInfoList"
            )
        nodes = await each(clusters, self._nodes, self._config.request_concurrency)
        found = zip(clusters, nodes, strict=True)
        port = self._config.port
        targets = [target for cluster, some in found for target in await in_thread(msk_targets, cluster, some, port)]
        return [TargetGroup(region, tuple(targets))]

    async def _described(self, arn: str) -> Mapping[str, Any]:
        return mapping(await self.get_json(f"api/v2/clusters/{quote(arn, safe='')}", {}), "clusterInfo")

    async def _nodes(self, cluster: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        path = f"v1/clusters/{quote(text(cluster, 'clusterArn'), safe='')}/nodes"
        return await self._listed(path, {"maxResults": PER_PAGE}, "nodeInfoList")

    async def _listed(self, path: str, asked: Mapping[str, str], key: str) -> list[Mapping[str, Any]]:
        found: list[Mapping[str, Any]] = []
        token = ""
        for _ in range(PAGES_MAX):
            answer = await self.get_json(path, {**asked, **({"nextToken": token} if token else {})})
            found += objects(answer, key)
            token = text(answer, "nextToken")
            if not token:
                return found
        raise DiscoveryError(f"the list {key} has more than {PAGES_MAX} pages")


def msk_targets(cluster: Mapping[str, Any], nodes: Sequence[Mapping[str, Any]], port: int) -> Iterator[dict[str, str]]:
    """Yield a target for each address of a node."""
    common = {_META + "cluster_" + name: text(cluster, *path) for name, path in _CLUSTER.items()}
    common[_META + "cluster_configuration_revision"] = str(integer(cluster, *_REVISION))
    common[_META + "cluster_jmx_exporter_enabled"] = _is_on(cluster, "jmxExporter")
    for key, value in pairs(cluster, "tags").items():
        common[_META + "cluster_tag_" + sanitize_label_name(key)] = value
    for node in nodes:
        labels = common | {_META + "node_" + name: text(node, key) for name, key in _NODE.items()}
        if (broker := member(node, "brokerNodeInfo")) is not None:
            labels[_META + "node_type"] = "BROKER"
            labels |= {_META + name: text(broker, key) for name, key in _BROKER.items()}
            labels[_META + "broker_id"] = str(integer(broker, "brokerId"))
            labels[_META + "broker_node_exporter_enabled"] = _is_on(cluster, "nodeExporter")
            kind, hosts = "broker", texts(broker, "endpoints")
        elif (controller := member(node, "controllerNodeInfo")) is not None:
            labels[_META + "node_type"] = "CONTROLLER"
            kind, hosts = "controller", texts(controller, "endpoints")
        else:
            continue
        for i, host in enumerate(hosts):
            yield labels | {"__address__": address(host, port), f"{_META}{kind}_endpoint_index": str(i)}


def _is_on(cluster: Mapping[str, Any], exporter: str) -> str:
    return "true" if member(cluster, *_MONITORING, exporter, "enabledInBroker") is True else "false"


KIND: Final = DiscovererKind(KEY, MskSdConfig, MskDiscoverer)
