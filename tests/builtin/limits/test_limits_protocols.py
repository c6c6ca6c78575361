"""Decoders remember series, but not what stands for series that were refused or folded."""

from __future__ import annotations

import json

import pytest
from otlp_bodies import Body

from tinyobs.exposition.graphite import GraphiteParser
from tinyobs.exposition.influx import InfluxDecoder, InfluxOptions
from tinyobs.exposition.otlp.decoder import Decoder
from tinyobs.exposition.otlp.rules import Rules
from tinyobs.exposition.otlp.schema import Request
from tinyobs.exposition.prometheus_lines import LineMemory, LineReader
from tinyobs.model.gate import STAND_INS
from tinyobs.receiving.extra_labels import LabelAdder

COUNT = 30


def graphite(registry):
    """Decode Graphite lines."""
    parser = GraphiteParser(registry)
    lines = b"".join(b"x;n=%d 1 1700000000\n" % i for i in range(COUNT))
    return lambda: parser.parse(lines, 1000).batch


def influx(registry):
    """Decode Influx lines."""
    decoder = InfluxDecoder(registry)
    lines = b"".join(b"x,n=%d value=1\n" % i for i in range(COUNT))
    return lambda: decoder.decode(lines, InfluxOptions(1000)).batch


def text(registry):
    """Read the text format line by line."""
    memory = LineMemory()
    lines = b"".join(b'x{n="%d"} 1\n' % i for i in range(COUNT))
    return lambda: LineReader(registry, memory).read(lines).batch


def otlp(registry):
    """Decode OTLP in JSON."""
    decoder = Decoder(registry, Rules())
    attributes = [[{"key": "n", "value": {"stringValue": str(i)}}] for i in range(COUNT)]
    points = [{"timeUnixNano": "1000000000", "asDouble": 1.0, "attributes": a} for a in attributes]
    metric = {"name": "x", "gauge": {"dataPoints": points}}
    body = json.dumps({"resourceMetrics": [{"scopeMetrics": [{"metrics": [metric]}]}]}).encode()
    return lambda: decoder.decode(body, as_json=True).pushed.batch


@pytest.mark.parametrize("protocol", [graphite, influx, text, otlp])
def test_what_was_refused_is_taken_when_there_is_room(scene, protocol):
    """Nothing of it stays in the registry before, and nothing in the way later."""
    s = scene(series_max=5)
    decode = protocol(s.registry)
    for _ in range(3):
        assert len(s.limits.process(decode())) == 5
    assert len(s.registry) == 5
    s.configure(series_max=0)
    s.process()
    assert len(s.limits.process(decode())) == COUNT


def test_labels_that_a_request_adds(scene):
    """Series that are refused, or folded, get none, and cost no memory."""
    s = scene(series_max=3)
    given = s.batch(*({"n": str(i)} for i in range(5)))
    assert (given.refs >= STAND_INS).tolist() == [False] * 3 + [True] * 2
    s.configure(series_max=0)
    s.process()
    out = LabelAdder(s.registry).add(given, (("added", "1"),))
    assert [dict(s.registry.labels(r)).get("added") for r in out.refs[:3].tolist()] == ["1"] * 3
    assert out.refs[3:].tolist() == given.refs[3:].tolist()


def test_resources_beyond_a_limit_leave_no_trace(scene):
    """Their `target_info` is refused each time they come, without a number; their metrics go on, and later it does, too."""
    s = scene(label_value_bytes_max=100)
    body = Request()
    for i in range(COUNT):
        of = Body(service__name=f"s{i}", text="x" * 101)
        of.gauge("x", 1.0)
        body.MergeFrom(of.request)
    decoder = Decoder(s.registry, Rules())
    for _ in range(4):
        assert len(s.limits.process(decoder.decode(body.SerializeToString()).pushed.batch)) == COUNT
        assert len(s.registry) == COUNT
    s.configure(label_value_bytes_max=0)
    s.process()
    assert len(s.limits.process(decoder.decode(body.SerializeToString()).pushed.batch)) == 2 * COUNT
