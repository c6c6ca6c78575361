"""The same bodies by OTLP to TinyObs and to others: the same series and samples come out.

Prometheus is asked about every strategy and kind; Debian builds it without the receiver, so that `TINYOBS_PROMETHEUS3` has to
name another.  VictoriaMetrics names metrics in the same way when it is told to.
"""

from __future__ import annotations

import json
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import peers
import pytest
from otlp_bodies import SECOND_NS, Body, attributes

pytestmark = pytest.mark.peer

STRATEGIES = (
    "UnderscoreEscapingWithSuffixes",
    "UnderscoreEscapingWithoutSuffixes",
    "NoUTF8EscapingWithSuffixes",
    "NoTranslation",
)
CONFIGS = {
    **{name: f"translation_strategy: {name}" for name in STRATEGIES},
    "promoted": "promote_resource_attributes: [host.name, service.name, env]",
    "all promoted": "{promote_all_resource_attributes: true, ignore_resource_attributes: [host.name]}",
    "identifying": "keep_identifying_resource_attributes: true",
    "custom buckets": "convert_histograms_to_nhcb: true",
    "scopes": "promote_scope_metadata: true",
}
UNITS = ("", "1", "s", "By", "By/s", "{thing}", "{thing}/m", "m/s", "%", "weird unit", "ms", "KiBy")


@contextmanager
def both(folder: Path, section: str) -> Iterator[list[str]]:
    """Run both; yields their URLs, that of Prometheus first."""
    program = peers.prometheus_3()
    shown = subprocess.run([program, "--help"], capture_output=True, text=True)
    if "web.enable-otlp-receiver" not in shown.stdout + shown.stderr:
        pytest.skip("this Prometheus is built without OTLP; TINYOBS_PROMETHEUS3 may name another")
    config = folder / "c.yml"
    config.write_text(f"otlp: {section if section.startswith('{') else f'{{{section}}}'}\n")
    port = peers.free_port()
    base = f"http://127.0.0.1:{port}"
    command = [
        program,
        f"--config.file={config}",
        f"--web.listen-address=127.0.0.1:{port}",
        f"--storage.tsdb.path={folder / 'prometheus'}",
        "--web.enable-otlp-receiver",
        "--enable-feature=native-histograms,exemplar-storage",
    ]
    with ExitStack() as stack:
        stack.enter_context(peers.running(command, f"{base}/-/ready", folder))
        flags = (f"--config.file={config}", "--web.enable-otlp-receiver", "--no-plugin=host", "--log.level=warn")
        ours, _ = stack.enter_context(peers.daemon(folder, *flags))
        yield [base, ours]


def post(base: str, body: bytes, path: str = "/api/v1/otlp/v1/metrics") -> int:
    request = urllib.request.Request(base + path, body, {"Content-Type": "application/x-protobuf"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as e:
        raise AssertionError(f"{base}: {e.code} {e.read()!r}") from None


def samples(base: str, at: float) -> dict[tuple[tuple[str, str], ...], object]:
    """Return all samples by series, floats and histograms as the API shows them."""
    query = urllib.parse.urlencode({"query": '{__name__!=""}[1h]', "time": repr(at)})
    found = json.loads(peers.get(f"{base}/api/v1/query?{query}"))["data"]["result"]
    return {
        tuple(sorted(series["metric"].items())): [*series.get("values", []), *series.get("histograms", [])]
        for series in found
    }


def kinds(at_ns: int) -> Body:
    """Return every kind of metric with every unit, and names and attributes that need translation."""
    body = Body(
        scope="a.scope", service__name="shop", service__namespace="eu", service__instance__id="i-1", host__name="h"
    )
    attributes(
        body.resource_metrics.resource.attributes, {"k8s.pod name": "p", "1st": True, "n": 7, "f": 1.5, "none": ""}
    )
    body.scope_metrics.scope.version = b"1.2"
    body.scope_metrics.schema_url = b"https://x/y"
    attributes(body.scope_metrics.scope.attributes, {"lib.lang": "py"})
    for i, unit in enumerate(UNITS):
        body.gauge(f"a.gauge.{i}", 1.5, -2.5, unit=unit, at_ns=at_ns, http__code=200)
        body.sum(f"b sum-{i}", 1, 2, 3, unit=unit, at_ns=at_ns, start_ns=at_ns - SECOND_NS)
        body.sum(f"c/level_{i}", 4.5, unit=unit, monotonic=False, at_ns=at_ns)
    body.gauge("9 lives", 9, at_ns=at_ns)
    body.gauge("über.größe", 1, at_ns=at_ns)
    body.gauge("dots..and__runs", 1, at_ns=at_ns)
    odd = {"a.b": "1", "a/b": "2", "_one": "x", "__two": "y", "1a": "z", "empty": "", "job": "mine"}
    body.gauge("odd.attributes", 1.0, at_ns=at_ns, **odd)
    values = {
        "list": ["a", 1, 2.5, True, {"k": "v"}],
        "map": {"b": 1, "a": [1.0, "<&>"]},
        "bytes": b"\x00\xff",
        "yes": True,
        "float": 1e21,
        "small": 1.5e-7,
        "whole": 5.0,
        "int": -3,
    }
    body.gauge("attribute.values", 1.0, at_ns=at_ns, **values)
    body.histogram("d.duration", [1, 0, 3, 4], [0.005, 2.5, 1e21], unit="s", at_ns=at_ns, route="/")
    body.histogram("d.duration", [2, 0, 3, 4], [0.005, 2.5, 1e21], unit="s", at_ns=at_ns + SECOND_NS, route="/")
    body.histogram("e.sumless", [0, 0, 0, 4, 0, 5], [1.0, 2.0, 3.0, 4.0, 5.0], total=None, at_ns=at_ns)
    body.exponential("f.exponential", [1, 2, 0, 0, 0, 3], scale=3, offset=-2, negative=[4], zero_count=2, at_ns=at_ns)
    body.exponential("g.fine", [1] * 30, scale=11, offset=-9, at_ns=at_ns)
    body.exponential("h.negative.scale", [1, 0, 7], scale=-4, offset=5, at_ns=at_ns)
    body.summary("i.summary", {0.5: 1.5, 0.99: 7.0, 1.0: 8.0}, at_ns=at_ns, path="/x")
    ended = body.gauge("j.ended", 1.0, 2.0, at_ns=at_ns)
    ended.data_points[1].flags = 1
    return body


@pytest.mark.parametrize("name", CONFIGS)
def test_the_same_comes_out(tmp_path, name):
    """Names, labels, values, times, histograms; twice, so that the second body is recognised."""
    now_ns = int(time.time()) * SECOND_NS - 600 * SECOND_NS
    with both(tmp_path, CONFIGS[name]) as bases:
        for i in range(4):
            body = kinds(now_ns + i * 10 * SECOND_NS).bytes()
            assert [post(base, body) for base in bases] == [200, 200]
        wanted, found = (samples(base, time.time()) for base in bases)
        assert sorted(found) == sorted(wanted)
        for series, values in wanted.items():
            assert found[series] == values, series
    assert len(found) > 50


def test_target_info_fills_the_gaps(tmp_path):
    """Between the earliest and the latest point there is a sample every half lookback, and of each resource one series."""
    begin_ns = int(time.time()) * SECOND_NS - 1800 * SECOND_NS
    bodies = []
    for i in range(2):
        body = Body(service__name="shop", service__instance__id=str(i), host__name="h")
        for at in (0, 700 + i, 1200):
            body.gauge("a", 1.0, at_ns=begin_ns + at * SECOND_NS + 1_500_000, at=str(at))
        bodies.append(body)
    bodies[0].request.resource_metrics.extend(bodies[1].request.resource_metrics)
    bodies[0].request.resource_metrics.extend(bodies[1].request.resource_metrics)
    with both(tmp_path, "") as bases:
        assert [post(base, bodies[0].bytes()) for base in bases] == [200, 200]
        wanted, found = (samples(base, time.time()) for base in bases)
    assert found == wanted
    infos = [values for series, values in found.items() if ("__name__", "target_info") in series]
    assert [len(values) for values in infos] == [9, 9]


def test_exemplars_are_those_of_prometheus(tmp_path):
    """At the same series, with the same labels and times; those of gauges are left out."""
    now_ns = int(time.time()) * SECOND_NS
    body = Body(service__name="shop")
    sum_ = body.sum("requests", 1, at_ns=now_ns)
    gauge = body.gauge("level", 1, at_ns=now_ns)
    histogram = body.histogram("duration", [1, 1, 1], [1.0, 2.0], at_ns=now_ns)
    exponential = body.exponential("size", [1, 1], at_ns=now_ns)
    places = (sum_.data_points[0], gauge.data_points[0], histogram, histogram, histogram, exponential)
    for i, point in enumerate(places):
        exemplar = point.exemplars.add(time_unix_nano=now_ns + i * 1_000_000, as_double=0.5 + max(i - 2, 0))
        exemplar.trace_id, exemplar.span_id = bytes(range(16)), bytes(range(i, i + 8))
        attributes(exemplar.filtered_attributes, {"user.id": "u" * (30 if i % 2 else 100)})
    with both(tmp_path, "") as bases:
        assert [post(base, body.bytes()) for base in bases] == [200, 200]
        found = []
        for base in bases:
            query = urllib.parse.urlencode(
                {"query": '{job="shop"}', "start": now_ns / 1e9 - 60, "end": now_ns / 1e9 + 60}
            )
            answer = json.loads(peers.get(f"{base}/api/v1/query_exemplars?{query}"))["data"]
            found.append({tuple(sorted(s["seriesLabels"].items())): s["exemplars"] for s in answer})
    assert found[1] == found[0]
    assert len(found[0]) == 5


def test_victoriametrics_has_the_same(tmp_path):
    """Names, units, labels and values of what it stores as we do: not native histograms, nor what a resource says."""
    now_ns = int(time.time()) * SECOND_NS - 600 * SECOND_NS
    body = Body(service__name="shop", host__name="h")
    for i, unit in enumerate(u for u in UNITS if " " not in u):
        body.gauge(f"a.gauge.{i}", 1.5, -2.5, unit=unit, at_ns=now_ns, **{"http.code": 200, "_x": True, "1a": 0.5})
        body.sum(f"b sum-{i}", 1, 2, 3, unit=unit, at_ns=now_ns)
    body.sum("c/level", 4.5, unit="s", monotonic=False, at_ns=now_ns)
    body.histogram("d.duration", [1, 0, 3, 4], [0.005, 2.5, 1e21], unit="s", at_ns=now_ns, route="/")
    body.histogram("e.sumless", [0, 4, 0, 5], [1.0, 2.0, 3.0], total=None, at_ns=now_ns)
    body.summary("f.summary", {0.5: 1.5, 0.999: 7.0}, at_ns=now_ns, path="/x")
    port = peers.free_port()
    theirs = f"http://127.0.0.1:{port}"
    command = [
        peers.victoria_metrics("opentelemetry.promoteScopeMetadata"),
        f"-httpListenAddr=127.0.0.1:{port}",
        f"-storageDataPath={tmp_path / 'vm'}",
        "-opentelemetry.usePrometheusNaming",
        "-opentelemetry.promoteAllResourceAttributes=false",
        "-opentelemetry.promoteScopeMetadata=false",
    ]
    (tmp_path / "c.yml").write_text("global: {}\n")
    flags = (
        f"--config.file={tmp_path / 'c.yml'}",
        "--web.enable-otlp-receiver",
        "--no-plugin=host",
        "--log.level=warn",
    )
    with peers.running(command, f"{theirs}/health", tmp_path), peers.daemon(tmp_path, *flags) as (ours, _):
        for base in (theirs, ours):
            post(base, body.bytes(), path="/opentelemetry/v1/metrics")
        peers.get(f"{theirs}/internal/force_flush")
        everything = urllib.parse.urlencode({"match[]": '{__name__!=""}'})
        lines = peers.get(f"{theirs}/api/v1/export?{everything}").splitlines()
        found = samples(ours, time.time())
    wanted = {
        tuple(sorted(s["metric"].items())): list(zip(s["timestamps"], s["values"], strict=True))
        for s in map(json.loads, lines)
    }
    assert {
        tuple(pair for pair in series if pair[0] != "job"): [(round(at * 1000), float(value)) for at, value in values]
        for series, values in found.items()
        if ("__name__", "target_info") not in series
    } == wanted
    assert len(wanted) > 35
