"""Tasks as ECS describes them, and the machines they run on -> labels.  Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from attrs import frozen
from tinyobs.cloud_auth.xml_answers import Element
from tinyobs.discovery.names import sanitize_label_name

from .labels import address
from .shapes import member, objects, text

_META: Final = "__meta_ecs_"
_TASK: Final = {
    "task_group": "group",
    "task_arn": "taskArn",
    "task_definition": "taskDefinitionArn",
    "launch_type": "launchType",
    "availability_zone": "availabilityZone",
    "desired_status": "desiredStatus",
    "last_status": "lastStatus",
    "health_status": "healthStatus",
}
_SERVICE: Final = {"service": "serviceName", "service_arn": "serviceArn", "service_status": "status"}


@frozen
class EcsMachine:
    """An instance of EC2 that runs tasks."""

    private_ip: str
    public_ip: str
    subnet_id: str
    instance_type: str
    tags: Mapping[str, str]


@frozen
class EcsCluster:
    """A cluster with what is known of its tasks."""

    cluster: Mapping[str, Any]
    services: Sequence[Mapping[str, Any]]
    tasks: Sequence[Mapping[str, Any]]
    instances: Mapping[str, str]
    """ARN of a container instance -> id of its instance of EC2."""
    machines: Mapping[str, EcsMachine]
    """Id of an instance of EC2 -> the instance."""
    public_ips: Mapping[str, str]
    """Id of a network interface -> its public address."""


def machines_of(answer: Element) -> dict[str, EcsMachine]:
    """Return the instances of a page that have a private address."""
    found = {}
    for reservation in answer.items("reservationSet"):
        for instance in reservation.items("instancesSet"):
            identity, private = instance.value("instanceId"), instance.value("privateIpAddress")
            if not identity or not private:
                continue
            tags = {}
            for tag in instance.items("tagSet"):
                key, value = tag.value("key"), tag.value("value")
                if key is not None and value is not None:
                    tags[key] = value
            found[identity] = EcsMachine(
                private,
                instance.value("ipAddress") or "",
                instance.value("subnetId") or "",
                instance.value("instanceType") or "",
                tags,
            )
    return found


def public_ips_of(answer: Element) -> dict[str, str]:
    """Return the network interfaces of a page that have a public address."""
    found = {}
    for interface in answer.items("networkInterfaceSet"):
        identity, public = interface.value("networkInterfaceId"), interface.value("association", "publicIp")
        if identity and public:
            found[identity] = public
    return found


def own_interface(task: Mapping[str, Any]) -> dict[str, str] | None:
    """Return the details of the network interface that a task has for itself, None where it has none."""
    for attachment in objects(task, "attachments"):
        if text(attachment, "type") == "ElasticNetworkInterface":
            return {text(detail, "name"): text(detail, "value") for detail in objects(attachment, "details")}
    return None


def ecs_targets(found: EcsCluster, region: str, port: int) -> Iterator[dict[str, str]]:
    """Yield a target for each task that has an address: its own, else that of the machine."""
    services = {text(service, "serviceName"): service for service in found.services}
    for task in found.tasks:
        labels = _addresses(task, found, port)
        if labels is None:
            continue
        labels[_META + "region"] = region
        labels[_META + "cluster"] = text(found.cluster, "clusterName")
        labels[_META + "cluster_arn"] = text(found.cluster, "clusterArn")
        labels |= {_META + name: text(task, key) for name, key in _TASK.items()}
        for name, key in (("platform_family", "platformFamily"), ("platform_version", "platformVersion")):
            if member(task, key) is not None:
                labels[_META + name] = text(task, key)
        _add_tags(labels, "cluster", found.cluster)
        kind, _, name = text(task, "group").partition(":")
        if kind != "family" and (service := services.get(name.partition(":")[0])) is not None:
            labels |= {_META + label: text(service, key) for label, key in _SERVICE.items() if member(service, key)}
            _add_tags(labels, "service", service)
        _add_tags(labels, "task", task)
        yield labels


def _addresses(task: Mapping[str, Any], found: EcsCluster, port: int) -> dict[str, str] | None:
    """Return the labels that say where a task is, None where that is not known."""
    instance = text(task, "containerInstanceArn")
    identity = found.instances.get(instance, "")
    machine = found.machines.get(identity)
    interface = own_interface(task)
    mode = host = public = subnet = ""
    if interface is not None:
        mode, host = "awsvpc", interface.get("privateIPv4Address", "")
        subnet = interface.get("subnetId", "")
        public = found.public_ips.get(interface.get("networkInterfaceId", ""), "")
    elif instance:
        mode = "bridge"
        if machine is not None:
            host, public, subnet = machine.private_ip, machine.public_ip, machine.subnet_id
    if not host:
        return None
    labels = {"__address__": address(host, port), _META + "ip_address": host, _META + "network_mode": mode}
    optional = {
        "subnet_id": subnet,
        "public_ip": public,
        "container_instance_arn": instance,
        "ec2_instance_id": identity,
    }
    if machine is not None:
        optional["ec2_instance_type"] = machine.instance_type
        optional["ec2_instance_private_ip"] = machine.private_ip
        optional["ec2_instance_public_ip"] = machine.public_ip
        for key, value in machine.tags.items():
            labels[f"{_META}tag_ec2_{sanitize_label_name(key)}"] = value
    return labels | {_META + name: value for name, value in optional.items() if value}


def _add_tags(labels: dict[str, str], kind: str, tagged: Mapping[str, Any]) -> None:
    for tag in objects(tagged, "tags"):
        if member(tag, "key") is not None and member(tag, "value") is not None:
            labels[f"{_META}tag_{kind}_{sanitize_label_name(text(tag, 'key'))}"] = text(tag, "value")
