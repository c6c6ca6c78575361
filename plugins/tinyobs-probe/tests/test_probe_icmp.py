"""ICMP probes of the own machine."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from probe_servers import logged, value

from tinyobs_probe.icmp import Echo, checksum, make_echo, open_socket
from tinyobs_probe.run import run_probe
from tinyobs_probe.settings import IcmpProbe, IpProtocol, Module, Prober


async def ping(target="127.0.0.1", **settings):
    """Run an ICMP probe, or skip where the system does not permit one."""
    try:
        open_socket(socket.AF_INET).close()
    except OSError as e:
        pytest.skip(f"no ICMP socket here: {e}")
    icmp = IcmpProbe(**({"preferred_ip_protocol": IpProtocol.IP4} | settings))
    return await run_probe(target, Module(prober=Prober.ICMP, icmp=icmp), 5)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"payload_size": 1},
        {"payload_size": 1200, "dont_fragment": True},
        {"ttl": 3, "source_ip_address": "127.0.0.1"},
    ],
)
async def test_the_own_machine_answers(settings):
    """Round trip and hop limit are told, whatever the request looks like."""
    outcome = await ping(**settings)
    assert outcome.success, logged(outcome)
    assert 0 < value(outcome, "probe_icmp_duration_seconds", phase="rtt") < 5
    assert value(outcome, "probe_icmp_reply_hop_limit") in (3, 64, 255, 128)
    assert value(outcome, "probe_ip_protocol") == 4


async def test_the_own_machine_answers_over_ipv6():
    """The same over IPv6, where the machine has it."""
    outcome = await ping("::1", preferred_ip_protocol=IpProtocol.IP6)
    if "cannot" in logged(outcome) or "error with" in logged(outcome) or not outcome.success:
        pytest.skip(f"no IPv6 here: {outcome.report.log[-2]}")
    assert value(outcome, "probe_ip_protocol") == 6
    assert value(outcome, "probe_icmp_reply_hop_limit") >= 1


async def test_a_name_without_such_an_address():
    """Without fallback an address of the other protocol does not count."""
    outcome = await ping("127.0.0.1", preferred_ip_protocol=IpProtocol.IP6, ip_protocol_fallback=False)
    assert not outcome.success
    assert "has no ip6 address" in logged(outcome)
    assert value(outcome, "probe_ip_protocol") == 0


def test_replies_are_told_from_others():
    """Kind, sequence, payload and (on raw sockets) identifier must be those of the request."""
    echo = Echo(7, 9, b"abc")
    reply = b"\0\0\xff\xff\0\x07\0\x09abc"
    family = socket.AF_INET
    assert echo.is_answered_by(reply, family, any_ident=False)
    assert not echo.is_answered_by(b"\x08" + reply[1:], family, any_ident=False)
    assert not echo.is_answered_by(reply[:5] + b"\x08" + reply[6:], family, any_ident=False)
    assert echo.is_answered_by(reply[:5] + b"\x08" + reply[6:], family, any_ident=True)
    assert not echo.is_answered_by(reply[:7] + b"\x08abc", family, any_ident=True)
    assert not echo.is_answered_by(reply + b"d", family, any_ident=True)
    assert not echo.is_answered_by(reply[:7], family, any_ident=True)
    assert len(make_echo(IcmpProbe(payload_size=5)).payload) == 5


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_a_message_with_its_checksum_sums_to_zero(payload):
    """RFC 1071: the checksum over a message that holds its checksum is zero."""
    assert checksum(Echo(1, 2, payload).request(socket.AF_INET)) == 0
