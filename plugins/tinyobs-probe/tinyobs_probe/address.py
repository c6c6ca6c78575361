"""From a target to an IP address, with the metrics that every prober has of that."""

from __future__ import annotations

import ipaddress
import socket

import trio
from attrs import frozen

from .report import Report
from .settings import IpProtocol

_FAMILIES = {IpProtocol.IP4: socket.AF_INET, IpProtocol.IP6: socket.AF_INET6}


class ProbeError(Exception):
    """The probe has failed; the message goes to its log."""


@frozen
class Address:
    """An IP address to connect to; `scope` is the interface of a link-local one."""

    ip: str
    scope: int = 0

    @property
    def family(self) -> socket.AddressFamily:
        """The address family."""
        return socket.AF_INET6 if ":" in self.ip else socket.AF_INET

    def endpoint(self, port: int) -> tuple[str, int] | tuple[str, int, int, int]:
        """Return what the socket functions call an address."""
        return (self.ip, port, 0, self.scope) if ":" in self.ip else (self.ip, port)


def declare(report: Report) -> None:
    """Declare the gauges that `choose` sets."""
    report.gauge("probe_dns_lookup_time_seconds", "Time the lookup of the target took, in seconds.")
    report.gauge("probe_ip_protocol", "Version of IP used: 4 or 6; 0 before one was chosen.")
    report.gauge("probe_ip_addr_hash", "Hash of the target's address, to see that it changed.")


async def choose(host: str, preferred: IpProtocol, fallback: bool, report: Report) -> tuple[Address, float]:
    """Return the address of a host and the seconds the lookup took; raises `ProbeError`.

    Without `fallback` only addresses of the preferred protocol count.
    """
    declare(report)
    report.note("resolving target address", host=host, ip_protocol=str(preferred))
    if not host:
        raise ProbeError("the target has no host")
    began = trio.current_time()
    try:
        address = await _look_up(host, preferred, fallback)
    finally:
        took = trio.current_time() - began
        report.add("probe_dns_lookup_time_seconds", took)
    report.note("resolved target address", ip=address.ip)
    report.set("probe_ip_protocol", 6 if address.family == socket.AF_INET6 else 4)
    report.set("probe_ip_addr_hash", address_hash(address.ip))
    return address, took


def address_hash(ip: str) -> int:
    """Return the 32-bit FNV-1a hash of an address's bytes (http://www.isthe.com/chongo/tech/comp/fnv/)."""
    value = 0x811C9DC5
    for byte in ipaddress.ip_address(ip).packed:
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return value


def split_host_port(text: str, default_port: int | None = None) -> tuple[str, int]:
    """Return host and port of `host`, `host:port`, `[v6]`, `[v6]:port` or a bare IPv6 address.

    Raises `ProbeError` where a port is missing and has no default, or is no number.
    """
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        port = rest.removeprefix(":")
        if not bracket or (rest and not rest.startswith(":")):
            raise ProbeError(f"target {text!r} is no address")
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    else:
        host, port = text, ""
    if not port and default_port is not None:
        return host, default_port
    if not port.isascii() or not port.isdigit() or not 0 < int(port) < 65_536:
        raise ProbeError(f"target {text!r} needs a port")
    return host, int(port)


async def _look_up(host: str, preferred: IpProtocol, fallback: bool) -> Address:
    try:
        literal = ipaddress.ip_address(host)
    except ValueError:
        literal = None
    if literal is not None and not getattr(literal, "scope_id", None):
        candidates = [Address(str(literal))]
    else:
        try:
            infos = await trio.socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as e:
            raise ProbeError(f"cannot resolve {host!r}: {e}") from e
        candidates = [
            Address(str(sockaddr[0]).partition("%")[0], int(sockaddr[3]) if len(sockaddr) > 3 else 0)
            for family, _, _, _, sockaddr in infos
            if family in (socket.AF_INET, socket.AF_INET6)
        ]
    wanted = [a for a in candidates if a.family == _FAMILIES[preferred]]
    chosen = wanted or (candidates if fallback else [])
    if not chosen:
        raise ProbeError(f"{host!r} has no {preferred} address")
    return chosen[0]
