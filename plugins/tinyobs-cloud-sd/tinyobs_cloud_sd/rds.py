"""Discovery kind `rds`: instances of the database clusters of Amazon RDS in one region.

Keys and region are found as for `ec2`.  Settings and labels: prometheus discovery/aws/rds.go.
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
from .discoverer import PAGES_MAX, each, in_thread
from .ec2 import Ec2Filter
from .labels import address

KEY: Final = "rds_sd_configs"
VERSION: Final = "2014-10-31"
PER_PAGE: Final = "100"
_CLUSTER_META: Final = "__meta_rds_cluster_"
_INSTANCE_META: Final = "__meta_rds_instance_"
_CLUSTER: Final = names_of(
    """
    ActivityStreamKinesisStreamName ActivityStreamKmsKeyId ActivityStreamMode ActivityStreamStatus AllocatedStorage
    AutoMinorVersionUpgrade AutomaticRestartTime AwsBackupRecoveryPointArn BacktrackConsumedChangeRecords
    BacktrackWindow BackupRetentionPeriod Capacity CharacterSetName CloneGroupId ClusterCreateTime
    ClusterScalabilityType CopyTagsToSnapshot CrossAccountClone DBClusterArn DBClusterIdentifier DBClusterInstanceClass
    DBClusterParameterGroup DBSystemId DatabaseInsightsMode DatabaseName DbClusterResourceId DeletionProtection
    EarliestBacktrackTime EarliestRestorableTime Endpoint Engine EngineLifecycleSupport EngineMode EngineVersion
    GlobalClusterIdentifier GlobalWriteForwardingRequested GlobalWriteForwardingStatus HostedZoneId HttpEndpointEnabled
    IAMDatabaseAuthenticationEnabled IOOptimizedNextAllowedModificationTime Iops KmsKeyId LatestRestorableTime
    LocalWriteForwardingStatus MasterUsername MonitoringInterval MonitoringRoleArn MultiAZ NetworkType PercentProgress
    PerformanceInsightsEnabled PerformanceInsightsKMSKeyId PerformanceInsightsRetentionPeriod Port PreferredBackupWindow
    PreferredMaintenanceWindow PubliclyAccessible ReaderEndpoint ReplicationSourceIdentifier ServerlessV2PlatformVersion
    Status StorageEncrypted StorageEncryptionType StorageThroughput StorageType UpgradeRolloutOrder
    """,
    "db_cluster_",
    subnet_group="DBSubnetGroup",
)
_INSTANCE: Final = names_of(
    """
    ActivityStreamEngineNativeAuditFieldsIncluded ActivityStreamKinesisStreamName ActivityStreamKmsKeyId
    ActivityStreamMode ActivityStreamPolicyStatus ActivityStreamStatus AllocatedStorage AutoMinorVersionUpgrade
    AutomaticRestartTime AutomationMode AvailabilityZone AwsBackupRecoveryPointArn BackupRetentionPeriod BackupTarget
    CACertificateIdentifier CharacterSetName CopyTagsToSnapshot CustomIamInstanceProfile CustomerOwnedIpEnabled
    DBClusterIdentifier DBInstanceArn DBInstanceClass DBInstanceIdentifier DBInstanceStatus DBName DBSystemId
    DatabaseInsightsMode DbInstancePort DedicatedLogVolume DeletionProtection Engine EngineLifecycleSupport
    EngineVersion EnhancedMonitoringResourceArn IAMDatabaseAuthenticationEnabled InstanceCreateTime Iops
    IsStorageConfigUpgradeAvailable KmsKeyId LatestRestorableTime LicenseModel MasterUsername MaxAllocatedStorage
    MonitoringInterval MonitoringRoleArn MultiAZ MultiTenant NcharCharacterSetName NetworkType PercentProgress
    PerformanceInsightsEnabled PerformanceInsightsKMSKeyId PerformanceInsightsRetentionPeriod PreferredBackupWindow
    PreferredMaintenanceWindow PromotionTier PubliclyAccessible ReadReplicaSourceDBClusterIdentifier
    ReadReplicaSourceDBInstanceIdentifier ReplicaMode ResumeFullAutomationModeTime SecondaryAvailabilityZone
    StorageEncrypted StorageEncryptionType StorageThroughput StorageType StorageVolumeStatus TdeCredentialArn Timezone
    UpgradeRolloutOrder
    """,
    "db_instance_",
    resource_id="DbiResourceId",
    subnet_group="DBSubnetGroup.DBSubnetGroupName",
    endpoint_address="Endpoint.Address",
    endpoint_hosted_zone_id="Endpoint.HostedZoneId",
    endpoint_port="Endpoint.Port",
    listener_endpoint_address="ListenerEndpoint.Address",
    listener_endpoint_hosted_zone_id="ListenerEndpoint.HostedZoneId",
    listener_endpoint_port="ListenerEndpoint.Port",
)


@frozen(kw_only=True)
class RdsSdConfig:
    """One entry of `rds_sd_configs`."""

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
    """ARNs or names; empty for all."""
    filters: tuple[Ec2Filter, ...] = setting(default=())
    """Of instances, as in the interface `DescribeDBInstances`."""
    request_concurrency: int = setting(default=10, low=1, high=1000)
    """How many clusters are asked about at the same time."""
    port: int = setting(default=80, low=0, high=65535)
    refresh_interval_ms: DurationMs = setting("refresh_interval", default=DurationMs(60_000), low=1)
    http: HttpClientConfig = inline(HttpClientConfig)


class RdsDiscoverer(AwsDiscoverer):
    """Publishes the instances that have an address in one group."""

    def __init__(self, config: RdsSdConfig, context: DiscovererContext) -> None:
        super().__init__("rds", "rds", config, context)
        self._config = config

    async def refresh(self) -> Sequence[TargetGroup]:
        """Ask for the clusters, then for the instances of each."""
        region = await self.access.region()
        names, at_once_max = self._config.clusters, self._config.request_concurrency
        if names:
            found = await each(names, self._described, at_once_max)
            clusters = [cluster for some in found for cluster in some]
        else:
            clusters = await self._listed("DescribeDBClusters", "DBClusters", {})
        instances = await each(clusters, self._instances, at_once_max)
        targets = [
            target
            for cluster, some in zip(clusters, instances, strict=True)
            for target in await in_thread(rds_targets, cluster, some, self._config.port)
        ]
        return [TargetGroup(region, tuple(targets))]

    async def _described(self, name: str) -> list[Element]:
        return await self._listed("DescribeDBClusters", "DBClusters", {"DBClusterIdentifier": name})

    async def _instances(self, cluster: Element) -> list[Element]:
        own = Ec2Filter(name="db-cluster-id", values=(cluster.value("DBClusterArn") or "",))
        form = {}
        for i, one in enumerate((own, *self._config.filters), 1):
            form[f"Filters.Filter.{i}.Name"] = one.name
            form |= {f"Filters.Filter.{i}.Values.Value.{j}": value for j, value in enumerate(one.values, 1)}
        return await self._listed("DescribeDBInstances", "DBInstances", form)

    async def _listed(self, action: str, key: str, form: Mapping[str, str]) -> list[Element]:
        fields = {**form, "MaxRecords": PER_PAGE}
        found: list[Element] = []
        for _ in range(PAGES_MAX):
            answer = await self.query(action, VERSION, fields)
            found += answer.items(f"{action}Result", key)
            marker = answer.value(f"{action}Result", "Marker")
            if marker is None:
                return found
            fields["Marker"] = marker
        raise DiscoveryError(f"the answer to {action} has more than {PAGES_MAX} pages")


def rds_targets(cluster: Element, instances: Sequence[Element], port: int) -> Iterator[dict[str, str]]:
    """Yield a target for each instance that has an address."""
    common = values_of(cluster, _CLUSTER_META, _CLUSTER) | tags_of(cluster.items("TagList"), _CLUSTER_META + "tag_")
    writers = {
        member.value("DBInstanceIdentifier"): member.value("IsClusterWriter")
        for member in cluster.items("DBClusterMembers")
    }
    for instance in instances:
        host = instance.value("Endpoint", "Address")
        if host is None or instance.value("Endpoint", "Port") is None:
            continue
        labels = common | {"__address__": address(host, port)} | values_of(instance, _INSTANCE_META, _INSTANCE)
        if (is_writer := writers.get(instance.value("DBInstanceIdentifier"))) is not None:
            labels[_INSTANCE_META + "is_cluster_writer"] = is_writer
        yield labels | tags_of(instance.items("TagList"), _INSTANCE_META + "tag_")


KIND: Final = DiscovererKind(KEY, RdsSdConfig, RdsDiscoverer)
