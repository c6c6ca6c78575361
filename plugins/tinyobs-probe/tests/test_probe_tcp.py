"""TCP probes against local servers."""

from __future__ import annotations

import pytest
import trio
from probe_servers import logged, silent, value
from tinyobs.config.http_client import TlsConfig

from tinyobs_probe.run import run_probe
from tinyobs_probe.settings import IpProtocol, Module, Prober, QueryResponse, TcpProbe
from tinyobs_probe.tcp import LINE_BYTES_MAX


async def probe(target, *steps, seconds=5, **settings):
    """Run a TCP probe with a dialogue."""
    tcp = TcpProbe(preferred_ip_protocol=IpProtocol.IP4, query_response=steps, **settings)
    return await run_probe(target, Module(prober=Prober.TCP, tcp=tcp), seconds)


async def echo(stream):
    """Send back what comes."""
    while data := await stream.receive_some(4096):
        await stream.send_all(data)


async def test_connecting_is_enough(listen):
    """Without a dialogue an open port is success, a closed one failure."""
    port = await listen(echo)
    outcome = await probe(f"127.0.0.1:{port}", source_ip_address="127.0.0.1")
    assert outcome.success
    assert value(outcome, "probe_ip_protocol") == 4
    assert value(outcome, "probe_failed_due_to_regex") == 0
    refused = await probe("127.0.0.1:1")
    assert not refused.success
    assert "cannot connect" in logged(refused)
    assert not (await probe("127.0.0.1")).success
    assert "no host" in logged(await probe(f":{port}"))


async def test_a_dialogue(listen):
    """Lines are waited for and skipped, groups go into what is sent and into the info series."""
    got = []

    async def handle(stream):
        await stream.send_all(b"banner\r\nSSH-2.0-Invented_1.2 extra\r\n")
        got.append(await stream.receive_some(100))
        await stream.send_all(b"bye")

    port = await listen(handle)
    outcome = await probe(
        f"127.0.0.1:{port}",
        QueryResponse(
            expect="^SSH-2.0-(?P<what>[A-Za-z]+)_(\\S+)", send="hello ${what} $2 $$ $9", labels=(("version", "${2}"),)
        ),
        QueryResponse(expect="^bye$"),
    )
    assert outcome.success, logged(outcome)
    assert got == [b"hello Invented 1.2 $ \n"]
    assert value(outcome, "probe_expect_info", version="1.2") == 1


async def test_a_line_that_never_comes(listen, autojump_clock):
    """At the end of the stream the pattern has failed; on a silent one the timeout ends the probe."""

    async def hang_up(stream):
        await stream.send_all(b"other\n")

    ended = await probe(f"127.0.0.1:{await listen(hang_up)}", QueryResponse(expect="wanted"))
    assert not ended.success
    assert value(ended, "probe_failed_due_to_regex") == 1
    quiet = await probe(f"127.0.0.1:{await listen(silent)}", QueryResponse(expect="wanted"))
    assert not quiet.success
    assert value(quiet, "probe_failed_due_to_regex") == 0
    assert value(quiet, "probe_duration_seconds") == pytest.approx(5, abs=0.1)


async def test_a_line_without_end(listen):
    """A stream without line ends is given up at the limit."""

    async def flood(stream):
        while True:
            await stream.send_all(b"x" * 8192)

    outcome = await probe(f"127.0.0.1:{await listen(flood)}", QueryResponse(expect="y"))
    assert f"more than {LINE_BYTES_MAX} bytes" in logged(outcome)


async def test_tls_from_the_start(listen, server_context, ca_file):
    """The handshake is part of the probe and the certificate is told."""
    port = await listen(echo, server_context)
    config = TlsConfig(ca_file=ca_file)
    outcome = await probe(
        f"localhost:{port}", QueryResponse(send="hi"), QueryResponse(expect="^hi$"), tls=True, tls_config=config
    )
    assert outcome.success, logged(outcome)
    assert value(outcome, "probe_ssl_earliest_cert_expiry") > 1.7e9
    assert value(outcome, "probe_tls_version_info", version="TLS 1.3") == 1
    assert not (await probe(f"localhost:{port}", tls=True)).success
    missing = TlsConfig(ca_file="/nonexistent/ca.pem")
    assert "/nonexistent/ca.pem" in logged(await probe(f"localhost:{port}", tls=True, tls_config=missing))


async def test_tls_in_the_middle(listen, server_context, ca_file):
    """`starttls` upgrades the connection, after which the dialogue goes on."""

    async def smtp(stream):
        await stream.send_all(b"220 ready\r\n")
        await stream.receive_some(100)
        await stream.send_all(b"220 go ahead\r\n")
        secure = trio.SSLStream(stream, server_context, server_side=True)
        await secure.send_all(b"250 " + await secure.receive_some(100))

    steps = (
        QueryResponse(expect="^220", send="STARTTLS"),
        QueryResponse(expect="^220", starttls=True),
        QueryResponse(send="EHLO x"),
        QueryResponse(expect="^250 EHLO"),
    )
    outcome = await probe(f"localhost:{await listen(smtp)}", *steps, tls_config=TlsConfig(ca_file=ca_file))
    assert outcome.success, logged(outcome)
    assert value(outcome, "probe_ssl_earliest_cert_expiry") > 1.7e9
