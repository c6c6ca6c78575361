"""Whatever is sent to a running daemon, it gives a clear answer and goes on answering."""

from __future__ import annotations

import http.client
import json
import socket
import struct
import time
import urllib.parse

import cramjam
import pytest
from peers import daemon, get, query
from test_kill import request

from tinyobs.model.registry import encode_block, varint

pytestmark = [pytest.mark.slow]

CONFIG = """
tinyobs:
  web: {body_size_max: 64KiB, body_timeout: 1s}
  limits: {label_value_bytes_max: 50}
"""
PROTOBUF = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Run one daemon for all tests of this module; yields its URL."""
    folder = tmp_path_factory.mktemp("bad_input")
    file = folder / "tinyobs.yml"
    file.write_text(CONFIG)
    flags = (f"--config.file={file}", "--web.enable-remote-write-receiver", "--no-plugin=host", "--log.level=error")
    with daemon(folder, *flags) as (url, process):
        yield url
        assert process.poll() is None, "the daemon has ended"
        log = next(folder.glob("*.log")).read_text()
        assert "Traceback" not in log, log


@pytest.fixture(autouse=True)
def _goes_on(base):
    """After each test the daemon answers as before."""
    yield
    assert query(base, "vector(7)") == {(): 7.0}


def address(base):
    host, _, port = base.removeprefix("http://").partition(":")
    return host, int(port)


def post(base, path, body, headers):
    """Return (status, text) of a POST."""
    connection = http.client.HTTPConnection(*address(base), timeout=60)
    try:
        connection.request("POST", path, body, headers, encode_chunked="Transfer-Encoding" in headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def ask(base, path):
    """Return (status, text) of a GET."""
    connection = http.client.HTTPConnection(*address(base), timeout=60)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def error(base, path, **parameters):
    """Return (status, kind, message) of a request that fails."""
    status, text = ask(base, f"{path}?{urllib.parse.urlencode(parameters, doseq=True)}")
    data = json.loads(text)
    assert data["status"] == "error"
    return status, data["errorType"], data["error"]


def raw(base, data, end=False, silence=3.0):
    """Send bytes over a fresh connection and return all that comes back until it is closed, or nothing comes for long."""
    with socket.create_connection(address(base), timeout=60) as s:
        s.sendall(data)
        if end:
            s.shutdown(socket.SHUT_WR)
        out = b""
        s.settimeout(silence)
        try:
            while piece := s.recv(65536):
                out += piece
        except (TimeoutError, ConnectionError):
            pass
        return out


def counted(base, name):
    """Return the sum of a metric of the daemon."""
    lines = get(f"{base}/metrics").decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith((name + " ", name + "{")))


def compressed(data):
    return bytes(cramjam.snappy.compress_raw(data))


HUGE = varint(1 << 31) + b"\x00" * 20
"""A snappy block that says it unpacks to 2 GiB."""
GOOD = request([encode_block((("__name__", "good"),))], int(time.time() * 1000), 1.0)


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"not snappy", 400, "snappy"),
        (b"", 400, "snappy"),
        (HUGE, 413, "2147483648"),
        (compressed(b"\x0a\xff\xff\xff\xff\x0f"), 400, "byte"),
        (compressed(b"\xff" * 50), 400, "byte"),
        (compressed(b"\x0a\x04\x0a\x02\x0a\x05"), 400, "byte"),
        (GOOD[:-3], 400, "snappy"),
    ],
    ids=["no block", "empty", "huge", "endless length", "endless varint", "cut label", "cut block"],
)
def test_malformed_remote_write_bodies(base, body, status, message):
    """Each is refused with what is wrong with it; nothing is stored."""
    found = post(base, "/api/v1/write", body, PROTOBUF)
    assert found[0] == status, found
    assert message in found[1]


def test_the_wrong_kind_of_body(base):
    """Content types and encodings that are not those of remote write get a 415 that names the right one."""
    for headers in (
        {**PROTOBUF, "Content-Type": "application/json"},
        {**PROTOBUF, "Content-Type": "application/x-protobuf;proto=io.prometheus.write.v3.Request"},
        {**PROTOBUF, "Content-Encoding": "gzip"},
    ):
        status, text = post(base, "/api/v1/write", GOOD, headers)
        assert status == 415, (headers, text)
        assert any(word in text for word in ("application/x-protobuf", "prometheus.WriteRequest", "snappy"))
    assert post(base, "/api/v1/write", GOOD, PROTOBUF)[0] == 204


def test_a_body_beyond_the_limit(base):
    """The configured `body_size_max` holds, with and without a declared length."""
    assert post(base, "/api/v1/write", b"x" * 70_000, PROTOBUF)[0] == 413
    status, _ = post(base, "/api/v1/write", iter([b"x" * 10_000] * 7), {**PROTOBUF, "Transfer-Encoding": "chunked"})
    assert status == 413


def test_a_body_that_does_not_come(base):
    """A client that sends its body too slowly gets a 408, after the configured `body_timeout`; the default is longer than it waits here."""
    head = b"POST /api/v1/write HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc"
    assert raw(base, head, silence=25.0).startswith(b"HTTP/1.1 408 ")


def test_samples_beyond_limits_are_refused_and_counted(base):
    """A label value that is too long, and a time in the far future: 400 with the reason, counted by reason."""
    before = counted(base, "tinyobs_ingest_refused_total")
    now = int(time.time() * 1000)
    long = request([encode_block((("__name__", "x"), ("a", "v" * 60)))], now, 1.0)
    status, text = post(base, "/api/v1/write", long, PROTOBUF)
    assert (status, "label_value_bytes_max 50 of label a" in text) == (400, True), text
    future = request([encode_block((("__name__", "x"),))], now + 86_400_000, 1.0)
    status, text = post(base, "/api/v1/write", future, PROTOBUF)
    assert (status, "out of bounds" in text) == (400, True), text
    assert counted(base, "tinyobs_ingest_refused_total") == before + 2
    assert counted(base, "prometheus_tsdb_out_of_bound_samples_total") >= 1


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 40,
        b"HELLO\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nContent-Length: x\r\nHost: a\r\n\r\n",
        b"POST /api/v1/query HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nZZZ\r\n",
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 50_000 + b"\r\n",
        b"\x00" * 1000,
    ],
)
def test_garbage_instead_of_http(base, data):
    """The answer is a 4xx, or the connection is closed; never a 5xx."""
    found = raw(base, data)
    assert not found or found.startswith(b"HTTP/1.1 4"), found[:200]


def test_connections_that_end_in_the_middle(base):
    """A client that goes away in its request or before the answer disturbs nobody."""
    for data in (b"GET /metr", b"POST /api/v1/write HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc"):
        raw(base, data, end=True)
    for _ in range(20):
        with socket.create_connection(address(base)) as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            s.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("up{", "parse error"),
        ("(" * 5000 + "1" + ")" * 5000, "parse error"),
        ("-" * 5000 + "1", "parse error"),
        ("sum(" * 3000 + "up" + ")" * 3000, "parse error"),
        ("x" * 50_000 + "{", "parse error"),
        ('{a=~"("}', "parse error"),
        ('{a=~"' + "(a*)*" * 5 + '(?=x)"}', "parse error"),
        ("{}", "parse error"),
        ("\x00", "parse error"),
        ("up[5m]offset", "parse error"),
        ('label_replace(up, "a", "$1", "b", "(")', "label_replace"),
        ("rate(up)", "parse error"),
    ],
)
def test_queries_that_make_no_sense(base, expression, message):
    """Nested too deep, with broken matchers, cut off: an error of the caller with its place, never a failure of ours."""
    form = urllib.parse.urlencode({"query": expression})
    status, text = post(base, "/api/v1/query", form, {"Content-Type": "application/x-www-form-urlencoded"})
    assert status in (400, 422), (status, text[:300])
    data = json.loads(text)
    assert data["errorType"] in ("bad_data", "execution")
    assert message in data["error"], data["error"][:300]


def test_a_long_chain_of_operators(base):
    """Ten thousand summands are computed or refused, within the time of a request."""
    form = urllib.parse.urlencode({"query": "+".join(["1"] * 10_000)})
    status, text = post(base, "/api/v1/query", form, {"Content-Type": "application/x-www-form-urlencoded"})
    assert status in (200, 400, 422), text[:300]


def test_a_query_string_of_100_kilobytes(base):
    """It is answered, whether it is taken or refused."""
    status, _ = ask(base, "/api/v1/query?query=1&x=" + "a" * 100_000)
    assert status in (200, 400, 414, 431)


@pytest.mark.parametrize(
    ("path", "parameters", "message"),
    [
        ("query", {"query": "up", "time": "yesterday"}, "yesterday"),
        ("query", {"query": "up", "timeout": "-"}, "timeout"),
        ("query_range", {"query": "up", "start": "0", "end": "9", "step": "0"}, "step"),
        (
            "query_range",
            {"query": "up", "start": "9", "end": "0", "step": "1"},
            "end timestamp must not be before start",
        ),
        ("query_range", {"query": "up", "start": "0", "end": "1e9", "step": "1"}, "11,000"),
        ("query_range", {"query": "up[5m]", "start": "0", "end": "9", "step": "1"}, "type"),
        ("series", {}, "match[]"),
        ("series", {"match[]": "up{"}, "parse error"),
        ("series", {"match[]": "{}"}, "match[]"),
        ("labels", {"start": "x"}, "start"),
        ("label/a%20b%ff/values", {}, ""),
    ],
)
def test_parameters_that_make_no_sense(base, path, parameters, message):
    """Bad times, steps and matchers are errors of the caller that name the parameter."""
    status, kind, text = error(base, f"/api/v1/{path}", **parameters)
    assert (status, kind) == (400, "bad_data"), text
    assert message in text


def test_paths_and_methods_that_there_are_not(base):
    """Unknown paths get a 404, wrong methods a 405."""
    assert ask(base, "/api/v1/nothing")[0] == 404
    assert ask(base, "/../../etc/passwd")[0] == 404
    assert post(base, "/metrics", b"", {})[0] == 405
    assert ask(base, "/api/v1/write")[0] == 405
