"""Amazon ElastiCache: nodes and serverless caches, with the labels of Prometheus."""

from __future__ import annotations

import pytest
import test_ec2
from cloud_fakes import Answer, FakeApi, aws_signature, playing, read, serving, targets_of
from test_ec2 import tag
from test_rds import element, tag_list
from tinyobs.cloud_auth.xml_answers import parse_xml
from tinyobs.discovery.refreshing import DiscoveryError
from tinyobs.errors import TinyObsError
from tinyobs.testing.check_discoverer import check_discoverer

from tinyobs_cloud_sd import aws, elasticache
from tinyobs_cloud_sd.aws import AwsSdConfig
from tinyobs_cloud_sd.elasticache import KIND, ElasticacheSdConfig

ARN = "arn:aws:elasticache:us-west-2:123456789012"
NODE = element(
    "CacheNode",
    CacheNodeId="0001",
    CacheNodeStatus="available",
    CacheNodeCreateTime="2024-01-02T03:04:05.678Z",
    CustomerAvailabilityZone="us-west-2a",
    CustomerOutpostArn="arn:outpost",
    SourceCacheNodeId="0000",
    ParameterGroupStatus="in-sync",
    Endpoint={"Address": "n1.example", "Port": "6379"},
)
FIELDS = {
    "ARN": f"{ARN}:cluster:redis-001",
    "AtRestEncryptionEnabled": "true",
    "AuthTokenEnabled": "false",
    "AuthTokenLastModifiedDate": "2024-02-02T03:04:05.1Z",
    "AutoMinorVersionUpgrade": "true",
    "CacheClusterCreateTime": "2024-01-02T03:04:05Z",
    "CacheClusterId": "redis-001",
    "CacheClusterStatus": "available",
    "CacheNodeType": "cache.t3.micro",
    "CacheParameterGroup": {"CacheParameterGroupName": "default.redis7"},
    "CacheSubnetGroupName": "subnets",
    "ClientDownloadLandingPage": "https://page",
    "ConfigurationEndpoint": {"Address": "conf.example", "Port": "11211"},
    "Engine": "redis",
    "EngineVersion": "7.1.0",
    "IpDiscovery": "ipv4",
    "NetworkType": "dual_stack",
    "NotificationConfiguration": {"TopicArn": "arn:topic", "TopicStatus": "active"},
    "NumCacheNodes": "1",
    "PreferredAvailabilityZone": "us-west-2a",
    "PreferredMaintenanceWindow": "sun:05:00-sun:06:00",
    "PreferredOutpostArn": "arn:preferred",
    "ReplicationGroupId": "redis",
    "ReplicationGroupLogDeliveryEnabled": "true",
    "SnapshotRetentionLimit": "5",
    "SnapshotWindow": "03:00-04:00",
    "TransitEncryptionEnabled": "true",
    "TransitEncryptionMode": "required",
}
LOGS = tag(
    "LogDeliveryConfigurations",
    element(
        "LogDeliveryConfiguration",
        DestinationType="cloudwatch-logs",
        LogFormat="json",
        LogType="slow-log",
        Status="active",
        Message="fine",
        DestinationDetails={"CloudWatchLogsDetails": {"LogGroup": "group"}},
    ),
    element("LogDeliveryConfiguration", DestinationDetails={"KinesisFirehoseDetails": {"DeliveryStream": "stream"}}),
)
PENDING = tag(
    "PendingModifiedValues",
    tag("AuthTokenStatus", "SETTING"),
    tag("CacheNodeType", "cache.t3.small"),
    tag("EngineVersion", "7.2"),
    tag("NumCacheNodes", "2"),
    tag("TransitEncryptionEnabled", "true"),
    tag("TransitEncryptionMode", "preferred"),
    tag("CacheNodeIdsToRemove", tag("CacheNodeId", "0001"), tag("CacheNodeId", "0002")),
)
GROUPS = tag("SecurityGroups", element("member", SecurityGroupId="sg-1", Status="active"))


def cluster(*nodes, more="", **fields):
    return element("CacheCluster", **fields).replace(
        "</CacheCluster>", f"{tag('CacheNodes', *nodes)}{more}</CacheCluster>"
    )


FULL = cluster(NODE, element("CacheNode", CacheNodeId="0002"), more=LOGS + PENDING + GROUPS, **FIELDS)
SERVERLESS = element(
    "member",
    ARN=f"{ARN}:serverlesscache:less",
    ServerlessCacheName="less",
    Status="available",
    CreateTime="2024-01-02T03:04:05.678Z",
    Description="some words",
    Engine="valkey",
    FullEngineVersion="8.0",
    MajorEngineVersion="8",
    KmsKeyId="key",
    UserGroupId="users",
    DailySnapshotTime="09:00",
    SnapshotRetentionLimit="1",
    Endpoint={"Address": "less.example", "Port": "6379"},
    ReaderEndpoint={"Address": "reader.example", "Port": "6380"},
    SecurityGroupIds={"SecurityGroupId": "sg-1"},
    SubnetIds={"SubnetId": "subnet-1"},
    CacheUsageLimits={
        "DataStorage": {"Maximum": "10", "Minimum": "1", "Unit": "GB"},
        "ECPUPerSecond": {"Maximum": "5000", "Minimum": "1000"},
    },
)


class ElastiCache(FakeApi):
    """The interface with one item a page; every signature is checked."""

    def __init__(self):
        super().__init__({"/": self.at})
        self.clusters = [FULL]
        self.caches = [SERVERLESS, element("member", ARN="arn:creating", ServerlessCacheName="creating")]

    def at(self, request):
        form = request.form
        if len(set(aws_signature(request, test_ec2.SECRET))) > 1:
            error = element("Error", Code="SignatureDoesNotMatch", Message="does not match")
            return Answer(tag("ErrorResponse", error).encode(), 403)
        assert form["Version"] == "2015-02-02"
        if form["Action"] == "DescribeCacheClusters":
            assert (form["MaxRecords"], form["ShowCacheNodeInfo"]) == ("100", "true")
            return self.page(form, "CacheClusters", self.clusters, "Marker")
        if form["Action"] == "DescribeServerlessCaches":
            assert form["MaxResults"] == "50"
            return self.page(form, "ServerlessCaches", self.caches, "NextToken")
        assert form["Action"] == "ListTagsForResource"
        return self.xml(form, tag_list(**{"of": form["ResourceName"].rpartition(":")[2]}))

    def page(self, form, key, items, token):
        page = int(form.get(token, "0"))
        more = tag(token, str(page + 1)) if page + 1 < len(items) else ""
        return self.xml(form, tag(key, *items[page : page + 1]) + more)

    def xml(self, form, inside):
        result = tag(f"{form['Action']}Result", inside)
        body = f'<R xmlns="http://elasticache.amazonaws.com/doc/2015-02-02/">{result}</R>'
        return Answer(body.encode(), headers=(("Content-Type", "text/xml"),))

    def config(self, more="", schema=ElasticacheSdConfig):
        keys = f"access_key: {test_ec2.ACCESS}, secret_key: {test_ec2.SECRET}"
        return read(schema, f"{{region: us-west-2, endpoint: '{self.url}', {keys}, {more}}}")


@pytest.fixture
async def api():
    async with serving(ElastiCache()) as api:
        yield api


async def test_serverless_caches_have_these_labels(api):
    """One that has no address yet is no target."""
    first, _ = await targets_of(KIND, api.config())
    assert first == {"__address__": "less.example:6379", "__meta_elasticache_deployment_option": "serverless"} | {
        "__meta_elasticache_serverless_cache_" + name: value
        for name, value in {
            "arn": f"{ARN}:serverlesscache:less",
            "cache_usage_limit_data_storage_maximum": "10",
            "cache_usage_limit_data_storage_minimum": "1",
            "cache_usage_limit_data_storage_unit": "GB",
            "cache_usage_limit_ecpu_per_second_maximum": "5000",
            "cache_usage_limit_ecpu_per_second_minimum": "1000",
            "create_time": "2024-01-02T03:04:05Z",
            "daily_snapshot_time": "09:00",
            "description": "some words",
            "endpoint_address": "less.example",
            "endpoint_port": "6379",
            "endpoint_reader_address": "reader.example",
            "endpoint_reader_port": "6380",
            "engine": "valkey",
            "full_engine_version": "8.0",
            "kms_key_id": "key",
            "major_engine_version": "8",
            "name": "less",
            "security_group_id_0": "sg-1",
            "snapshot_retention_limit": "1",
            "status": "available",
            "subnet_id_0": "subnet-1",
            "tag_of": "less",
            "user_group_id": "users",
        }.items()
    }


async def test_nodes_have_these_labels(api):
    """Those of their cluster, too; one that has no address yet is no target."""
    _, node = await targets_of(KIND, api.config())
    assert node == {"__address__": "n1.example:6379", "__meta_elasticache_deployment_option": "node"} | {
        "__meta_elasticache_cache_cluster_" + name: value
        for name, value in {
            "arn": f"{ARN}:cluster:redis-001",
            "at_rest_encryption_enabled": "true",
            "auth_token_enabled": "false",
            "auth_token_last_modified": "2024-02-02T03:04:05Z",
            "auto_minor_version_upgrade": "true",
            "cache_cluster_create_time": "2024-01-02T03:04:05Z",
            "cache_cluster_id": "redis-001",
            "cache_cluster_status": "available",
            "cache_node_type": "cache.t3.micro",
            "cache_parameter_group": "default.redis7",
            "cache_subnet_group_name": "subnets",
            "client_download_landing_page": "https://page",
            "configuration_endpoint_address": "conf.example",
            "configuration_endpoint_port": "11211",
            "engine": "redis",
            "engine_version": "7.1.0",
            "ip_discovery": "ipv4",
            "log_delivery_configuration_delivery_stream_1": "stream",
            "log_delivery_configuration_destination_type_0": "cloudwatch-logs",
            "log_delivery_configuration_log_format_0": "json",
            "log_delivery_configuration_log_group_0": "group",
            "log_delivery_configuration_log_type_0": "slow-log",
            "log_delivery_configuration_message_0": "fine",
            "log_delivery_configuration_status_0": "active",
            "network_type": "dual_stack",
            "node_availability_zone": "us-west-2a",
            "node_create_time": "2024-01-02T03:04:05Z",
            "node_customer_outpost_arn": "arn:outpost",
            "node_endpoint_address": "n1.example",
            "node_endpoint_port": "6379",
            "node_id": "0001",
            "node_parameter_group_status": "in-sync",
            "node_source_cache_node_id": "0000",
            "node_status": "available",
            "notification_topic_arn": "arn:topic",
            "notification_topic_status": "active",
            "num_cache_nodes": "1",
            "pending_modified_values_auth_token_status": "SETTING",
            "pending_modified_values_cache_node_ids_to_remove": "0001,0002",
            "pending_modified_values_cache_node_type": "cache.t3.small",
            "pending_modified_values_engine_version": "7.2",
            "pending_modified_values_num_cache_nodes": "2",
            "pending_modified_values_transit_encryption_enabled": "true",
            "pending_modified_values_transit_encryption_mode": "preferred",
            "preferred_availability_zone": "us-west-2a",
            "preferred_maintenance_window": "sun:05:00-sun:06:00",
            "preferred_outpost_arn": "arn:preferred",
            "replication_group_id": "redis",
            "replication_group_log_delivery_enabled": "true",
            "security_group_membership_id_0": "sg-1",
            "security_group_membership_status_0": "active",
            "snapshot_retention_limit": "5",
            "snapshot_window": "03:00-04:00",
            "tag_of": "redis-001",
            "transit_encryption_enabled": "true",
            "transit_encryption_mode": "required",
        }.items()
    }


@pytest.mark.parametrize(
    ("arn", "found"),
    [
        (f"{ARN}:cluster:redis-001", ["n1.example:6379"]),
        (f"{ARN}:replicationgroup:redis", ["n1.example:6379"]),
        (f"{ARN}:serverlesscache:less", ["less.example:6379"]),
        (f"{ARN}:cluster:none", []),
    ],
)
async def test_some_caches_only(api, arn, found):
    """By the ARN of a cluster, of a replication group or of a serverless cache."""
    assert [t["__address__"] for t in await targets_of(KIND, api.config(f"clusters: ['{arn}']"))] == found
    config = api.config(f"role: elasticache, clusters: ['{arn}']", AwsSdConfig)
    assert len(await targets_of(aws.KIND, config)) == len(found)


def test_a_port_that_is_none_is_an_error():
    """And the last good list stays."""
    odd = parse_xml(SERVERLESS.replace("6379", "many").encode())
    with pytest.raises(DiscoveryError, match="'many' is no port"):
        list(elasticache.serverless_targets(odd, []))


async def test_caches_come_and_go(api, mock_clock):
    """What is gone is not there any more, an error changes nothing."""
    async with playing(KIND, api.config(), mock_clock) as played:
        for status in (403, 429, 503):
            api.broken = Answer(b"", status)
            assert await played.again() is None
        api.broken = None
        del api.caches[0]
        assert await played.again() == {"us-west-2": ["n1.example:6379"]}
        assert played.failures == 3


async def test_a_refusal_says_why_and_shows_no_key(api):
    """The kind of error and the message of AWS."""
    text = f"{{region: us-west-2, endpoint: '{api.url}', access_key: A, secret_key: hidden}}"
    config = read(ElasticacheSdConfig, text)
    with pytest.raises(TinyObsError, match="403 SignatureDoesNotMatch: does not match") as e:
        await targets_of(KIND, config)
    assert "hidden" not in str(e.value)


async def test_it_keeps_the_contract(api):
    """`check_discoverer` is content."""
    assert len(await check_discoverer(KIND, api.config())) == 1
