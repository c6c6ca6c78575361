"""The same probes by blackbox_exporter: outcome, series and values that do not depend on time must agree."""

from __future__ import annotations

import gzip
import os
import shutil
import socket
import ssl
import struct
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from functools import partial

import pytest
import trio
import yaml
from prometheus_client.parser import text_string_to_metric_families
from test_probe_dns import respond, stream_server
from tinyobs.config.decoder import decode_text

from tinyobs_probe.route import classic_text
from tinyobs_probe.run import run_probe
from tinyobs_probe.settings import ProbeSettings

pytestmark = pytest.mark.peer

NEWER = {"probe_tls_cipher_info"}
NEWER_LABEL = "serialnumber"
"""What later releases have than the one of Debian."""
WHERE_PHASES_DIFFER = {"nonexistent.invalid"}
"""Release 0.23 declares the phases after the lookup, later ones and TinyObs before."""
UNVERIFIED = "probe_ssl_last_chain_expiry_timestamp_seconds"
"""Without verification upstream gives the year 1, TinyObs nothing."""
V4 = {"preferred_ip_protocol": "ip4"}


def modules(ca_file):
    """Return modules as they would stand in blackbox.yml."""

    def module(prober, **settings):
        return {"prober": prober, "timeout": "2s", prober: {**V4, **settings}}

    record = "^example.test.\t60\tIN\tMX\t10 mail"
    return {
        "http": module("http"),
        "https": module("http", tls_config={"ca_file": ca_file}),
        "insecure": module("http", tls_config={"insecure_skip_verify": True}),
        "regex": module("http", fail_if_body_matches_regexp=["hello"]),
        "header": module("http", fail_if_header_matches=[{"header": "X", "regexp": "a"}]),
        "stay": module("http", no_follow_redirects=True),
        "stay_302": module("http", no_follow_redirects=True, valid_status_codes=[302]),
        "gzip": module("http", compression="gzip", headers={"Accept-Encoding": "gzip"}),
        "tcp": module("tcp"),
        "tcp_tls": module("tcp", tls=True, tls_config={"ca_file": ca_file}),
        "dialogue": module("tcp", query_response=[{"expect": "^SSH-(.*)", "send": "x $1"}]),
        "dns": module("dns", query_name="example.test", query_type="A"),
        "soa": module("dns", query_name="example.test", query_type="SOA"),
        "nx": module("dns", query_name="missing.test", query_type="NS"),
        "mx": module(
            "dns",
            query_name="example.test",
            query_type="MX",
            transport_protocol="tcp",
            validate_answer_rrs={"fail_if_not_matches_regexp": [record]},
        ),
        "icmp": module("icmp"),
    }


CASES = [
    ("http", "127.0.0.1:{http}/"),
    ("http", "127.0.0.1:{http}/redirect"),
    ("http", "127.0.0.1:{http}/loop"),
    ("http", "127.0.0.1:{http}/none"),
    ("http", "127.0.0.1:{http}/chunks"),
    ("http", "127.0.0.1:{http}/gzip"),
    ("gzip", "127.0.0.1:{http}/gzip"),
    ("http", "127.0.0.1:1"),
    ("http", "nonexistent.invalid"),
    ("https", "https://localhost:{https}/"),
    ("insecure", "https://localhost:{https}/"),
    ("http", "https://localhost:{https}/"),
    ("regex", "127.0.0.1:{http}/"),
    ("header", "127.0.0.1:{http}/"),
    ("header", "127.0.0.1:{http}/none"),
    ("stay", "127.0.0.1:{http}/redirect"),
    ("stay_302", "127.0.0.1:{http}/redirect"),
    ("tcp", "127.0.0.1:{http}"),
    ("tcp", "127.0.0.1:1"),
    ("tcp", "127.0.0.1"),
    ("tcp_tls", "localhost:{https}"),
    ("dialogue", "127.0.0.1:{ssh}"),
    ("dialogue", "127.0.0.1:{rude}"),
    ("dns", "127.0.0.1:{udp}"),
    ("soa", "127.0.0.1:{udp}"),
    ("nx", "127.0.0.1:{udp}"),
    ("mx", "127.0.0.1:{dns}"),
    ("dns", "127.0.0.1:1"),
    ("icmp", "127.0.0.1"),
]


@pytest.fixture
def exporter(tmp_path, ca_file):
    """Give a function that asks a real blackbox_exporter."""
    name = "prometheus-blackbox-exporter"
    program = shutil.which(name)
    if program is None:
        pytest.skip(f"{name} is not installed")
    (tmp_path / "bb.yml").write_text(yaml.safe_dump({"modules": modules(ca_file)}))
    with socket.create_server(("127.0.0.1", 0)) as s:
        port = s.getsockname()[1]
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ask(module, target):
        query = urllib.parse.urlencode({"module": module, "target": target})
        for _ in range(200):
            try:
                return opener.open(f"http://127.0.0.1:{port}/probe?{query}", timeout=60).read().decode()
            except urllib.error.HTTPError:
                raise
            except urllib.error.URLError:
                # Let the other process start; there is no event to wait for.
                with pytest.raises(subprocess.TimeoutExpired):
                    process.wait(0.05)
        raise AssertionError("blackbox_exporter did not answer")

    with (tmp_path / "log").open("wb") as log:
        command = [program, f"--config.file={tmp_path}/bb.yml", f"--web.listen-address=127.0.0.1:{port}"]
        process = subprocess.Popen(command, stderr=log, stdout=log, env=os.environ | {"GOMAXPROCS": "1"})
        try:
            yield ask
        finally:
            process.terminate()
            process.wait(60)


@pytest.fixture
async def ports(listen, nursery, http, server_context):
    """Ports of the servers that both probe."""
    http.answer("/", b"hello", X="abc")
    http.answer("/redirect", status="302 Found", Location="/")
    http.answer("/loop", status="302 Found", Location="/loop")
    http.answer("/chunks", b"3\r\nabc\r\n0\r\n\r\n", Content_Length=None, Transfer_Encoding="chunked")
    modified = "Thu, 01 Jan 1970 00:01:00 GMT"
    http.answer("/gzip", gzip.compress(b"a" * 500), Content_Encoding="gzip", Last_Modified=modified)

    async def ssh(stream):
        await stream.send_all(b"hi\r\nSSH-2\r\n")
        await stream.receive_some(10)

    async def rude(stream):
        await stream.send_all(b"other\n")

    async def datagrams(sock):
        with sock:
            while True:
                wire, peer = await sock.recvfrom(4096)
                await sock.sendto(respond(wire), peer)

    async def dns(stream):
        try:
            await stream_server(stream)
        except struct.error:
            return

    sock = trio.socket.socket(type=trio.socket.SOCK_DGRAM)
    await sock.bind(("127.0.0.1", 0))
    nursery.start_soon(datagrams, sock)
    assert isinstance(server_context, ssl.SSLContext)
    return {
        "http": await listen(http.handle),
        "https": await listen(http.handle, server_context),
        "ssh": await listen(ssh),
        "rude": await listen(rude),
        "dns": await listen(dns),
        "udp": sock.getsockname()[1],
    }


def samples(text):
    """Return (name, labels) -> value of an answer."""
    return {
        (s.name, tuple(sorted((k, v) for k, v in s.labels.items() if k != NEWER_LABEL))): s.value
        for family in text_string_to_metric_families(text)
        for s in family.samples
    }


async def test_probes_agree_with_blackbox_exporter(exporter, ports, ca_file):
    """Every series of upstream is there with the same value, unless it is a time that passed."""
    settings = decode_text(ProbeSettings, yaml.safe_dump({"modules": modules(ca_file)}), "bb.yml")
    for name, pattern in CASES:
        target = pattern.format(**ports)
        theirs = samples(await trio.to_thread.run_sync(partial(exporter, name, target)))
        outcome = await run_probe(target, settings.all_modules()[name], 2)
        ours = samples(classic_text(outcome.report.families()))
        if name == "icmp" and "not permitted" in "\n".join(outcome.report.log):
            continue
        if name == "insecure":
            theirs = {k: v for k, v in theirs.items() if k[0] != UNVERIFIED}
        assert set(theirs) <= set(ours), (name, target)
        if target not in WHERE_PHASES_DIFFER:
            assert {k[0] for k in set(ours) - set(theirs)} <= NEWER, (name, target)
        still = {k: v for k, v in theirs.items() if "duration" not in k[0] and "lookup_time" not in k[0]}
        assert {k: ours[k] for k in still} == still, (name, target)
