"""Instances as EC2 describes them -> labels.  Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from attrs import frozen
from tinyobs.cloud_auth.xml_answers import Element
from tinyobs.discovery.names import sanitize_label_name

from .labels import address, surrounded

_META: Final = "__meta_ec2_"
DEVICES_MAX: Final = 1000
"""Highest index of a network interface that is believed; instances have a few dozen at most."""

_PLAIN: Final = (
    ("instance_id", ("instanceId",)),
    ("private_ip", ("privateIpAddress",)),
    ("private_dns_name", ("privateDnsName",)),
    ("platform", ("platform",)),
    ("public_ip", ("ipAddress",)),
    ("ami", ("imageId",)),
    ("availability_zone", ("placement", "availabilityZone")),
    ("instance_state", ("instanceState", "name")),
    ("instance_lifecycle", ("instanceLifecycle",)),
    ("architecture", ("architecture",)),
    ("vpc_id", ("vpcId",)),
)
"""Labels that are there when the element is."""


@frozen
class Ipv6Addresses:
    """The IPv6 addresses of an instance."""

    default: str = ""
    """The first primary one, else the first."""
    primary: tuple[str, ...] = ()
    """At the index of their interface; "" for an interface without one."""
    all: tuple[str, ...] = ()


def zone_ids(answer: Element) -> dict[str, str]:
    """Return availability zone -> its id, which is the same for all accounts."""
    found = {}
    for item in answer.items("availabilityZoneInfo"):
        name, identity = item.value("zoneName"), item.value("zoneId")
        if name and identity:
            found[name] = identity
    return found


def ec2_targets(answer: Element, zones: Mapping[str, str], region: str, port: int) -> Iterator[dict[str, str]]:
    """Yield a target for each instance of a page that has an address: the private IPv4 one, else an IPv6 one."""
    for reservation in answer.items("reservationSet"):
        owner = reservation.value("ownerId")
        for instance in reservation.items("instancesSet"):
            target = _target(instance, zones, region, port)
            if target is not None:
                yield target | ({_META + "owner_id": owner} if owner is not None else {})


def _target(instance: Element, zones: Mapping[str, str], region: str, port: int) -> dict[str, str] | None:
    ipv6 = ipv6_addresses(instance)
    host = instance.value("privateIpAddress") or ipv6.default
    if not host:
        return None
    labels = {"__address__": address(host, port), _META + "region": region}
    for name, path in _PLAIN:
        if (value := instance.value(*path)) is not None:
            labels[_META + name] = value
    labels[_META + "instance_type"] = instance.value("instanceType") or ""
    if instance.value("ipAddress") and (public := instance.value("dnsName")):
        labels[_META + "public_dns_name"] = public
    if zone := instance.value("placement", "availabilityZone"):
        labels[_META + "availability_zone_id"] = zones.get(zone, "")
    if ipv6.default:
        labels[_META + "default_ipv6_address"] = ipv6.default
    if ipv6.primary:
        labels[_META + "primary_ipv6_addresses"] = surrounded(ipv6.primary)
    if ipv6.all:
        labels[_META + "ipv6_addresses"] = surrounded(ipv6.all)
    if instance.value("vpcId"):
        if subnet := instance.value("subnetId"):
            labels[_META + "primary_subnet_id"] = subnet
        subnets = [subnet for one in instance.items("networkInterfaceSet") if (subnet := one.value("subnetId"))]
        labels[_META + "subnet_id"] = surrounded(dict.fromkeys(subnets))
    for tag in instance.items("tagSet"):
        key, content = tag.find("key"), tag.find("value")
        if key is not None and content is not None:
            labels[_META + "tag_" + sanitize_label_name(key.text)] = content.text
    return labels


def ipv6_addresses(instance: Element) -> Ipv6Addresses:
    """Return the addresses of the interfaces that are in a subnet, of an instance that is in a VPC."""
    every: list[str] = []
    primary: list[str] = []
    for interface in instance.items("networkInterfaceSet") if instance.value("vpcId") else ():
        if not interface.value("subnetId"):
            continue
        index = interface.value("attachment", "deviceIndex") or ""
        for item in interface.items("ipv6AddressesSet"):
            ip = item.value("ipv6Address")
            if ip is None:
                continue
            every.append(ip)
            if item.value("isPrimaryIpv6") == "true" and index.isdecimal() and int(index) <= DEVICES_MAX:
                primary += [""] * (int(index) + 1 - len(primary))
                primary[int(index)] = ip
    default = next((ip for ip in (*primary, *every) if ip), "")
    return Ipv6Addresses(default, tuple(primary), tuple(every))
