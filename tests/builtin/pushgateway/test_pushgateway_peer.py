"""The same requests to TinyObs and to prometheus/pushgateway: both answer alike and then expose the same groups."""

from __future__ import annotations

import base64
import gzip
import http.client
import json
import re
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from peers import daemon, free_port, pause, program, running
from prometheus_client.parser import text_string_to_metric_families

from tinyobs.exposition.formats import Format
from tinyobs.exposition.negotiate import Answer
from tinyobs.exposition.writer import write
from tinyobs.model.families import MetricFamily, Point
from tinyobs.model.metadata import MetricType

PROTOBUF = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
HISTOGRAM = b"""# HELP h A histogram.
# TYPE h histogram
h_bucket{le="0.5"} 1
h_bucket{le="1"} 3
h_bucket{le="+Inf"} 4
h_sum 5.5
h_count 4
"""
SUMMARY = b"""# TYPE s summary
s{quantile="0.5"} 1.25
s{quantile="0.9"} 2
s_sum 9
s_count 3
"""
FAMILIES = [
    MetricFamily("c_total", MetricType.COUNTER, "Counts.", (Point(3.0, (("x", "1"),)), Point(4.0, (("x", "2"),)))),
    MetricFamily(
        "ph",
        MetricType.HISTOGRAM,
        "",
        (
            Point(1.0, (("le", "0.1"),), "_bucket"),
            Point(2.0, (("le", "+Inf"),), "_bucket"),
            Point(0.5, (), "_sum"),
            Point(2.0, (), "_count"),
        ),
    ),
]
DELIMITED = write(FAMILIES, Answer(Format.PROTOBUF))


def b64(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


PUT, POST, DELETE = "PUT", "POST", "DELETE"
REQUESTS: dict[str, list[tuple[str, str, bytes] | tuple[str, str, bytes, dict[str, str]]]] = {
    "put replaces the group": [(PUT, "job/a", b"m 1\nn 2\n"), (PUT, "job/a", b"m 3\n")],
    "post replaces families of the same name": [
        (POST, "job/a", b'm{x="1"} 1\nm{x="2"} 2\nn 2\n'),
        (POST, "job/a", b'm{x="3"} 3\n'),
        (POST, "job/a", b"o 1\n"),
        (POST, "job/a", b"n 5\no 6\n"),
    ],
    "put behind posts": [(POST, "job/a", b"m 1\n"), (POST, "job/a", b"n 1\n"), (PUT, "job/a", b"o 1\n")],
    "groups are apart": [
        (PUT, "job/a", b"m 1\n"),
        (PUT, "job/a/instance/i", b"m 2\n"),
        (PUT, "job/b", b"m 3\n"),
        (DELETE, "job/a", b""),
    ],
    "delete of nothing": [(DELETE, "job/none", b"")],
    "empty put and empty post": [
        (PUT, "job/a", b"m 1\n"),
        (POST, "job/a", b""),
        (PUT, "job/b", b"m 1\n"),
        (PUT, "job/b", b""),
    ],
    "labels of the path win": [(PUT, "job/a/x/1", b'm{job="b",x="2",y="3"} 1\nn{instance="i"} 1\n')],
    "the first job wins": [(PUT, "job/a/job/b", b"m 1\n")],
    "a label twice in the path": [(PUT, "job/a/x/1/x/2", b"m 1\n")],
    "base64": [
        (PUT, f"job@base64/{b64('a/b')}/path@base64/{b64('/var/tmp')}", b"m 1\n"),
        (PUT, f"job/a/empty@base64/=/x@base64/{b64('Προμηθεύς')}==", b"m 2\n"),
        (PUT, "job@base64/=", b"m 1\n"),
        (PUT, "job/a/x@base64/%21", b"m 1\n"),
        (PUT, "job@base64/YQ==/x/1", b"m 1\n"),
    ],
    "percent encoding": [(PUT, "job/titan/name/%CE%A0%CF%81%20x+y", b"m 1\n")],
    "an empty label makes another group": [
        (PUT, "job/a/x@base64/=", b"m 1\n"),
        (PUT, "job/a", b"m 2\n"),
        (DELETE, "job/a", b""),
    ],
    "a slash at the end": [
        (PUT, "job/a/", b"m 1\n"),
        (PUT, "job/b/x/1/", b"m 1\n"),
        (PUT, "job/c/instance/", b"m 1\n"),
        (POST, "job/c/x/1/y@base64/", b"m 1\n"),
        (DELETE, "job/c/instance/", b""),
    ],
    "odd numbers and bad names": [
        (PUT, "job/a/x", b"m 1\n"),
        (PUT, "job/a/1x/y", b"m 1\n"),
        (PUT, "job/a/__x/y", b"m 1\n"),
        (PUT, "job/a/x-y/z", b"m 1\n"),
        (DELETE, "job/a/x", b""),
    ],
    "malformed bodies": [
        (PUT, "job/a", b"m 1"),
        (PUT, "job/a", b"m\n"),
        (PUT, "job/a", b"m one\n"),
        (PUT, "job/a", b"m 1\r\n"),
        (PUT, "job/a", b"# TYPE m gauge\n# TYPE m counter\nm 1\n"),
        (PUT, "job/a", b"m 1\n# TYPE m counter\n"),
        (PUT, "job/a", b"# HELP m a\n# HELP m b\nm 1\n"),
        (PUT, "job/a", b"# TYPE m nothing\nm 1\n"),
        (PUT, "job/a", b'm{x="a\nb"} 1\n'),
        (PUT, "job/a", b'm{x="\xff"} 1\n'),
        (PUT, "job/a", b"\x00\x01\x02\n"),
    ],
    "blank lines and comments": [(PUT, "job/a", b"\n  \n# what\n# TYPE m gauge\n   m   1\n")],
    "no body but a line break": [(PUT, "job/a", b"\n")],
    "timestamps": [
        (PUT, "job/a", b"m 1\n"),
        (PUT, "job/a", b"m 2 1700000000000\n"),
        (POST, "job/new", b"m 2 1700000000000\n"),
    ],
    "a series twice": [(PUT, "job/a", b"m 1\nm 2\n"), (PUT, "job/b", b'm{job="x"} 1\nm{job="y"} 2\n')],
    "a series of another group": [
        (PUT, "job/a/x/1", b"m 1\n"),
        (PUT, "job/a", b'm{x="1"} 1\n'),
        (PUT, "job/a", b'm{x="2"} 1\n'),
    ],
    "types of other groups": [
        (PUT, "job/a", b"# TYPE m gauge\nm 1\n"),
        (PUT, "job/b", b"# TYPE m counter\nm 1\n"),
        (PUT, "job/b", b"m 1\n"),
        (DELETE, "job/a", b""),
        (PUT, "job/b", b"# TYPE m counter\nm 1\n"),
    ],
    "another type in the only group": [
        (PUT, "job/a", b"# TYPE m gauge\nm 1\n"),
        (PUT, "job/a", b"# TYPE m counter\nm 1\n"),
        (POST, "job/a", b"# TYPE m gauge\nm 1\n"),
    ],
    "other help": [(PUT, "job/a", b"# HELP m one\nm 1\n"), (PUT, "job/a", b"# HELP m two\nm 1\n")],
    "names that collide": [
        (PUT, "job/a", SUMMARY),
        (PUT, "job/b", b"s_count 1\n"),
        (PUT, "job/b", b"s_bucket 1\n"),
        (PUT, "job/c", b"h_sum 1\n"),
        (PUT, "job/d", HISTOGRAM),
        (DELETE, "job/c", b""),
        (PUT, "job/d", HISTOGRAM),
    ],
    "histograms and summaries": [(PUT, "job/a", HISTOGRAM + SUMMARY), (POST, "job/a", HISTOGRAM)],
    "a group's own times": [(PUT, "job/a", b"push_time_seconds 5\npush_failure_time_seconds 6\nm 1\n")],
    "special values": [(PUT, "job/a", b"a NaN\nb +Inf\nc -Inf\nd 1e-300\ne 123456789012345678\nf -0\n")],
    "escapes": [(PUT, "job/a", b'# HELP m a\\\\b\\nc\nm{x="a\\"b\\\\c\\nd"} 1\n')],
    "protobuf": [
        (PUT, "job/a", DELIMITED, {"content-type": PROTOBUF}),
        (POST, "job/a", b"m 1\n"),
        (POST, "job/a", DELIMITED, {"content-type": PROTOBUF}),
        (PUT, "job/b", DELIMITED[:-3], {"content-type": PROTOBUF}),
        (PUT, "job/b", DELIMITED, {"content-type": "application/vnd.google.protobuf"}),
    ],
    "gzip": [
        (PUT, "job/a", gzip.compress(b"m 1\n", mtime=0), {"content-encoding": "gzip"}),
        (PUT, "job/b", b"no gzip", {"content-encoding": "gzip"}),
    ],
    "any content type is text": [(PUT, "job/a", b"m 1\n", {"content-type": "application/json"})],
    "other methods": [(method, "job/a", b"m 1\n") for method in ("PATCH", "GET", "HEAD")],
    "reserved labels": [(PUT, "job/a", b'm{__x="1"} 1\n')],
}
"""Pushes below `/metrics/`, by what is looked at."""


class Server:
    """A gateway, its admin API open."""

    def __init__(self, base: str, exposed: str) -> None:
        self.address, self.exposed = urlsplit(base).netloc, exposed

    def ask(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(self.address, timeout=60)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def families(self) -> dict[str, tuple[str, set[object]]]:
        """Families that were pushed: name -> (type, samples), times as whether there are any."""
        status, text = self.ask("GET", self.exposed)
        assert status == 200
        found = {}
        for family in text_string_to_metric_families(text.decode()):
            if not re.match(r"(go|process|promhttp|pushgateway)_", family.name):
                found[family.name] = family.type, {sample_of(s) for s in family.samples}, family.documentation
        return found


def sample_of(s: object) -> object:
    labels = {k: str(float(v)) if k in ("le", "quantile") else v for k, v in s.labels.items()}
    value = s.value > 0 if s.name.startswith("push_") else repr(s.value)
    return s.name, tuple(sorted(labels.items())), value


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    """Ours and theirs."""
    folder = tmp_path_factory.mktemp("gateways")
    path = program("prometheus-pushgateway")
    address = f"127.0.0.1:{free_port()}"
    command = [path, f"--web.listen-address={address}", "--web.enable-admin-api", "--persistence.file="]
    with ExitStack() as stack:
        stack.enter_context(running(command, f"http://{address}/-/ready", Path(folder)))
        (folder / "ours").mkdir()
        base, _ = stack.enter_context(daemon(folder / "ours", "--web.enable-admin-api"))
        yield Server(base, "/pushgateway/metrics"), Server(f"http://{address}", "/metrics")


@pytest.mark.parametrize("name", REQUESTS)
def test_both_do_the_same(servers, name):
    """Status codes and groups are equal after every request."""
    for server in servers:
        assert server.ask("PUT", "/api/v1/admin/wipe")[0] == 202
    for request in REQUESTS[name]:
        method, path, body, *headers = request
        (ours, text), (theirs, expected) = [s.ask(method, f"/metrics/{path}", body, *headers) for s in servers]
        assert ours == theirs, f"{request}: {text!r}, upstream {expected!r}"
        found, wanted = [s.families() for s in servers]
        for _ in range(300 if method == DELETE else 0):  # which upstream does after its answer
            if found == wanted:
                break
            pause()
            wanted = servers[1].families()
        assert found == wanted, request


DIFFERENT = {
    "an empty component": ((PUT, "job/a/x//y/1", b"m 1\n"), 400, 301),
    "no job": ((PUT, "job/", b"m 1\n"), 400, 307),
    "a blank behind the value": ((PUT, "job/a", b"m 1  \n"), 200, 400),
    "an empty label in the body beside none": ((PUT, "job/a", b'm 1\nm{x=""} 2\n'), 400, 200),
    "an unknown escape": ((PUT, "job/a", b'm{x="\\q"} 1\n'), 200, 400),
    "a type in capitals": ((PUT, "job/a", b"# TYPE m GAUGE\nm 1\n"), 400, 200),
    "gzip that is cut short": (
        (PUT, "job/a", gzip.compress(b"m 1\n", mtime=0)[:-5], {"content-encoding": "gzip"}),
        400,
        200,
    ),
    "an unknown encoding": ((PUT, "job/a", b"m 1\n", {"content-encoding": "br"}), 415, 200),
    "a family of its own": ((PUT, "job/a", b"# TYPE go_goroutines counter\ngo_goroutines 1\n"), 200, 400),
}
"""What is answered otherwise, as docs/receivers/pushgateway.md says: here, upstream."""


@pytest.mark.parametrize("name", DIFFERENT)
def test_deliberate_differences(servers, name):
    """They are as the page says, in both."""
    for server in servers:
        server.ask("PUT", "/api/v1/admin/wipe")
    (method, path, body, *headers), ours, theirs = DIFFERENT[name]
    assert [server.ask(method, f"/metrics/{path}", body, *headers)[0] for server in servers] == [ours, theirs]


def test_the_query_api_is_alike(servers):
    """The JSON of the groups has the same keys and values, but for times."""
    found = []
    for server in servers:
        server.ask("PUT", "/api/v1/admin/wipe")
        server.ask(
            PUT, "/metrics/job/a/x/1", HISTOGRAM + SUMMARY + b"# TYPE g gauge\n# HELP g Text.\ng 12345678\nu 0.5\n"
        )
        (group,) = json.loads(server.ask("GET", "/api/v1/metrics")[1])["data"]
        for name, family in group.items():
            if isinstance(family, dict) and "time_stamp" in family:
                assert family.pop("time_stamp")
                for metric in family["metrics"] if name.startswith("push_") else ():
                    metric["value"] = metric["value"] != "0"
        found.append(group)
    assert found[0] == found[1]
