"""Amazon ECS: clusters, their tasks and the machines these run on, with the labels of Prometheus."""

from __future__ import annotations

import json

import pytest
import test_ec2
from cloud_fakes import Answer, FakeApi, aws_signature, playing, read, serving, targets_of
from test_ec2 import items, tag
from tinyobs.errors import TinyObsError
from tinyobs.testing.check_discoverer import check_discoverer

from tinyobs_cloud_sd import aws, aws_entry
from tinyobs_cloud_sd.aws import AwsSdConfig
from tinyobs_cloud_sd.ecs import KIND, EcsSdConfig

ARN = "arn:aws:ecs:us-west-2:123456789012"
CLUSTER = {
    "clusterName": "test",
    "clusterArn": f"{ARN}:cluster/test",
    "tags": [{"key": "Environment", "value": "test"}, {"key": "only"}],
}
WEB = {
    "serviceName": "web",
    "serviceArn": f"{ARN}:service/test/web",
    "status": "ACTIVE",
    "tags": [{"key": "App", "value": "web"}],
}
INSTANCE = f"{ARN}:container-instance/test/ci-1"


def interface(ip, identity, subnet="subnet-1"):
    details = {"subnetId": subnet, "networkInterfaceId": identity, "privateIPv4Address": ip}
    return {
        "type": "ElasticNetworkInterface",
        "details": [{"name": name, "value": value} for name, value in details.items()],
    }


def task(name, group="service:web", **more):
    return {
        "taskArn": f"{ARN}:task/test/{name}",
        "taskDefinitionArn": f"{ARN}:task-definition/web:1",
        "group": group,
        "launchType": "EC2",
        "lastStatus": "RUNNING",
        "desiredStatus": "RUNNING",
        "healthStatus": "HEALTHY",
        "availabilityZone": "us-west-2a",
        **more,
    }


FARGATE = task(
    "fargate",
    launchType="FARGATE",
    platformFamily="Linux",
    platformVersion="1.4.0",
    attachments=[{"type": "other"}, interface("10.0.1.100", "eni-1")],
    tags=[{"key": "Version", "value": "v1.0"}],
)
BRIDGE = task("bridge", "family:batch", containerInstanceArn=INSTANCE)
AWSVPC = task("awsvpc", containerInstanceArn=INSTANCE, attachments=[interface("10.0.1.7", "eni-2", "subnet-2")])


class Ecs(FakeApi):
    """ECS and EC2 at one address, one name a page; every signature is checked."""

    def __init__(self):
        super().__init__({"/": self.at})
        self.clusters = [CLUSTER]
        self.tasks = {CLUSTER["clusterArn"]: [FARGATE, BRIDGE, AWSVPC, task("nowhere")]}
        self.services = {CLUSTER["clusterArn"]: [WEB, {"serviceName": "other"}]}
        self.busy = self.busiest = 0

    def at(self, request):
        scope = request.headers["authorization"].partition("Credential=")[2].partition(",")[0]
        service = "ec2" if "Action" in request.form else "ecs"
        assert scope.split("/")[2:] == ["us-west-2", service, "aws4_request"]
        if len(set(aws_signature(request, test_ec2.SECRET))) > 1:
            return Answer({"__type": "InvalidSignatureException", "message": "does not match"}, 400)
        if service == "ec2":
            return self.ec2(request.form)
        assert request.headers["content-type"] == "application/x-amz-json-1.1"
        operation = request.headers["x-amz-target"].removeprefix("AmazonEC2ContainerServiceV20141113.")
        return Answer(getattr(self, operation)(json.loads(request.body)))

    def page(self, asked, key, names):
        assert asked["maxResults"] == 100
        page = int(asked.get("nextToken", "0"))
        more = {"nextToken": str(page + 1)} if page + 1 < len(names) else {}
        return {key: names[page : page + 1], **more}

    def ListClusters(self, asked):
        return self.page(asked, "clusterArns", [cluster["clusterArn"] for cluster in self.clusters])

    def DescribeClusters(self, asked):
        assert asked["include"] == ["TAGS"]
        return {
            "clusters": [c for c in self.clusters if {c["clusterArn"], c["clusterName"]} & set(asked["clusters"])],
            "failures": [{"reason": "MISSING"}],
        }

    def ListTasks(self, asked):
        return self.page(asked, "taskArns", [one["taskArn"] for one in self.tasks[asked["cluster"]]])

    def DescribeTasks(self, asked):
        assert asked["include"] == ["TAGS"]
        return {"tasks": [one for one in self.tasks[asked["cluster"]] if one["taskArn"] in asked["tasks"]]}

    def ListServices(self, asked):
        return self.page(asked, "serviceArns", [one["serviceName"] for one in self.services[asked["cluster"]]])

    def DescribeServices(self, asked):
        assert asked["include"] == ["TAGS"]
        assert len(asked["services"]) <= 10
        return {"services": [s for s in self.services[asked["cluster"]] if s["serviceName"] in asked["services"]]}

    def DescribeContainerInstances(self, asked):
        assert asked["containerInstances"] == [INSTANCE]
        return {"containerInstances": [{"containerInstanceArn": INSTANCE, "ec2InstanceId": "i-1"}]}

    def ec2(self, form):
        values = [value for key, value in form.items() if key.startswith("Filter.1.Value.")]
        if form["Action"] == "DescribeInstances":
            assert (form["Filter.1.Name"], values) == ("instance-id", ["i-1"])
            inside = {
                "instanceId": "i-1",
                "privateIpAddress": "10.0.9.9",
                "ipAddress": "54.1.2.3",
                "subnetId": "subnet-9",
                "instanceType": "t3.medium",
                "tagSet": items(tag("key", "Name tag") + tag("value", "worker")),
            }
            instance = "".join(tag(k, v) for k, v in inside.items())
            return self.xml(tag("reservationSet", items(tag("instancesSet", items(instance, tag("instanceId", "x"))))))
        assert form["Action"] == "DescribeNetworkInterfaces"
        assert form["Filter.1.Name"] == "network-interface-id"
        public = tag("networkInterfaceId", "eni-1") + tag("association", tag("publicIp", "52.1.2.3"))
        found = {"eni-1": public, "eni-2": tag("networkInterfaceId", "eni-2")}
        if "NextToken" not in form and len(values) > 1:
            return self.xml(tag("networkInterfaceSet", items(found[values[0]])) + tag("nextToken", "2"))
        return self.xml(tag("networkInterfaceSet", items(*(found[value] for value in values[1:] or values))))

    def xml(self, inside):
        body = f'<?xml version="1.0"?><R xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">{inside}</R>'
        return Answer(body.encode(), headers=(("Content-Type", "text/xml"),))


def config(more="", schema=EcsSdConfig):
    keys = f"access_key: {test_ec2.ACCESS}, secret_key: {test_ec2.SECRET}"
    return read(schema, f"{{region: us-west-2, {keys}, {more}}}")


@pytest.fixture
async def api(monkeypatch):
    async with serving(Ecs()) as api:
        monkeypatch.setattr(aws_entry, "service_url", lambda service, region: api.url)
        yield api


COMMON = {
    "__meta_ecs_availability_zone": "us-west-2a",
    "__meta_ecs_cluster": "test",
    "__meta_ecs_cluster_arn": f"{ARN}:cluster/test",
    "__meta_ecs_desired_status": "RUNNING",
    "__meta_ecs_health_status": "HEALTHY",
    "__meta_ecs_last_status": "RUNNING",
    "__meta_ecs_region": "us-west-2",
    "__meta_ecs_tag_cluster_Environment": "test",
    "__meta_ecs_task_definition": f"{ARN}:task-definition/web:1",
}
IN_SERVICE = {
    "__meta_ecs_service": "web",
    "__meta_ecs_service_arn": f"{ARN}:service/test/web",
    "__meta_ecs_service_status": "ACTIVE",
    "__meta_ecs_tag_service_App": "web",
    "__meta_ecs_task_group": "service:web",
}
ON_MACHINE = {
    "__meta_ecs_container_instance_arn": INSTANCE,
    "__meta_ecs_ec2_instance_id": "i-1",
    "__meta_ecs_ec2_instance_private_ip": "10.0.9.9",
    "__meta_ecs_ec2_instance_public_ip": "54.1.2.3",
    "__meta_ecs_ec2_instance_type": "t3.medium",
    "__meta_ecs_launch_type": "EC2",
    "__meta_ecs_tag_ec2_Name_tag": "worker",
}


async def test_tasks_have_these_labels(api):
    """On Fargate, on a machine and its address, on a machine with one of its own; one without any is no target."""
    fargate, bridge, awsvpc = await targets_of(KIND, config())
    assert fargate == COMMON | IN_SERVICE | {
        "__address__": "10.0.1.100:80",
        "__meta_ecs_ip_address": "10.0.1.100",
        "__meta_ecs_launch_type": "FARGATE",
        "__meta_ecs_network_mode": "awsvpc",
        "__meta_ecs_platform_family": "Linux",
        "__meta_ecs_platform_version": "1.4.0",
        "__meta_ecs_public_ip": "52.1.2.3",
        "__meta_ecs_subnet_id": "subnet-1",
        "__meta_ecs_tag_task_Version": "v1.0",
        "__meta_ecs_task_arn": f"{ARN}:task/test/fargate",
    }
    assert bridge == COMMON | ON_MACHINE | {
        "__address__": "10.0.9.9:80",
        "__meta_ecs_ip_address": "10.0.9.9",
        "__meta_ecs_network_mode": "bridge",
        "__meta_ecs_public_ip": "54.1.2.3",
        "__meta_ecs_subnet_id": "subnet-9",
        "__meta_ecs_task_arn": f"{ARN}:task/test/bridge",
        "__meta_ecs_task_group": "family:batch",
    }
    assert awsvpc == COMMON | ON_MACHINE | IN_SERVICE | {
        "__address__": "10.0.1.7:80",
        "__meta_ecs_ip_address": "10.0.1.7",
        "__meta_ecs_network_mode": "awsvpc",
        "__meta_ecs_subnet_id": "subnet-2",
        "__meta_ecs_task_arn": f"{ARN}:task/test/awsvpc",
    }


async def test_some_clusters_only(api):
    """By ARN or name; one that is not there has no targets, and an empty one asks for nothing more."""
    other = {"clusterName": "other", "clusterArn": f"{ARN}:cluster/other"}
    api.clusters.append(other)
    api.tasks[other["clusterArn"]] = []
    assert len(await targets_of(KIND, config())) == 3
    assert await targets_of(KIND, config("clusters: [other]")) == []
    assert "ListServices" not in api.asked[-1].headers["x-amz-target"]
    assert len(await targets_of(KIND, config(f"clusters: [{ARN}:cluster/test, none], port: 9100"))) == 3
    api.clusters.clear()
    assert await targets_of(KIND, config()) == []


async def test_services_are_described_ten_at_once(api):
    """And names are read on over many pages."""
    api.services[CLUSTER["clusterArn"]] = [{"serviceName": f"s{i}"} for i in range(25)] + [WEB]
    fargate, _, _ = await targets_of(KIND, config("request_concurrency: 1"))
    assert fargate["__meta_ecs_service"] == "web"
    targets = [request.headers.get("x-amz-target", "") for request in api.asked]
    assert sum(target.endswith("DescribeServices") for target in targets) == 3


async def test_tasks_come_and_go(api, mock_clock):
    """What is gone is not there any more, an error of one request changes nothing."""
    async with playing(KIND, config(), mock_clock) as played:
        api.broken = Answer({"__type": "ThrottlingException", "message": "Rate exceeded"}, 400)
        assert await played.again() is None
        api.broken = None
        whole = api.ec2
        api.ec2 = lambda form: Answer(b"", 500)
        assert await played.again() is None
        api.ec2 = whole
        api.tasks[CLUSTER["clusterArn"]] = [BRIDGE]
        assert await played.again() == {"us-west-2": ["10.0.9.9:80"]}
        assert played.failures == 2


async def test_a_refusal_says_why_and_shows_no_key(api):
    """The kind of error and the message of AWS."""
    with pytest.raises(TinyObsError, match="InvalidSignatureException: does not match") as e:
        await targets_of(KIND, read(EcsSdConfig, "{region: us-west-2, access_key: A, secret_key: hidden}"))
    assert "hidden" not in str(e.value)


async def test_the_kind_aws_leads_here(api):
    """With the clusters."""
    assert len(await targets_of(aws.KIND, config("role: ecs, clusters: [test]", AwsSdConfig))) == 3


async def test_it_keeps_the_contract(api):
    """`check_discoverer` is content."""
    assert len(await check_discoverer(KIND, config())) == 1
