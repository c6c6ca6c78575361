"""Amazon RDS: clusters and their instances, with the labels of Prometheus."""

from __future__ import annotations

import pytest
import test_ec2
from cloud_fakes import Answer, FakeApi, aws_signature, playing, read, serving, targets_of
from test_ec2 import tag
from tinyobs.cloud_auth.xml_answers import parse_xml
from tinyobs.errors import TinyObsError
from tinyobs.testing.check_discoverer import check_discoverer

from tinyobs_cloud_sd import aws, rds
from tinyobs_cloud_sd.aws import AwsSdConfig
from tinyobs_cloud_sd.rds import KIND, RdsSdConfig

CLUSTER_ARN = "arn:aws:rds:us-west-2:123456789012:cluster:main"
CLUSTER_LABELS = [
    "activity_stream_kinesis_stream_name",
    "activity_stream_kms_key_id",
    "activity_stream_mode",
    "activity_stream_status",
    "allocated_storage",
    "auto_minor_version_upgrade",
    "automatic_restart_time",
    "aws_backup_recovery_point_arn",
    "backtrack_consumed_change_records",
    "backtrack_window",
    "backup_retention_period",
    "capacity",
    "character_set_name",
    "clone_group_id",
    "cluster_create_time",
    "cluster_scalability_type",
    "copy_tags_to_snapshot",
    "cross_account_clone",
    "arn",
    "identifier",
    "instance_class",
    "parameter_group",
    "subnet_group",
    "db_system_id",
    "database_insights_mode",
    "database_name",
    "resource_id",
    "deletion_protection",
    "earliest_backtrack_time",
    "earliest_restorable_time",
    "endpoint",
    "engine",
    "engine_lifecycle_support",
    "engine_mode",
    "engine_version",
    "global_cluster_identifier",
    "global_write_forwarding_requested",
    "global_write_forwarding_status",
    "hosted_zone_id",
    "http_endpoint_enabled",
    "iam_database_authentication_enabled",
    "io_optimized_next_allowed_modification_time",
    "iops",
    "kms_key_id",
    "latest_restorable_time",
    "local_write_forwarding_status",
    "master_username",
    "monitoring_interval",
    "monitoring_role_arn",
    "multi_az",
    "network_type",
    "percent_progress",
    "performance_insights_enabled",
    "performance_insights_kms_key_id",
    "performance_insights_retention_period",
    "port",
    "preferred_backup_window",
    "preferred_maintenance_window",
    "publicly_accessible",
    "reader_endpoint",
    "replication_source_identifier",
    "serverless_v2_platform_version",
    "status",
    "storage_encrypted",
    "storage_encryption_type",
    "storage_throughput",
    "storage_type",
    "upgrade_rollout_order",
]
INSTANCE_LABELS = [
    "activity_stream_engine_native_audit_fields_included",
    "activity_stream_kinesis_stream_name",
    "activity_stream_kms_key_id",
    "activity_stream_mode",
    "activity_stream_policy_status",
    "activity_stream_status",
    "allocated_storage",
    "auto_minor_version_upgrade",
    "automatic_restart_time",
    "automation_mode",
    "availability_zone",
    "aws_backup_recovery_point_arn",
    "backup_retention_period",
    "backup_target",
    "ca_certificate_identifier",
    "character_set_name",
    "copy_tags_to_snapshot",
    "custom_iam_instance_profile",
    "customer_owned_ip_enabled",
    "db_cluster_identifier",
    "arn",
    "class",
    "identifier",
    "status",
    "db_name",
    "subnet_group",
    "db_system_id",
    "database_insights_mode",
    "port",
    "resource_id",
    "dedicated_log_volume",
    "deletion_protection",
    "endpoint_address",
    "endpoint_hosted_zone_id",
    "endpoint_port",
    "engine",
    "engine_lifecycle_support",
    "engine_version",
    "enhanced_monitoring_resource_arn",
    "iam_database_authentication_enabled",
    "instance_create_time",
    "iops",
    "is_storage_config_upgrade_available",
    "kms_key_id",
    "latest_restorable_time",
    "license_model",
    "listener_endpoint_address",
    "listener_endpoint_hosted_zone_id",
    "listener_endpoint_port",
    "master_username",
    "max_allocated_storage",
    "monitoring_interval",
    "monitoring_role_arn",
    "multi_az",
    "multi_tenant",
    "nchar_character_set_name",
    "network_type",
    "percent_progress",
    "performance_insights_enabled",
    "performance_insights_kms_key_id",
    "performance_insights_retention_period",
    "preferred_backup_window",
    "preferred_maintenance_window",
    "promotion_tier",
    "publicly_accessible",
    "read_replica_source_db_cluster_identifier",
    "read_replica_source_db_instance_identifier",
    "replica_mode",
    "resume_full_automation_mode_time",
    "secondary_availability_zone",
    "storage_encrypted",
    "storage_encryption_type",
    "storage_throughput",
    "storage_type",
    "storage_volume_status",
    "tde_credential_arn",
    "timezone",
    "upgrade_rollout_order",
]


def element(name, **inside):
    """Return an element with others in it; a text stands for itself."""
    found = (tag(key, value) if isinstance(value, str) else element(key, **value) for key, value in inside.items())
    return tag(name, *found)


def tag_list(**tags):
    return tag("TagList", *(element("Tag", Key=key, Value=value) for key, value in tags.items()))


def instance(name, host="", **more):
    endpoint = {"Endpoint": {"Address": host, "Port": "3306", "HostedZoneId": "Z1"}} if host else {}
    inside = {"DBInstanceIdentifier": name, "DBInstanceArn": f"arn:{name}", **endpoint, **more}
    return inside


CLUSTER = element(
    "DBCluster",
    DBClusterArn=CLUSTER_ARN,
    DBClusterIdentifier="main",
    ClusterCreateTime="2024-01-02T03:04:05.678Z",
    MultiAZ="false",
    Port="3306",
    DBSubnetGroup="default",
    DbClusterResourceId="cluster-ABC",
).replace(
    "</DBCluster>",
    tag_list(env="prod")
    + tag(
        "DBClusterMembers",
        element("DBClusterMember", DBInstanceIdentifier="a", IsClusterWriter="true"),
        element("DBClusterMember", DBInstanceIdentifier="b", IsClusterWriter="false"),
    )
    + "</DBCluster>",
)


class Rds(FakeApi):
    """The interface with one item a page; every signature is checked."""

    def __init__(self):
        super().__init__({"/": self.at})
        self.clusters = [CLUSTER]
        self.instances = [
            instance(
                "a",
                "a.example",
                DBInstanceClass="db.r5.large",
                DbiResourceId="db-ABC",
                InstanceCreateTime="2024-01-02T03:04:05.678Z",
                DBSubnetGroup={"DBSubnetGroupName": "default"},
            ),
            instance("b", "b.example"),
            instance("creating"),
        ]

    def at(self, request):
        form = request.form
        if len(set(aws_signature(request, test_ec2.SECRET))) > 1:
            error = element("Error", Code="SignatureDoesNotMatch", Message="does not match")
            return Answer(tag("ErrorResponse", error).encode(), 403)
        assert form["Version"] == "2014-10-31"
        assert form["MaxRecords"] == "100"
        if form["Action"] == "DescribeDBClusters":
            wanted = form.get("DBClusterIdentifier", "")
            return self.page(form, "DBClusters", [one for one in self.clusters if wanted in one])
        assert form["Action"] == "DescribeDBInstances"
        assert form["Filters.Filter.1.Name"] == "db-cluster-id"
        assert form["Filters.Filter.1.Values.Value.1"] == CLUSTER_ARN
        wanted = form.get("Filters.Filter.2.Values.Value.1", "")
        found = [one for one in self.instances if wanted in one["DBInstanceIdentifier"]]
        listed = [
            element("DBInstance", **one).replace("</DBInstance>", f"{tag_list(team='x')}</DBInstance>") for one in found
        ]
        return self.page(form, "DBInstances", listed)

    def page(self, form, key, items):
        page = int(form.get("Marker", "0"))
        more = tag("Marker", str(page + 1)) if page + 1 < len(items) else ""
        result = tag(f"{form['Action']}Result", tag(key, *items[page : page + 1]) + more)
        body = f'<R xmlns="http://rds.amazonaws.com/doc/2014-10-31/">{result}</R>'
        return Answer(body.encode(), headers=(("Content-Type", "text/xml"),))

    def config(self, more="", schema=RdsSdConfig):
        keys = f"access_key: {test_ec2.ACCESS}, secret_key: {test_ec2.SECRET}"
        return read(schema, f"{{region: us-west-2, endpoint: '{self.url}', {keys}, {more}}}")


@pytest.fixture
async def api():
    async with serving(Rds()) as api:
        yield api


async def test_instances_have_these_labels(api):
    """Those of their cluster, too; one without an address is no target, and times have no fractions."""
    first, second = await targets_of(KIND, api.config())
    assert first == {
        "__address__": "a.example:80",
        "__meta_rds_cluster_arn": CLUSTER_ARN,
        "__meta_rds_cluster_cluster_create_time": "2024-01-02T03:04:05Z",
        "__meta_rds_cluster_identifier": "main",
        "__meta_rds_cluster_multi_az": "false",
        "__meta_rds_cluster_port": "3306",
        "__meta_rds_cluster_resource_id": "cluster-ABC",
        "__meta_rds_cluster_subnet_group": "default",
        "__meta_rds_cluster_tag_env": "prod",
        "__meta_rds_instance_arn": "arn:a",
        "__meta_rds_instance_class": "db.r5.large",
        "__meta_rds_instance_endpoint_address": "a.example",
        "__meta_rds_instance_endpoint_hosted_zone_id": "Z1",
        "__meta_rds_instance_endpoint_port": "3306",
        "__meta_rds_instance_identifier": "a",
        "__meta_rds_instance_instance_create_time": "2024-01-02T03:04:05Z",
        "__meta_rds_instance_is_cluster_writer": "true",
        "__meta_rds_instance_resource_id": "db-ABC",
        "__meta_rds_instance_subnet_group": "default",
        "__meta_rds_instance_tag_team": "x",
    }
    assert second["__meta_rds_instance_is_cluster_writer"] == "false"


@pytest.mark.parametrize(
    ("fields", "labels"),
    [(rds._CLUSTER, CLUSTER_LABELS), (rds._INSTANCE, INSTANCE_LABELS)],
    ids=["cluster", "instance"],
)
def test_every_label_of_prometheus_is_known(fields, labels):
    """And no other; each has a field of its own."""
    assert sorted(fields) == sorted(labels)
    assert len(set(fields.values())) == len(labels)


def test_every_field_becomes_its_label():
    """Of a cluster and an instance that have all of them."""

    def whole(fields):
        text = ""
        for name, (first, *rest) in fields.items():
            if not rest:
                text += tag(first, f"value of {name}")
        return text

    endpoints = "".join(
        element(name, Address="h", Port="1", HostedZoneId="z") for name in ("Endpoint", "ListenerEndpoint")
    )
    group = element("DBSubnetGroup", DBSubnetGroupName="g")
    cluster = parse_xml(tag("DBCluster", whole(rds._CLUSTER)).encode())
    one = parse_xml(tag("DBInstance", whole(rds._INSTANCE) + endpoints + group).encode())
    (target,) = rds.rds_targets(cluster, [one], 80)
    assert len(target) == 1 + len(CLUSTER_LABELS) + len(INSTANCE_LABELS)
    assert target["__meta_rds_cluster_iops"] == "value of iops"
    assert target["__meta_rds_instance_listener_endpoint_address"] == "h"


async def test_some_clusters_and_instances_only(api):
    """By ARN, and with filters of the interface."""
    assert len(await targets_of(KIND, api.config(f"clusters: ['{CLUSTER_ARN}'], port: 9100"))) == 2
    assert await targets_of(KIND, api.config("clusters: [none]")) == []
    (only,) = await targets_of(KIND, api.config("filters: [{name: db-instance-id, values: [b]}]"))
    assert only["__meta_rds_instance_identifier"] == "b"
    text = "role: rds, clusters: [main], filters: [{name: db-instance-id, values: [a]}]"
    assert len(await targets_of(aws.KIND, api.config(text, AwsSdConfig))) == 1


async def test_instances_come_and_go(api, mock_clock):
    """What is gone is not there any more, an error changes nothing."""
    async with playing(KIND, api.config(), mock_clock) as played:
        for status in (403, 429, 503):
            api.broken = Answer(b"", status)
            assert await played.again() is None
        api.broken = None
        del api.instances[0]
        assert await played.again() == {"us-west-2": ["b.example:80"]}
        assert played.failures == 3


async def test_a_refusal_says_why_and_shows_no_key(api):
    """The kind of error and the message of AWS."""
    config = read(RdsSdConfig, f"{{region: us-west-2, endpoint: '{api.url}', access_key: A, secret_key: hidden}}")
    with pytest.raises(TinyObsError, match="403 SignatureDoesNotMatch: does not match") as e:
        await targets_of(KIND, config)
    assert "hidden" not in str(e.value)


async def test_it_keeps_the_contract(api):
    """`check_discoverer` is content."""
    assert len(await check_discoverer(KIND, api.config())) == 1
