"""HTTP probes against local servers."""

from __future__ import annotations

import gzip

import h2.config
import h2.connection
import h2.events
import pytest
from probe_servers import logged, silent, value
from tinyobs.config.http_client import BasicAuth, HttpClientConfig, TlsConfig
from tinyobs.model.secrets import Secret

from tinyobs_probe.address import address_hash
from tinyobs_probe.run import run_probe
from tinyobs_probe.settings import (
    Compression,
    HeaderMatch,
    HttpProbe,
    IpProtocol,
    Module,
    Prober,
)


async def probe(url, seconds=5, **settings):
    """Run an HTTP probe; settings of the client are given by their names there."""
    client = {k: settings.pop(k) for k in ("tls_config", "follow_redirects", "basic_auth") if k in settings}
    http = HttpProbe(preferred_ip_protocol=IpProtocol.IP4, client=HttpClientConfig(**client), **settings)
    return await run_probe(url, Module(prober=Prober.HTTP, http=http), seconds)


async def test_a_good_answer(listen, http):
    """Status, length, version and phases are told; a target without scheme is http."""
    http.answer("/x", b"hello", Last_Modified="Thu, 01 Jan 1970 00:01:00 GMT")
    port = await listen(http.handle)
    outcome = await probe(f"127.0.0.1:{port}/x#part")
    assert outcome.success
    assert value(outcome, "probe_success") == 1
    assert value(outcome, "probe_http_status_code") == 200
    assert value(outcome, "probe_http_content_length") == 5
    assert value(outcome, "probe_http_uncompressed_body_length") == 5
    assert value(outcome, "probe_http_version") == 1.1
    assert value(outcome, "probe_http_ssl") == 0
    assert value(outcome, "probe_http_redirects") == 0
    assert value(outcome, "probe_http_last_modified_timestamp_seconds") == 60
    assert value(outcome, "probe_ip_protocol") == 4
    assert value(outcome, "probe_ip_addr_hash") == address_hash("127.0.0.1")
    assert value(outcome, "probe_failed_due_to_regex") == 0
    phases = {p: value(outcome, "probe_http_duration_seconds", phase=p) for p in ("connect", "processing", "tls")}
    assert phases["connect"] > 0
    assert phases["processing"] > 0
    assert phases["tls"] == 0
    assert sum(phases.values()) < value(outcome, "probe_duration_seconds")
    ((first, headers, _),) = http.seen
    assert first == "GET /x HTTP/1.1"
    assert headers["host"] == f"127.0.0.1:{port}"
    assert headers["user-agent"] == "TinyObs-Probe"
    assert "accept-encoding" not in headers


@pytest.mark.parametrize(
    ("status", "valid", "success"),
    [
        ("204 No Content", (), True),
        ("404 Not Found", (), False),
        ("404 Not Found", (404,), True),
        ("200 OK", (404,), False),
    ],
)
async def test_status_codes(listen, http, status, valid, success):
    """Any 2xx is good unless codes are named."""
    http.answer("/", status=status)
    outcome = await probe(f"http://127.0.0.1:{await listen(http.handle)}/", valid_status_codes=valid)
    assert outcome.success is success
    assert value(outcome, "probe_http_status_code") == int(status[:3])


async def test_a_body_without_length(listen, http):
    """Chunks are put together; the announced length is then -1."""
    http.answer("/", b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", Content_Length=None, Transfer_Encoding="chunked")
    outcome = await probe(f"http://127.0.0.1:{await listen(http.handle)}/")
    assert value(outcome, "probe_http_content_length") == -1
    assert value(outcome, "probe_http_uncompressed_body_length") == 5


@pytest.mark.parametrize(
    ("rules", "success", "regex"),
    [
        ({"fail_if_body_matches_regexp": ("err[ou]r",)}, False, 1),
        ({"fail_if_body_matches_regexp": ("absent", "^second$")}, True, 0),
        ({"fail_if_body_matches_regexp": ("(?m)^second$",)}, False, 1),
        ({"fail_if_body_matches_regexp": ("error.second",)}, True, 0),
        ({"fail_if_body_not_matches_regexp": ("error", "second")}, True, 0),
        ({"fail_if_body_not_matches_regexp": ("error", "third")}, False, 1),
        ({"fail_if_header_matches": (HeaderMatch(header="x-kind", regexp="^a"),)}, False, 1),
        ({"fail_if_header_matches": (HeaderMatch(header="X-Other", regexp="a"),)}, False, 1),
        ({"fail_if_header_matches": (HeaderMatch(header="X-Other", regexp="a", allow_missing=True),)}, True, 0),
        ({"fail_if_header_not_matches": (HeaderMatch(header="X-Kind", regexp="^a"),)}, True, 0),
        ({"fail_if_header_not_matches": (HeaderMatch(header="X-Kind", regexp="^b"),)}, False, 1),
        ({"valid_http_versions": ("HTTP/2.0",)}, False, 0),
        ({"valid_http_versions": ("HTTP/1.1", "HTTP/2.0")}, True, 0),
        ({"fail_if_not_ssl": True}, False, 0),
        ({"fail_if_ssl": True}, True, 0),
        ({"body_size_limit": 11}, False, 0),
        ({"body_size_limit": 12}, True, 0),
    ],
)
async def test_expectations(listen, http, rules, success, regex):
    """Patterns are Go's: they match anywhere, the dot stops at line ends; a failed one is told apart."""
    http.answer("/", b"error\nsecond", X_Kind="abc")
    outcome = await probe(f"http://127.0.0.1:{await listen(http.handle)}/", **rules)
    assert outcome.success is success
    assert value(outcome, "probe_failed_due_to_regex") == regex


async def test_a_compressed_body(listen, http):
    """With `compression` the body is unpacked, and a bomb is stopped by the limit."""
    http.answer("/", gzip.compress(b"a" * 1000), Content_Encoding="gzip")
    http.answer("/bomb", gzip.compress(b"\0" * 50_000_000), Content_Encoding="gzip")
    http.answer("/bad", b"no gzip", Content_Encoding="gzip")
    base = f"http://127.0.0.1:{await listen(http.handle)}"
    outcome = await probe(f"{base}/", compression=Compression.GZIP, fail_if_body_not_matches_regexp=("a{1000}",))
    assert outcome.success
    assert value(outcome, "probe_http_uncompressed_body_length") == 1000
    assert http.seen[0][1]["accept-encoding"] == "gzip"
    outcome = await probe(f"{base}/bomb", compression=Compression.GZIP, body_size_limit=1_000_000)
    assert not outcome.success
    assert "longer than 1000000 bytes" in logged(outcome)
    outcome = await probe(f"{base}/bad", compression=Compression.GZIP)
    assert "failed to decompress" in logged(outcome)


async def test_requests_carry_what_the_module_says(listen, http, tmp_path):
    """Method, headers, body and credentials are sent; a Host header replaces the target's."""
    http.answer("/")
    url = f"http://127.0.0.1:{await listen(http.handle)}/"
    headers = (("Host", "other.test"), ("X-One", "1"))
    auth = BasicAuth(username="u", password=Secret("p"))
    assert (await probe(url, method="POST", body="text", headers=headers, basic_auth=auth)).success
    first, sent, body = http.seen[-1]
    assert first.startswith("POST ")
    assert (sent["host"], sent["x-one"], sent["authorization"], body) == ("other.test", "1", "Basic dTpw", b"text")
    (tmp_path / "body").write_bytes(b"from file")
    assert (await probe(url, method="PUT", body_file=str(tmp_path / "body"))).success
    assert http.seen[-1][2] == b"from file"
    assert "cannot read body_file" in logged(await probe(url, body_file=str(tmp_path / "none")))


async def test_redirects(listen, http):
    """They are followed and counted; cookies come along; a POST becomes a GET after 302 and stays after 307."""
    port = await listen(http.handle)
    base = f"http://127.0.0.1:{port}"
    http.answer("/a", status="302 Found", Location="/b", Set_Cookie="k=v; Path=/")
    http.answer("/b", status="307 Temporary Redirect", Location=f"http://localhost:{port}/c")
    http.answer("/c", b"end")
    outcome = await probe(f"{base}/a", method="POST", body="x", basic_auth=BasicAuth(username="u"))
    assert outcome.success
    assert value(outcome, "probe_http_redirects") == 2
    assert [seen[0] for seen in http.seen] == ["POST /a HTTP/1.1", "GET /b HTTP/1.1", "GET /c HTTP/1.1"]
    assert http.seen[1][1]["cookie"] == "k=v"
    assert "authorization" in http.seen[1][1]
    assert not {"authorization", "cookie"} & set(http.seen[2][1])
    assert http.seen[2][1]["host"] == f"localhost:{port}"
    assert value(outcome, "probe_http_uncompressed_body_length") == 3


@pytest.mark.parametrize("setting", [{"no_follow_redirects": True}, {"follow_redirects": False}])
async def test_redirects_that_are_not_followed(listen, http, setting):
    """The redirect itself is then the answer, good only where its code is expected."""
    http.answer("/", status="301 Moved Permanently", Location="/b")
    url = f"http://127.0.0.1:{await listen(http.handle)}/"
    outcome = await probe(url, **setting)
    assert not outcome.success
    assert value(outcome, "probe_http_status_code") == 301
    assert (await probe(url, valid_status_codes=(301,), **setting)).success


async def test_redirects_for_ever(listen, http):
    """Eleven are too many."""
    http.answer("/", status="302 Found", Location="/")
    outcome = await probe(f"http://127.0.0.1:{await listen(http.handle)}/")
    assert not outcome.success
    assert len(http.seen) == 11


async def test_tls(listen, http, server_context, ca_file, authority):
    """Version, cipher and expiry of the certificates are told; the chain's only where it was verified."""
    http.answer("/", b"x")
    url = f"https://localhost:{await listen(http.handle, server_context)}/"
    good = await probe(url, tls_config=TlsConfig(ca_file=ca_file), fail_if_not_ssl=True)
    assert good.success, logged(good)
    assert value(good, "probe_http_ssl") == 1
    assert value(good, "probe_tls_version_info", version="TLS 1.3") == 1
    assert value(good, "probe_ssl_earliest_cert_expiry") > 1.7e9
    assert value(good, "probe_ssl_last_chain_expiry_timestamp_seconds") > 1.7e9
    assert value(good, "probe_http_duration_seconds", phase="tls") > 0
    families = {f.name: f for f in good.report.families()}
    (point,) = families["probe_ssl_last_chain_info"].points
    assert dict(point.labels)["subjectalternative"] == "localhost"
    assert len(dict(point.labels)["fingerprint_sha256"]) == 64
    careless = await probe(url, tls_config=TlsConfig(insecure_skip_verify=True), fail_if_ssl=True)
    assert not careless.success
    assert value(careless, "probe_ssl_earliest_cert_expiry") == value(good, "probe_ssl_earliest_cert_expiry")
    assert value(careless, "probe_ssl_last_chain_expiry_timestamp_seconds") is None
    strict = await probe(url)
    assert not strict.success
    assert "TLS handshake failed" in logged(strict)
    named = await probe(url, tls_config=TlsConfig(ca_file=ca_file, server_name="wrong.test"))
    assert not named.success


async def test_http_2(listen, authority, ca_file, server_context):
    """Where the server chooses HTTP/2 it is spoken, and the version is 2."""
    server_context.set_alpn_protocols(["h2"])

    async def handle(stream):
        connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        connection.initiate_connection()
        await stream.send_all(connection.data_to_send())
        while data := await stream.receive_some(65536):
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    connection.send_headers(event.stream_id, [(":status", "200"), ("content-length", "2")])
                    connection.send_data(event.stream_id, b"h2", end_stream=True)
            await stream.send_all(connection.data_to_send())

    port = await listen(handle, server_context)
    outcome = await probe(f"https://localhost:{port}/", tls_config=TlsConfig(ca_file=ca_file))
    assert outcome.success, logged(outcome)
    assert value(outcome, "probe_http_version") == 2
    assert value(outcome, "probe_http_uncompressed_body_length") == 2


async def test_a_silent_server_costs_the_timeout(listen, autojump_clock):
    """The deadline cuts every phase; what was declared is there all the same."""
    port = await listen(silent)
    outcome = await probe(f"http://127.0.0.1:{port}/", seconds=2)
    assert not outcome.success
    assert value(outcome, "probe_duration_seconds") == pytest.approx(2, abs=0.1)
    assert value(outcome, "probe_http_status_code") == 0
    assert value(outcome, "probe_http_duration_seconds", phase="processing") is not None
    assert "timeout" in logged(outcome)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"garbage\r\n\r\n", "error for HTTP request"),
        (b"", "error for HTTP request"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nabc", "error for HTTP request"),
    ],
)
async def test_broken_answers(listen, http, answer, reason):
    """Nonsense, silence and a cut body fail the probe with a reason."""

    async def handle(stream):
        await stream.receive_some(65536)
        await stream.send_all(answer)

    outcome = await probe(f"http://127.0.0.1:{await listen(handle)}/")
    assert not outcome.success
    assert reason in logged(outcome)


@pytest.mark.parametrize("target", ["http://", "http://127.0.0.1:99999/", "http://[::1/", "https://127.0.0.1:1/"])
async def test_targets_that_cannot_be_asked(target):
    """A malformed URL or a closed port is a failed probe, no crash."""
    outcome = await probe(target)
    assert not outcome.success
    assert value(outcome, "probe_success") == 0
