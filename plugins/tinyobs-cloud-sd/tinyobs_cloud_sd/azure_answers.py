"""Machines and network interfaces as Azure describes them -> labels.  Pure."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, Final

from attrs import frozen
from tinyobs.discovery.names import sanitize_label_name
from tinyobs.discovery.refreshing import DiscoveryError

from .labels import address
from .shapes import member, objects, pairs, text

_META: Final = "__meta_azure_"
_MACHINE: Final = "__meta_azure_machine_"


@frozen
class ResourceId:
    """The id of a resource, taken apart."""

    subscription: str
    resource_group: str
    name: str

    @classmethod
    def parse(cls, text: str) -> ResourceId:
        """Return the parts; raises `DiscoveryError` for what is no id of a resource in a group."""
        parts = text.split("/")
        keys = {key.lower(): value for key, value in zip(parts[1::2], parts[2::2], strict=False)}
        found = cls(keys.get("subscriptions", ""), keys.get("resourcegroups", ""), parts[-1])
        if parts[0] or not (found.subscription and found.resource_group and found.name) or "?" in text or "#" in text:
            raise DiscoveryError(f"the answer makes no sense: {text[:200]!r} is not the id of a resource")
        return found

    @property
    def group_path(self) -> str:
        """The path of the group that it is in."""
        return f"/subscriptions/{self.subscription}/resourceGroups/{self.resource_group}"


@frozen
class VirtualMachine:
    """What is used of a machine."""

    id: str
    name: str
    computer_name: str
    location: str
    os_type: str
    size: str
    scale_set: str
    """The name of its scale set, "" where it is in none."""
    instance_id: str
    """Its number in the scale set."""
    tags: Mapping[str, str]
    interfaces: tuple[str, ...]
    """The ids of its network interfaces."""


def machine_of(item: Mapping[str, Any], scale_set: str) -> VirtualMachine:
    """Return a machine of a list."""
    properties = member(item, "properties")
    return VirtualMachine(
        id=text(item, "id"),
        name=text(item, "name"),
        computer_name=text(properties, "osProfile", "computerName"),
        location=text(item, "location"),
        os_type=text(properties, "storageProfile", "osDisk", "osType"),
        size=text(properties, "hardwareProfile", "vmSize"),
        scale_set=scale_set,
        instance_id=text(item, "instanceId") if scale_set else "",
        tags=pairs(item, "tags"),
        interfaces=tuple(text(one, "id") for one in objects(properties, "networkProfile", "networkInterfaces")),
    )


def machine_labels(machine: VirtualMachine, subscription_id: str, tenant_id: str) -> dict[str, str]:
    """Return the labels of a machine without its addresses."""
    labels = {
        _META + "subscription_id": subscription_id,
        _META + "tenant_id": tenant_id,
        _MACHINE + "id": machine.id,
        _MACHINE + "name": machine.name,
        _MACHINE + "computer_name": machine.computer_name,
        _MACHINE + "os_type": machine.os_type,
        _MACHINE + "location": machine.location,
        _MACHINE + "resource_group": ResourceId.parse(machine.id).resource_group,
        _MACHINE + "size": machine.size,
    }
    if machine.scale_set:
        labels[_MACHINE + "scale_set"] = machine.scale_set
    return labels | {_MACHINE + "tag_" + sanitize_label_name(key): value for key, value in machine.tags.items()}


class InterfaceState(Enum):
    """What a network interface tells of its machine."""

    PRIMARY = "has the address"
    OTHER = "has not the address"
    NOT_RUNNING = "the machine is not running"


def state_of(interface: Mapping[str, Any]) -> InterfaceState:
    """Return what an interface is; those of a machine that is not running say nothing of being primary."""
    properties = member(interface, "properties")
    if properties is None:
        return InterfaceState.OTHER
    primary = member(properties, "primary")
    if primary is None:
        return InterfaceState.NOT_RUNNING
    return InterfaceState.PRIMARY if primary and objects(properties, "ipConfigurations") else InterfaceState.OTHER


def address_labels(interface: Mapping[str, Any], name: str, port: int) -> dict[str, str]:
    """Return the labels that a machine has from its primary interface.

    Raises `DiscoveryError` where that has no private address, since then nothing can be relied on.
    """
    first = member(objects(interface, "properties", "ipConfigurations")[0], "properties")
    private, public = text(first, "privateIPAddress"), text(first, "publicIPAddress", "properties", "ipAddress")
    if not private:
        raise DiscoveryError(f"unable to find a private IP for VM {name}")
    labels = {"__address__": address(private, port), _MACHINE + "private_ip": private}
    return labels | ({_MACHINE + "public_ip": public} if public else {})
