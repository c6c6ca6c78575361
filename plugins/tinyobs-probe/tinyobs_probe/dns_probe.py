"""The DNS probe: one query to one server, and what its answer must look like.

Messages are dnspython's; the sockets are ours, for the phases, the source address and cancellation.  Wire format: RFC
1035, over TCP with a length in front (section 4.2.2), over TLS as RFC 7858.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, Final

import dns.exception
import dns.message
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import trio
from trio.socket import SOCK_DGRAM, socket

from . import patterns
from .address import Address, ProbeError, choose, declare, split_host_port
from .connection import TlsStream, client_context, close, connect, start_tls
from .report import Report
from .settings import DnsProbe, RecordRules, Transport

DNS_PORT: Final = 53
TLS_PORT: Final = 853
MESSAGE_BYTES_MAX: Final = 65_535
"""Longest message: its length has 16 bits over TCP, a datagram cannot be longer."""
_DURATION: Final = "probe_dns_duration_seconds"


async def probe_dns(target: str, probe: DnsProbe, report: Report) -> bool:
    """Ask the server `host[:port]`; raises `ProbeError` where it fails."""
    declare(report)
    for phase in ("resolve", "connect", "request"):
        report.gauge(_DURATION, "Time of each phase, in seconds.", 0, phase=phase)
    report.gauge("probe_dns_query_succeeded", "Whether there was an answer, whatever it says.")
    for section in ("answer", "authority", "additional"):
        report.gauge(f"probe_dns_{section}_rrs", f"Records in the {section} section.")
    host, port = split_host_port(target, TLS_PORT if probe.dns_over_tls else DNS_PORT)
    address, took = await choose(host, probe.preferred_ip_protocol, probe.ip_protocol_fallback, report)
    report.set(_DURATION, took, phase="resolve")
    query = make_query(probe)
    exchange = _over_udp if probe.transport_protocol is Transport.UDP else _over_tcp
    response = await exchange(query, address, port, host, probe, report)
    report.set("probe_dns_query_succeeded", 1)
    _count(response, probe, report)
    return _judge(response, probe, report)


def make_query(probe: DnsProbe) -> dns.message.QueryMessage:
    """Return the query of a module."""
    query = dns.message.make_query(probe.query_name, probe.query_type, probe.query_class)
    query.flags = dns.flags.RD if probe.recursion_desired else dns.flags.Flag(0)
    return query


def record_texts(section: Sequence[Any]) -> list[str]:
    """Return each record as `name TTL class type data`, separated by tabs, which is what patterns see."""
    return [
        "\t".join(
            (
                records.name.to_text(),
                str(records.ttl),
                dns.rdataclass.to_text(records.rdclass),
                dns.rdatatype.to_text(records.rdtype),
                record.to_text(),
            )
        )
        for records in section
        for record in records
    ]


def records_are_good(texts: list[str], rules: RecordRules, report: Report) -> bool:
    """Tell whether the records of a section fulfil its rules."""
    if not texts and (rules.fail_if_not_matches_regexp or rules.fail_if_none_matches_regexp):
        report.note("a pattern must match and there is no record")
        return False
    for text in texts:
        report.note("validating RR", rr=text)
        for pattern in rules.fail_if_matches_regexp:
            if patterns.found(pattern, text):
                report.note("RR matched regular expression", regexp=pattern, rr=text)
                return False
        for pattern in rules.fail_if_not_matches_regexp:
            if not patterns.found(pattern, text):
                report.note("RR did not match regular expression", regexp=pattern, rr=text)
                return False
    every = [patterns.found(p, t) for t in texts for p in rules.fail_if_all_match_regexp]
    if rules.fail_if_all_match_regexp and all(every):
        report.note("all RRs matched regular expressions")
        return False
    some = [patterns.found(p, t) for t in texts for p in rules.fail_if_none_matches_regexp]
    if rules.fail_if_none_matches_regexp and not any(some):
        report.note("no RR matched regular expressions")
        return False
    return True


def _count(response: dns.message.Message, probe: DnsProbe, report: Report) -> None:
    for name in ("answer", "authority", "additional"):
        report.set(f"probe_dns_{name}_rrs", sum(len(records) for records in getattr(response, name)))
    if dns.rdatatype.from_text(probe.query_type) == dns.rdatatype.SOA:
        report.gauge("probe_dns_serial", "Serial number of the zone.")
        for records in response.answer:
            if records.rdtype == dns.rdatatype.SOA:
                for record in records:
                    serial: Any = record
                    report.set("probe_dns_serial", serial.serial)


def _judge(response: dns.message.Message, probe: DnsProbe, report: Report) -> bool:
    code = response.rcode()
    valid = [dns.rcode.from_text(name) for name in probe.valid_rcodes or ("NOERROR",)]
    if code not in valid:
        report.note("rcode is not one of the valid rcodes", rcode=dns.rcode.to_text(code))
        return False
    return (
        records_are_good(record_texts(response.answer), probe.validate_answer_rrs, report)
        and records_are_good(record_texts(response.authority), probe.validate_authority_rrs, report)
        and records_are_good(record_texts(response.additional), probe.validate_additional_rrs, report)
    )


async def _over_udp(
    query: dns.message.Message, address: Address, port: int, host: str, probe: DnsProbe, report: Report
) -> dns.message.Message:
    began = trio.current_time()
    with socket(address.family, SOCK_DGRAM) as sock:
        try:
            if probe.source_ip_address:
                await sock.bind(Address(probe.source_ip_address).endpoint(0))
            await sock.connect(address.endpoint(port))
            sent = trio.current_time()
            report.set(_DURATION, sent - began, phase="connect")
            await sock.send(query.to_wire())
            while True:
                wire = await sock.recv(MESSAGE_BYTES_MAX)
                # A late answer to somebody else's query is not ours; wait on.
                if wire[:2] == struct.pack("!H", query.id):
                    report.set(_DURATION, trio.current_time() - sent, phase="request")
                    return _parse(wire)
        except OSError as e:
            raise ProbeError(f"error while sending a DNS query: {e}") from e


async def _over_tcp(
    query: dns.message.Message, address: Address, port: int, host: str, probe: DnsProbe, report: Report
) -> dns.message.Message:
    began = trio.current_time()
    context = await client_context(probe.tls_config) if probe.dns_over_tls else None
    connection = await connect(address, port, probe.source_ip_address)
    stream: trio.SocketStream | TlsStream = connection
    try:
        if context is not None:
            stream = await start_tls(connection, context, probe.tls_config.server_name or host)
        sent = trio.current_time()
        report.set(_DURATION, sent - began, phase="connect")
        wire = query.to_wire()
        await stream.send_all(struct.pack("!H", len(wire)) + wire)
        (length,) = struct.unpack("!H", await _exactly(stream, 2))
        answer = await _exactly(stream, length)
        report.set(_DURATION, trio.current_time() - sent, phase="request")
    except trio.BrokenResourceError as e:
        raise ProbeError(f"error while sending a DNS query: {e.__cause__ or e}") from e
    finally:
        await close(stream)  # noqa: ASYNC102 - it shields itself
    return _parse(answer)


async def _exactly(stream: trio.SocketStream | TlsStream, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        piece = await stream.receive_some(count - len(data))
        if not piece:
            raise ProbeError("the server closed the connection within its answer")
        data += piece
    return bytes(data)


def _parse(wire: bytes) -> dns.message.Message:
    try:
        return dns.message.from_wire(wire, ignore_trailing=True, raise_on_truncation=False)
    except dns.exception.DNSException as e:
        raise ProbeError(f"the answer is no DNS message: {e}") from e
