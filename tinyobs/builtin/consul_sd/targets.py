"""From the instances of a service to targets.  Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from ...abc import TargetGroup
from ...discovery.addresses import host_port
from ...discovery.answers import Fields
from ...discovery.names import sanitize_label_name

PREFIX: Final = "__meta_consul_"
NODE_MAINTENANCE: Final = "_node_maintenance"
SERVICE_MAINTENANCE: Final = "_service_maintenance:"
"""Checks that an operator puts on a node, and (with its id behind it) on a service."""
_BY_GRAVITY: Final = ("critical", "warning", "passing")


def service_group(service: str, datacenter: str, instances: Sequence[Fields], separator: str) -> TargetGroup:
    """Return the group of a service."""
    labels = {f"{PREFIX}service": service, f"{PREFIX}dc": datacenter}
    return TargetGroup(service, tuple(_target(i, separator) for i in instances), labels)


def _target(instance: Fields, separator: str) -> Mapping[str, str]:
    node, service = instance.fields("Node"), instance.fields("Service")
    # A service may be registered through another node than the one that it runs on.
    host, port = service.text("Address") or node.text("Address"), str(service.number("Port"))
    return {
        "__address__": host_port(host, port),
        f"{PREFIX}address": node.text("Address"),
        f"{PREFIX}node": node.text("Node"),
        f"{PREFIX}namespace": service.text("Namespace"),
        f"{PREFIX}partition": service.text("Partition"),
        # With the separator around it as well, a regular expression finds a tag at any place.
        f"{PREFIX}tags": separator + separator.join(service.texts("Tags")) + separator,
        f"{PREFIX}service_address": service.text("Address"),
        f"{PREFIX}service_port": port,
        f"{PREFIX}service_id": service.text("ID"),
        f"{PREFIX}health": health(instance.items("Checks")),
        **dict(_named(node, "Meta", "metadata_")),
        **dict(_named(service, "Meta", "service_metadata_")),
        **dict(_named(node, "TaggedAddresses", "tagged_address_")),
    }


def health(checks: Sequence[Fields]) -> str:
    """Return the gravest status among checks; maintenance is graver than all, no check at all is passing.

    "" when a check has a status that Consul does not define.
    """
    found = set()
    for check in checks:
        id = check.text("CheckID")
        if id == NODE_MAINTENANCE or id.startswith(SERVICE_MAINTENANCE):
            found.add("maintenance")
        elif (status := check.text("Status")) in _BY_GRAVITY:
            found.add(status)
        else:
            return ""
    return next((s for s in ("maintenance", *_BY_GRAVITY) if s in found), "passing")


def _named(item: Fields, key: str, prefix: str) -> Iterator[tuple[str, str]]:
    for name, value in item.pairs(key).items():
        yield f"{PREFIX}{prefix}{sanitize_label_name(name)}", value
