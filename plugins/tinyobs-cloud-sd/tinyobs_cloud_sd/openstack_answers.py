"""What OpenStack's compute, network and load-balancer services list -> targets.  Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tinyobs.discovery.names import sanitize_label_name

from .labels import address
from .shapes import integer, mapping, member, objects, pairs, text, texts

_META: Final = "__meta_openstack_"
_HYPERVISOR: Final = "__meta_openstack_hypervisor_"
_INSTANCE: Final = "__meta_openstack_instance_"
_BALANCER: Final = "__meta_openstack_loadbalancer_"
PROTOCOL: Final = "PROMETHEUS"
"""The protocol of a listener that has the metrics of its load balancer."""

Items = Sequence[Mapping[str, Any]]


def hypervisor_targets(hypervisors: Items, port: int) -> list[dict[str, str]]:
    """Return a target for each hypervisor."""
    return [
        {
            "__address__": address(text(one, "host_ip"), port),
            _HYPERVISOR + "id": text(one, "id"),
            _HYPERVISOR + "hostname": text(one, "hypervisor_hostname"),
            _HYPERVISOR + "host_ip": text(one, "host_ip"),
            _HYPERVISOR + "status": text(one, "status"),
            _HYPERVISOR + "state": text(one, "state"),
            _HYPERVISOR + "type": text(one, "hypervisor_type"),
        }
        for one in hypervisors
    ]


def instance_targets(servers: Items, ports: Items, floating_ips: Items, port: int) -> list[dict[str, str]]:
    """Return a target for each address of each instance that is not itself a floating one."""
    devices = {text(one, "id"): text(one, "device_id") for one in ports}
    floating: dict[tuple[str, str, str], str] = {}
    for one in floating_ips:
        at, fixed = text(one, "port_id"), text(one, "fixed_ip_address")
        if at in devices and fixed:
            floating[text(one, "tenant_id"), devices[at], fixed] = text(one, "floating_ip_address")
    taken = set(floating.values())
    targets = []
    for server in servers:
        labels = _server_labels(server)
        if labels is None:
            continue
        for pool, entries in mapping(server, "addresses").items():
            for entry in objects({"entries": entries}, "entries"):
                ip = text(entry, "addr")
                if not ip or ip in taken:
                    continue
                own = {_META + "address_pool": pool, _META + "private_ip": ip, "__address__": address(ip, port)}
                public = floating.get((text(server, "tenant_id"), text(server, "id"), ip))
                if public is not None:
                    own[_META + "public_ip"] = public
                targets.append(labels | own)
    return targets


def _server_labels(server: Mapping[str, Any]) -> dict[str, str] | None:
    """Return the labels of an instance without its addresses, None where it names no flavor."""
    flavor = text(server, "flavor", "original_name") or text(server, "flavor", "id")
    if not flavor:
        return None
    labels = {
        _INSTANCE + "id": text(server, "id"),
        _INSTANCE + "status": text(server, "status"),
        _INSTANCE + "name": text(server, "name"),
        _INSTANCE + "flavor": flavor,
        _META + "project_id": text(server, "tenant_id"),
        _META + "user_id": text(server, "user_id"),
    }
    image = member(server, "image")  # an empty text where the instance was started from a volume
    if isinstance(image, Mapping) and text(image, "id"):
        labels[_INSTANCE + "image"] = text(image, "id")
    for key, value in pairs(server, "metadata").items():
        labels[_META + "tag_" + sanitize_label_name(key)] = value
    return labels


def load_balancer_targets(balancers: Items, listeners: Items, floating_ips: Items) -> list[dict[str, str]]:
    """Return a target for each load balancer that has a listener for metrics; its port is the target's."""
    ports: dict[str, int] = {}
    for listener in listeners:
        if text(listener, "protocol") == PROTOCOL:
            for balancer in objects(listener, "loadbalancers"):
                ports.setdefault(text(balancer, "id"), integer(listener, "protocol_port"))
    floating = {text(one, "port_id"): text(one, "floating_ip_address") for one in floating_ips if text(one, "port_id")}
    targets = []
    for one in balancers:
        port = ports.get(text(one, "id"))
        if port is None:
            continue
        labels = {
            "__address__": address(text(one, "vip_address"), port),
            _BALANCER + "id": text(one, "id"),
            _BALANCER + "name": text(one, "name"),
            _BALANCER + "operating_status": text(one, "operating_status"),
            _BALANCER + "provisioning_status": text(one, "provisioning_status"),
            _BALANCER + "availability_zone": text(one, "availability_zone"),
            _BALANCER + "vip": text(one, "vip_address"),
            _BALANCER + "provider": text(one, "provider"),
            _META + "project_id": text(one, "project_id"),
        }
        if tags := texts(one, "tags"):
            labels[_BALANCER + "tags"] = ",".join(tags)
        public = floating.get(text(one, "vip_port_id"))
        if public is not None:
            labels[_BALANCER + "floating_ip"] = public
        targets.append(labels)
    return targets
