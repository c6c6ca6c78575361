"""Amazon MSK: clusters and their nodes, with the labels of Prometheus."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
import test_ec2
from cloud_fakes import Answer, FakeApi, aws_signature, playing, read, serving, targets_of
from tinyobs.errors import TinyObsError
from tinyobs.testing.check_discoverer import check_discoverer

from tinyobs_cloud_sd import aws
from tinyobs_cloud_sd.aws import AwsSdConfig
from tinyobs_cloud_sd.msk import KIND, MskSdConfig

ARN = "arn:aws:kafka:us-west-2:123456789012:cluster/test-cluster/abc-123"
CLUSTER = {
    "clusterName": "test-cluster",
    "clusterArn": ARN,
    "state": "ACTIVE",
    "clusterType": "PROVISIONED",
    "currentVersion": "1.2.3",
    "tags": {"Environment": "production", "my team": "platform"},
    "provisioned": {
        "currentBrokerSoftwareInfo": {
            "configurationArn": "arn:config",
            "configurationRevision": 2,
            "kafkaVersion": "3.3.1",
        },
        "openMonitoring": {
            "prometheus": {"jmxExporter": {"enabledInBroker": True}, "nodeExporter": {"enabledInBroker": False}}
        },
    },
}
BROKER = {
    "nodeARN": "arn:broker-1",
    "addedToClusterTime": "2023-01-01T00:00:00Z",
    "instanceType": "kafka.m5.large",
    "nodeType": "BROKER",
    "brokerNodeInfo": {
        "brokerId": 1.0,
        "clientSubnet": "subnet-12345",
        "clientVpcIpAddress": "10.0.1.100",
        "endpoints": ["b-1.example", "b-1-public.example"],
        "attachedENIId": "eni-12345",
    },
}
CONTROLLER = {"nodeARN": "arn:controller-1", "controllerNodeInfo": {"endpoints": ["c-1.example"]}}


class Msk(FakeApi):
    """The interface with one item a page; every signature is checked."""

    def __init__(self):
        super().__init__()
        self.clusters = {ARN: CLUSTER}
        self.nodes = {ARN: [BROKER, CONTROLLER, {"nodeARN": "neither"}]}

    def answer(self, request):
        self.asked.append(request)
        if self.broken:
            return self.broken
        scope = request.headers["authorization"].partition("Credential=")[2].partition(",")[0]
        assert scope.split("/")[2:] == ["us-west-2", "kafka", "aws4_request"]
        if len(set(aws_signature(request, test_ec2.SECRET))) > 1:
            return Answer({"message": "does not match"}, 403, (("x-amzn-ErrorType", "InvalidSignatureException"),))
        path = request.target.partition("?")[0]
        if path == "/api/v2/clusters":
            assert request.params["clusterTypeFilter"] == "PROVISIONED"
            return self.page(request, "clusterInfoList", list(self.clusters.values()))
        if path.startswith("/api/v2/clusters/"):
            found = self.clusters.get(unquote(path.rpartition("/")[2]))
            return Answer({"clusterInfo": found}) if found else Answer({"message": "not found"}, 404)
        assert path.startswith("/v1/clusters/")
        assert path.endswith("/nodes")
        return self.page(request, "nodeInfoList", self.nodes[unquote(path.split("/")[3])])

    def page(self, request, key, items):
        assert request.params["maxResults"] == "100"
        page = int(request.params.get("nextToken", "0"))
        more = {"nextToken": str(page + 1)} if page + 1 < len(items) else {}
        return Answer({key: items[page : page + 1], **more})

    def config(self, more="", schema=MskSdConfig):
        keys = f"access_key: {test_ec2.ACCESS}, secret_key: {test_ec2.SECRET}"
        return read(schema, f"{{region: us-west-2, endpoint: '{self.url}', {keys}, {more}}}")


@pytest.fixture
async def api():
    async with serving(Msk()) as api:
        yield api


COMMON = {
    "__meta_msk_cluster_arn": ARN,
    "__meta_msk_cluster_configuration_arn": "arn:config",
    "__meta_msk_cluster_configuration_revision": "2",
    "__meta_msk_cluster_jmx_exporter_enabled": "true",
    "__meta_msk_cluster_kafka_version": "3.3.1",
    "__meta_msk_cluster_name": "test-cluster",
    "__meta_msk_cluster_state": "ACTIVE",
    "__meta_msk_cluster_tag_Environment": "production",
    "__meta_msk_cluster_tag_my_team": "platform",
    "__meta_msk_cluster_type": "PROVISIONED",
    "__meta_msk_cluster_version": "1.2.3",
}


async def test_nodes_have_these_labels(api):
    """One target for each address of a broker or controller."""
    first, second, controller = await targets_of(KIND, api.config())
    assert first == COMMON | {
        "__address__": "b-1.example:80",
        "__meta_msk_broker_client_subnet": "subnet-12345",
        "__meta_msk_broker_client_vpc_ip": "10.0.1.100",
        "__meta_msk_broker_endpoint_index": "0",
        "__meta_msk_broker_id": "1",
        "__meta_msk_broker_node_exporter_enabled": "false",
        "__meta_msk_node_added_time": "2023-01-01T00:00:00Z",
        "__meta_msk_node_arn": "arn:broker-1",
        "__meta_msk_node_attached_eni": "eni-12345",
        "__meta_msk_node_instance_type": "kafka.m5.large",
        "__meta_msk_node_type": "BROKER",
    }
    assert second == first | {"__address__": "b-1-public.example:80", "__meta_msk_broker_endpoint_index": "1"}
    assert controller == COMMON | {
        "__address__": "c-1.example:80",
        "__meta_msk_controller_endpoint_index": "0",
        "__meta_msk_node_added_time": "",
        "__meta_msk_node_arn": "arn:controller-1",
        "__meta_msk_node_instance_type": "",
        "__meta_msk_node_type": "CONTROLLER",
    }


async def test_some_clusters_only(api):
    """By ARN; without open monitoring both exporters are off."""
    api.clusters["arn:x"] = {"clusterArn": "arn:x", "provisioned": {}}
    api.nodes["arn:x"] = [BROKER]
    assert len(await targets_of(KIND, api.config())) == 5
    first, _ = await targets_of(KIND, api.config("clusters: ['arn:x'], port: 9100"))
    assert first["__address__"] == "b-1.example:9100"
    assert first["__meta_msk_cluster_jmx_exporter_enabled"] == "false"
    assert len(await targets_of(aws.KIND, api.config("role: msk, clusters: ['arn:x']", AwsSdConfig))) == 2
    with pytest.raises(TinyObsError, match="404 not found"):
        await targets_of(KIND, api.config("clusters: [none]"))


async def test_nodes_come_and_go(api, mock_clock):
    """What is gone is not there any more, an error changes nothing."""
    async with playing(KIND, api.config(), mock_clock) as played:
        for status in (403, 429, 503):
            api.broken = Answer({"message": "no"}, status)
            assert await played.again() is None
        api.broken = None
        api.nodes[ARN] = [CONTROLLER]
        assert await played.again() == {"us-west-2": ["c-1.example:80"]}
        assert played.failures == 3


async def test_a_refusal_says_why_and_shows_no_key(api):
    """The kind of error and the message of AWS."""
    config = read(MskSdConfig, f"{{region: us-west-2, endpoint: '{api.url}', access_key: A, secret_key: hidden}}")
    with pytest.raises(TinyObsError, match="403 InvalidSignatureException: does not match") as e:
        await targets_of(KIND, config)
    assert "hidden" not in str(e.value)


async def test_it_keeps_the_contract(api):
    """`check_discoverer` is content."""
    assert len(await check_discoverer(KIND, api.config())) == 1
