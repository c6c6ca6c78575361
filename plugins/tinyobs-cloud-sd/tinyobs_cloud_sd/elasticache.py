"""Discovery kind `elasticache`: nodes and serverless caches of Amazon ElastiCache in one region.

Keys and region are found as for `ec2`.  Settings and labels: prometheus discovery/aws/elasticache.go.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from attrs import frozen
from tinyobs.abc import DiscovererContext, DiscovererKind, TargetGroup
from tinyobs.cloud_auth.xml_answers import Element
from tinyobs.config.fields import inline, setting
from tinyobs.config.http_client import HttpClientConfig
from tinyobs.discovery.refreshing import DiscoveryError
from tinyobs.model.durations import DurationMs
from tinyobs.model.secrets import Secret

from .aws_entry import AwsDiscoverer
from .aws_fields import names_of, tags_of, values_of
from .discoverer import PAGES_MAX, each
from .labels import address

KEY: Final = "elasticache_sd_configs"
VERSION: Final = "2015-02-02"
CLUSTERS_FORM: Final = {"MaxRecords": "100", "ShowCacheNodeInfo": "true"}
CACHES_FORM: Final = {"MaxResults": "50"}
_OPTION: Final = "__meta_elasticache_deployment_option"
_CLUSTER_META: Final = "__meta_elasticache_cache_cluster_"
_CACHE_META: Final = "__meta_elasticache_serverless_cache_"
_CLUSTER: Final = names_of(
    """
    ARN AtRestEncryptionEnabled AuthTokenEnabled AutoMinorVersionUpgrade CacheClusterCreateTime CacheClusterId
    CacheClusterStatus CacheNodeType CacheSubnetGroupName ClientDownloadLandingPage Engine EngineVersion IpDiscovery
    NetworkType NumCacheNodes PreferredAvailabilityZone PreferredMaintenanceWindow PreferredOutpostArn
    ReplicationGroupId ReplicationGroupLogDeliveryEnabled SnapshotRetentionLimit SnapshotWindow
    TransitEncryptionEnabled TransitEncryptionMode
    """,
    auth_token_last_modified="AuthTokenLastModifiedDate",  # noqa: S106 - a field
    cache_parameter_group="CacheParameterGroup.CacheParameterGroupName",
    configuration_endpoint_address="ConfigurationEndpoint.Address",
    configuration_endpoint_port="ConfigurationEndpoint.Port",
    notification_topic_arn="NotificationConfiguration.TopicArn",
    notification_topic_status="NotificationConfiguration.TopicStatus",
)
_PENDING: Final = names_of(
    "AuthTokenStatus CacheNodeType EngineVersion NumCacheNodes TransitEncryptionEnabled TransitEncryptionMode"
)
_LOGS: Final = names_of(
    "DestinationType LogFormat LogType Status Message",
    log_group="DestinationDetails.CloudWatchLogsDetails.LogGroup",
    delivery_stream="DestinationDetails.KinesisFirehoseDetails.DeliveryStream",
)
_SECURITY_GROUP: Final = names_of("Status", id="SecurityGroupId")
_NODE: Final = names_of(
    "CustomerOutpostArn SourceCacheNodeId ParameterGroupStatus",
    create_time="CacheNodeCreateTime",
    id="CacheNodeId",
    status="CacheNodeStatus",
    availability_zone="CustomerAvailabilityZone",
    endpoint_address="Endpoint.Address",
    endpoint_port="Endpoint.Port",
)
_CACHE: Final = names_of(
    """
    ARN CreateTime Description Engine FullEngineVersion MajorEngineVersion Status KmsKeyId UserGroupId
    DailySnapshotTime SnapshotRetentionLimit
    """,
    name="ServerlessCacheName",
    endpoint_address="Endpoint.Address",
    endpoint_port="Endpoint.Port",
    endpoint_reader_address="ReaderEndpoint.Address",
    endpoint_reader_port="ReaderEndpoint.Port",
    cache_usage_limit_data_storage_maximum="CacheUsageLimits.DataStorage.Maximum",
    cache_usage_limit_data_storage_minimum="CacheUsageLimits.DataStorage.Minimum",
    cache_usage_limit_data_storage_unit="CacheUsageLimits.DataStorage.Unit",
    cache_usage_limit_ecpu_per_second_maximum="CacheUsageLimits.ECPUPerSecond.Maximum",
    cache_usage_limit_ecpu_per_second_minimum="CacheUsageLimits.ECPUPerSecond.Minimum",
)


@frozen(kw_only=True)
class ElasticacheSdConfig:
    """One entry of `elasticache_sd_configs`."""

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
    """ARNs of clusters, replication groups and serverless caches; empty for all."""
    request_concurrency: int = setting(default=10, low=1, high=1000)
    """How many requests are made at the same time."""
    port: int = setting(default=80, low=0, high=65535)
    """Without effect, as in Prometheus: a target has the port of its cache."""
    refresh_interval_ms: DurationMs = setting("refresh_interval", default=DurationMs(60_000), low=1)
    http: HttpClientConfig = inline(HttpClientConfig)


class ElasticacheDiscoverer(AwsDiscoverer):
    """Publishes nodes and serverless caches that have an address in one group."""

    def __init__(self, config: ElasticacheSdConfig, context: DiscovererContext) -> None:
        super().__init__("elasticache", "elasticache", config, context)
        self._config = config

    async def refresh(self) -> Sequence[TargetGroup]:
        """Ask for all caches, then for the tags of each."""
        region = await self.access.region()
        caches = await self._listed("DescribeServerlessCaches", "ServerlessCaches", CACHES_FORM, "NextToken")
        clusters = await self._listed("DescribeCacheClusters", "CacheClusters", CLUSTERS_FORM, "Marker")
        if wanted := self._config.clusters:
            caches = [one for one in caches if one.value("ARN") in wanted]
            clusters = [one for one in clusters if is_wanted(one, wanted)]
        at_once_max = self._config.request_concurrency
        found = await each(caches, self._serverless, at_once_max) + await each(clusters, self._nodes, at_once_max)
        return [TargetGroup(region, tuple(target for some in found for target in some))]

    async def _serverless(self, cache: Element) -> list[dict[str, str]]:
        return list(serverless_targets(cache, await self._tags(cache)))

    async def _nodes(self, cluster: Element) -> list[dict[str, str]]:
        return list(node_targets(cluster, await self._tags(cluster)))

    async def _tags(self, tagged: Element) -> list[Element]:
        form = {"ResourceName": tagged.value("ARN") or ""}
        answer = await self.query("ListTagsForResource", VERSION, form)
        return list(answer.items("ListTagsForResourceResult", "TagList"))

    async def _listed(self, action: str, key: str, form: Mapping[str, str], token: str) -> list[Element]:
        fields = dict(form)
        found: list[Element] = []
        for _ in range(PAGES_MAX):
            answer = await self.query(action, VERSION, fields)
            found += answer.items(f"{action}Result", key)
            more = answer.value(f"{action}Result", token)
            if more is None:
                return found
            fields[token] = more
        raise DiscoveryError(f"the answer to {action} has more than {PAGES_MAX} pages")


def is_wanted(cluster: Element, arns: Sequence[str]) -> bool:
    """Return whether a cluster, or the replication group that it is in, is among some ARNs."""
    names = {cluster.value("CacheClusterId"), cluster.value("ReplicationGroupId")} - {None}
    groups = {arn.rpartition(":")[2] for arn in arns if ":replicationgroup:" in arn}
    return cluster.value("ARN") in arns or not names.isdisjoint(groups)


def serverless_targets(cache: Element, tags: Sequence[Element]) -> Iterator[dict[str, str]]:
    """Yield the target of a serverless cache that has an address."""
    host, port = cache.value("Endpoint", "Address"), cache.value("Endpoint", "Port")
    if host is None or port is None:
        return
    labels = {"__address__": _address(host, port), _OPTION: "serverless"} | values_of(cache, _CACHE_META, _CACHE)
    for name, key in (("security_group_id", "SecurityGroupIds"), ("subnet_id", "SubnetIds")):
        for i, item in enumerate(cache.items(key)):
            labels[f"{_CACHE_META}{name}_{i}"] = item.text.strip()
    yield labels | tags_of(tags, _CACHE_META + "tag_")


def node_targets(cluster: Element, tags: Sequence[Element]) -> Iterator[dict[str, str]]:
    """Yield a target for each node of a cluster that has an address."""
    common = {_OPTION: "node"} | values_of(cluster, _CLUSTER_META, _CLUSTER)
    for i, log in enumerate(cluster.items("LogDeliveryConfigurations")):
        found = values_of(log, _CLUSTER_META + "log_delivery_configuration_", _LOGS)
        common |= {f"{name}_{i}": value for name, value in found.items()}
    for i, group in enumerate(cluster.items("SecurityGroups")):
        found = values_of(group, _CLUSTER_META + "security_group_membership_", _SECURITY_GROUP)
        common |= {f"{name}_{i}": value for name, value in found.items()}
    pending = _CLUSTER_META + "pending_modified_values_"
    if (changes := cluster.find("PendingModifiedValues")) is not None:
        common |= values_of(changes, pending, _PENDING)
        if removed := [item.text.strip() for item in changes.items("CacheNodeIdsToRemove")]:
            common[pending + "cache_node_ids_to_remove"] = ",".join(removed)
    common |= tags_of(tags, _CLUSTER_META + "tag_")
    for node in cluster.items("CacheNodes"):
        host, port = node.value("Endpoint", "Address"), node.value("Endpoint", "Port")
        if host is not None and port is not None:
            labels = values_of(node, _CLUSTER_META + "node_", _NODE)
            yield common | labels | {"__address__": _address(host, port)}


def _address(host: str, port: str) -> str:
    if not port.isdecimal():
        raise DiscoveryError(f"the answer makes no sense: {port[:60]!r} is no port")
    return address(host, int(port))


KIND: Final = DiscovererKind(KEY, ElasticacheSdConfig, ElasticacheDiscoverer)
