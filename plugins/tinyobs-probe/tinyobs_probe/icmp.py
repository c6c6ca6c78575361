"""The ICMP probe: an echo request and its reply.

Messages: RFC 792 and RFC 4443.  Uses a ping socket, which needs no privilege where `net.ipv4.ping_group_range` lets
the group have one, else a raw socket, which needs CAP_NET_RAW.
"""

from __future__ import annotations

import os
import platform
import secrets
import socket
import struct
from typing import Final, cast

import trio
from attrs import frozen

from .address import Address, ProbeError, choose, declare
from .report import Report
from .settings import IcmpProbe

DEFAULT_PAYLOAD_BYTES: Final = 32
_DURATION: Final = "probe_icmp_duration_seconds"
_MARK: Final = b"TinyObs probe "
_ON_LINUX: Final = platform.system() == "Linux"
# Constants of Linux that the socket module lacks.
_IP_MTU_DISCOVER, _IP_PMTUDISC_DO, _IP_RECVTTL = 10, 2, 12
_IPV6_MTU_DISCOVER = 23
_IPV6_RECVHOPLIMIT, _IPV6_HOPLIMIT = 51, 52
_ANCILLARY_BYTES: Final = 256


@frozen
class Echo:
    """An echo request: identifier, sequence number and payload."""

    ident: int
    sequence: int
    payload: bytes

    def request(self, family: socket.AddressFamily) -> bytes:
        """Return the message; the kernel fills in the checksum of ICMPv6, which covers addresses too."""
        kind = 8 if family == socket.AF_INET else 128
        head = struct.pack("!BBHHH", kind, 0, 0, self.ident, self.sequence)
        total = checksum(head + self.payload) if family == socket.AF_INET else 0
        return struct.pack("!BBHHH", kind, 0, total, self.ident, self.sequence) + self.payload

    def is_answered_by(self, message: bytes, family: socket.AddressFamily, any_ident: bool) -> bool:
        """Tell whether a message is the reply; a ping socket has an identifier of the kernel's choice."""
        if len(message) < 8:
            return False
        kind, _, _, ident, sequence = struct.unpack_from("!BBHHH", message)
        return (
            kind == (0 if family == socket.AF_INET else 129)
            and sequence == self.sequence
            and (any_ident or ident == self.ident)
            and message[8:] == self.payload
        )


async def probe_icmp(target: str, probe: IcmpProbe, report: Report) -> bool:
    """Ping a host; raises `ProbeError` where it fails.  Waits for the reply until cancelled."""
    declare(report)
    for phase in ("resolve", "setup", "rtt"):
        report.gauge(_DURATION, "Time of each phase, in seconds.", 0, phase=phase)
    address, took = await choose(target, probe.preferred_ip_protocol, probe.ip_protocol_fallback, report)
    report.set(_DURATION, took, phase="resolve")
    began = trio.current_time()
    echo = make_echo(probe)
    try:
        with open_socket(address.family) as sock:
            raw = sock.type == socket.SOCK_RAW
            await _prepare(sock, address, probe)
            sent = trio.current_time()
            report.set(_DURATION, sent - began, phase="setup")
            await sock.sendto(echo.request(address.family), address.endpoint(0))
            hop_limit = await _reply(sock, address, echo, raw)
            report.set(_DURATION, trio.current_time() - sent, phase="rtt")
    except PermissionError as e:
        raise ProbeError(f"not permitted: net.ipv4.ping_group_range or CAP_NET_RAW is needed ({e})") from e
    except OSError as e:
        raise ProbeError(f"error with the ICMP socket: {e}") from e
    if hop_limit is not None:
        report.gauge("probe_icmp_reply_hop_limit", "Hop limit (TTL) of the reply.", hop_limit)
    return True


def make_echo(probe: IcmpProbe) -> Echo:
    """Return a request that no other probe makes: its payload is random where there is room."""
    size = probe.payload_size or DEFAULT_PAYLOAD_BYTES
    text = _MARK + secrets.token_hex(8).encode()
    return Echo(os.getpid() & 0xFFFF, secrets.randbelow(1 << 16), text[:size].ljust(size, b"\0"))


def checksum(data: bytes) -> int:
    """Return the internet checksum (RFC 1071)."""
    data += b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def open_socket(family: socket.AddressFamily) -> trio.socket.SocketType:
    """Return a ping socket, else a raw one; raises `OSError`."""
    protocol = socket.IPPROTO_ICMP if family == socket.AF_INET else socket.IPPROTO_ICMPV6
    try:
        return trio.socket.socket(family, socket.SOCK_DGRAM, protocol)
    except PermissionError:
        return trio.socket.socket(family, socket.SOCK_RAW, protocol)


async def _prepare(sock: trio.socket.SocketType, address: Address, probe: IcmpProbe) -> None:
    """Set what the module asks for, and ask for the hop limit of replies."""
    v4 = address.family == socket.AF_INET
    level = socket.IPPROTO_IP if v4 else socket.IPPROTO_IPV6
    if _ON_LINUX:
        sock.setsockopt(level, _IP_RECVTTL if v4 else _IPV6_RECVHOPLIMIT, 1)
    if probe.ttl:
        sock.setsockopt(level, socket.IP_TTL if v4 else socket.IPV6_UNICAST_HOPS, probe.ttl)
    if probe.dont_fragment:
        if not _ON_LINUX:
            raise ProbeError("dont_fragment works on Linux only")
        sock.setsockopt(level, _IP_MTU_DISCOVER if v4 else _IPV6_MTU_DISCOVER, _IP_PMTUDISC_DO)
    if probe.source_ip_address:
        await sock.bind(Address(probe.source_ip_address).endpoint(0))


async def _reply(sock: trio.socket.SocketType, address: Address, echo: Echo, raw: bool) -> int | None:
    """Wait for the reply and return its hop limit, None where the kernel does not tell."""
    while True:
        data, ancillary, _, sender = await sock.recvmsg(65_535, _ANCILLARY_BYTES)
        if raw and address.family == socket.AF_INET:
            data = data[(data[0] & 0x0F) * 4 :]  # a raw socket gives the IP header too
        if str(cast(tuple[object, ...], sender)[0]).partition("%")[0] != address.ip:
            continue
        if echo.is_answered_by(data, address.family, any_ident=not raw):
            return _hop_limit(ancillary)


def _hop_limit(ancillary: list[tuple[int, int, bytes]]) -> int | None:
    for level, kind, data in ancillary:
        if (level, kind) in ((socket.IPPROTO_IP, socket.IP_TTL), (socket.IPPROTO_IPV6, _IPV6_HOPLIMIT)):
            (value,) = struct.unpack_from("=i", data)
            return int(value)
    return None
