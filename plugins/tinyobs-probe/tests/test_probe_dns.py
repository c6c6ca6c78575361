"""DNS probes against a tiny server over UDP, TCP and TLS."""

from __future__ import annotations

import struct

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
import trio
from probe_servers import logged, silent, value
from tinyobs.config.http_client import TlsConfig

from tinyobs_probe.run import run_probe
from tinyobs_probe.settings import DnsProbe, IpProtocol, Module, Prober, RecordRules, Transport

RECORDS = {
    "A": ("example.test. 300 IN A 192.0.2.1", "example.test. 300 IN A 192.0.2.2"),
    "MX": ("example.test. 60 IN MX 10 mail.example.test.",),
    "TXT": ('example.test. 60 IN TXT "v=spf1 -all"',),
    "SOA": ("example.test. 60 IN SOA ns.example.test. root.example.test. 2026 1 2 3 4",),
}


def respond(wire):
    """Return the answer to a query; `missing.test` does not exist."""
    query = dns.message.from_wire(wire)
    response = dns.message.make_response(query)
    (question,) = query.question
    if question.name.to_text() == "missing.test.":
        response.set_rcode(dns.rcode.NXDOMAIN)
        response.authority.append(dns.rrset.from_text("test.", 9, "IN", "SOA", "ns. root. 7 1 2 3 4"))
    for text in RECORDS.get(dns.rdatatype.to_text(question.rdtype), ()):
        name, ttl, class_, kind, data = text.split(" ", 4)
        rrset = dns.rrset.from_text(name, int(ttl), class_, kind, data)
        response.answer.append(rrset)
    assert bool(query.flags & dns.flags.RD) == bool(response.flags & dns.flags.RD)
    return response.to_wire()


@pytest.fixture
async def udp(nursery):
    """Give the port of a UDP server; before each good answer it sends one with another id."""
    sock = trio.socket.socket(type=trio.socket.SOCK_DGRAM)
    await sock.bind(("127.0.0.1", 0))

    async def serve():
        with sock:
            while True:
                wire, peer = await sock.recvfrom(4096)
                answer = respond(wire)
                await sock.sendto(struct.pack("!H", 1 + struct.unpack("!H", answer[:2])[0] & 0xFFFF) + answer[2:], peer)
                await sock.sendto(answer, peer)

    nursery.start_soon(serve)
    return sock.getsockname()[1]


async def stream_server(stream):
    """Answer one query with a length in front, byte by byte."""
    (length,) = struct.unpack("!H", await stream.receive_some(2))
    answer = respond(await stream.receive_some(length))
    for byte in struct.pack("!H", len(answer)) + answer:
        await stream.send_all(bytes([byte]))


async def probe(port, host="127.0.0.1", seconds=5, **settings):
    """Run a DNS probe for example.test unless another name is given."""
    given = {"query_name": "example.test", "query_type": "A"} | settings
    module = Module(prober=Prober.DNS, dns=DnsProbe(preferred_ip_protocol=IpProtocol.IP4, **given))
    return await run_probe(f"{host}:{port}", module, seconds)


async def test_records_are_counted(udp):
    """Both addresses count; each phase has a time; a late answer to another query is skipped."""
    outcome = await probe(udp, source_ip_address="127.0.0.1")
    assert outcome.success, logged(outcome)
    assert value(outcome, "probe_dns_answer_rrs") == 2
    assert value(outcome, "probe_dns_authority_rrs") == 0
    assert value(outcome, "probe_dns_query_succeeded") == 1
    assert value(outcome, "probe_dns_duration_seconds", phase="request") > 0
    assert value(outcome, "probe_dns_serial") is None


async def test_the_serial_of_a_zone(udp):
    """A query for SOA tells the serial."""
    assert value(await probe(udp, query_type="SOA"), "probe_dns_serial") == 2026


async def test_response_codes(udp):
    """Only NOERROR is good unless codes are named."""
    missing = await probe(udp, query_name="missing.test", query_type="NS")
    assert not missing.success
    assert value(missing, "probe_dns_query_succeeded") == 1
    assert value(missing, "probe_dns_authority_rrs") == 1
    assert (await probe(udp, query_name="missing.test", query_type="NS", valid_rcodes=("NXDOMAIN",))).success
    assert (await probe(udp, recursion_desired=False)).success


@pytest.mark.parametrize(
    ("kind", "rules", "success"),
    [
        ("MX", {"fail_if_not_matches_regexp": ("^example.test.\t60\tIN\tMX\t10 mail",)}, True),
        ("A", {"fail_if_not_matches_regexp": ("192.0.2.1",)}, False),
        ("A", {"fail_if_none_matches_regexp": ("192.0.2.1",)}, True),
        ("A", {"fail_if_none_matches_regexp": ("10.0.0.1",)}, False),
        ("A", {"fail_if_matches_regexp": ("192.0.2.2$",)}, False),
        ("A", {"fail_if_all_match_regexp": ("192.0.2.",)}, False),
        ("A", {"fail_if_all_match_regexp": ("192.0.2.1",)}, True),
        ("TXT", {"fail_if_not_matches_regexp": ('"v=spf1 -all"',)}, True),
        ("NS", {"fail_if_not_matches_regexp": (".*",)}, False),
        ("NS", {"fail_if_none_matches_regexp": (".*",)}, False),
        ("NS", {"fail_if_matches_regexp": (".*",)}, True),
    ],
)
async def test_patterns_for_records(udp, kind, rules, success):
    """A record is seen as name, TTL, class, type and data with tabs between."""
    outcome = await probe(udp, query_type=kind, validate_answer_rrs=RecordRules(**rules))
    assert outcome.success is success, logged(outcome)


async def test_over_tcp_and_tls(listen, server_context, ca_file):
    """The same query over TCP, and over TLS with a verified server."""
    tcp = await listen(stream_server)
    assert value(await probe(tcp, transport_protocol=Transport.TCP), "probe_dns_answer_rrs") == 2
    tls = await listen(stream_server, server_context)
    settings = {"transport_protocol": Transport.TCP, "dns_over_tls": True}
    good = await probe(tls, "localhost", tls_config=TlsConfig(ca_file=ca_file), **settings)
    assert good.success, logged(good)
    assert not (await probe(tls, "localhost", **settings)).success


async def test_answers_that_are_none(listen, autojump_clock):
    """Rubbish, a cut answer and silence fail the probe, the query with it."""

    async def rubbish(stream):
        await stream.receive_some(100)
        await stream.send_all(b"\0\x05hello")

    async def cut(stream):
        await stream.receive_some(100)
        await stream.send_all(b"\0\x50hello")

    for handler, reason in (
        (rubbish, "no DNS message"),
        (cut, "closed the connection"),
        (silent, "timeout"),
    ):
        outcome = await probe(await listen(handler), transport_protocol=Transport.TCP)
        assert not outcome.success
        assert reason in logged(outcome)
        assert value(outcome, "probe_dns_query_succeeded") == 0
    assert not (await probe(1)).success
