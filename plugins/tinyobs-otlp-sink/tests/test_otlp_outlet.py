"""Requests of the OTLP sink, and what it makes of answers."""

from __future__ import annotations

import email.utils
import gzip

import numpy as np
import pytest
import structlog
import trio
from http_peers import listening, serving
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsPartialSuccess,
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from tinyobs.abc import Logged, LogPosition
from tinyobs.config.decoder import decode_text
from tinyobs.errors import ConfigError
from tinyobs.model.batch import Batch
from tinyobs.model.labels import from_mapping
from tinyobs.sinks.group import Counts, TryAgain
from tinyobs.testing.services import FakeServices

from tinyobs_otlp_sink import OtlpOutlet
from tinyobs_otlp_sink.outlet import partial_success
from tinyobs_otlp_sink.settings import OtlpSinkSettings


class Scene:
    """An outlet whose receiver answers as the test says."""

    def __init__(self, address, text=""):
        self.services = FakeServices()
        self.counts = Counts()
        settings = decode_text(OtlpSinkSettings, f"{{name: a, url: 'http://{address}/v1/metrics', {text}}}", "f.yml")
        self.outlet = OtlpOutlet(self.services, settings, self.counts)

    async def take(self, count=3):
        refs = self.services.registry.intern_many(
            [from_mapping({"__name__": "x" if n % 2 else "y", "job": "j", "n": str(n)}) for n in range(count)]
        )
        batch = Batch(refs, np.full(count, 1000, np.int64), np.arange(count, dtype=np.float64))
        assert await self.outlet.take([Logged(batch, LogPosition(1, 1))])


def received(asked):
    body = gzip.decompress(asked.body) if asked.headers.get("content-encoding") == "gzip" else asked.body
    request = ExportMetricsServiceRequest.FromString(body)
    return [
        p.as_double
        for rm in request.resource_metrics
        for sm in rm.scope_metrics
        for m in sm.metrics
        for p in m.gauge.data_points
    ]


OK = (200, [("Content-Type", "application/x-protobuf")], b"")


@pytest.mark.parametrize(("text", "encoding"), [("", "gzip"), ("compression: none", None)])
async def test_points_are_posted(text, encoding):
    """As protobuf, compressed unless switched off, with the options of an HTTP client; selectors choose."""
    async with serving(lambda _: OK) as peer:
        more = "match: ['x'], basic_auth: {username: u, password: p}, http_headers: {X-Key: {secrets: [k]}}"
        s = Scene(peer.address, f"{more}, {text}")
        await s.take(4)
        await s.outlet.flush()
        await s.outlet.flush()
        await s.outlet.aclose()
    (asked,) = peer.asked
    assert (asked.method, asked.target) == ("POST", "/v1/metrics")
    assert asked.headers["content-type"] == "application/x-protobuf"
    assert asked.headers.get("content-encoding") == encoding
    assert (asked.headers["authorization"], asked.headers["x-key"]) == ("Basic dTpw", "k")
    assert received(asked) == [1, 3]
    assert (s.counts.samples, s.counts.sends, s.counts.bytes) == (2, 1, len(asked.body))


async def test_large_takes_are_several_requests():
    """One that was taken is not sent again when the next is refused for now."""
    answers = [OK, (503, [], b""), OK, OK]
    async with serving(lambda _: answers.pop(0)) as peer:
        s = Scene(peer.address, "max_points_per_send: 2")
        await s.take(6)
        with pytest.raises(TryAgain, match="the receiver answered 503 Service Unavailable"):
            await s.outlet.flush()
        await s.outlet.flush()
        await s.outlet.aclose()
    sent = [received(asked) for asked in peer.asked]
    assert len(sent) == 4
    assert sent[1] == sent[2]
    assert sorted(sent[0] + sent[1] + sent[3]) == [0, 1, 2, 3, 4, 5]
    assert s.counts.samples == 6


@pytest.mark.parametrize("status", [429, 502, 503, 504])
@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ([], None),
        ([("Retry-After", "7")], 7),
        ([("Retry-After", "9999999")], 300),
        ([("Retry-After", "soon")], None),
    ],
)
async def test_what_is_tried_again_and_when(status, header, seconds):
    """The receiver says, within bounds."""
    async with serving(lambda _: (status, header, b"")) as peer:
        s = Scene(peer.address)
        await s.take()
        with pytest.raises(TryAgain, match=str(status)) as e:
            await s.outlet.flush()
        await s.outlet.aclose()
    assert e.value.seconds == seconds
    assert s.counts.samples == 0


async def test_a_date_says_when_to_try_again():
    """Seconds from now on."""
    async with serving(lambda _: (429, [("Retry-After", at)], b"")) as peer:
        s = Scene(peer.address)
        at = email.utils.formatdate(s.services.clock.now_ms() / 1000 + 30, usegmt=True)
        await s.take()
        with pytest.raises(TryAgain) as e:
            await s.outlet.flush()
        await s.outlet.aclose()
    assert 5 <= e.value.seconds <= 31  # some of the 30 pass on the way


@pytest.mark.parametrize("status", [301, 400, 401, 404, 413, 500])
async def test_any_other_failure_refuses_for_good(status):
    """It is told, bounded, and counted."""
    async with serving(lambda _: (status, [], b"no\n\x1b" + b"x" * 1000)) as peer:
        s = Scene(peer.address)
        await s.take()
        with structlog.testing.capture_logs() as logged:
            await s.outlet.flush()
        await s.outlet.aclose()
    assert (s.counts.samples, s.counts.refused) == (0, 3)
    (line,) = logged
    assert (line["status"], line["sink"]) == (status, "a")
    assert line["said"] == "no " + "x" * 197


async def test_partial_success_counts_what_was_refused():
    """And tells why."""
    said = ExportMetricsPartialSuccess(rejected_data_points=2, error_message="too old")
    body = ExportMetricsServiceResponse(partial_success=said).SerializeToString()
    async with serving(lambda _: (200, [], body)) as peer:
        s = Scene(peer.address)
        await s.take()
        with structlog.testing.capture_logs() as logged:
            await s.outlet.flush()
        await s.outlet.aclose()
    assert (s.counts.samples, s.counts.refused) == (1, 2)
    assert [(line["points"], line["said"]) for line in logged] == [(2, "too old")]


@pytest.mark.parametrize("body", [b"", b"\x0a", b"\x0a\xff", b"\xff" * 30, b"<html>", b"\x0a\x02\x08\x80", b"\x08\x05"])
def test_an_answer_that_is_none_refuses_nothing(body):
    """Damage is passed over."""
    assert partial_success(body)[0] == 0


async def test_no_answer_is_tried_again():
    """Refused connections, and time that has passed."""

    async def silent(stream):
        await trio.sleep_forever()

    async with listening(silent) as peer:
        s = Scene(peer.address, "timeout: 50ms")
        await s.take()
        with pytest.raises(TryAgain, match=r"no answer within 0\.05 s"):
            await s.outlet.flush()
        await s.outlet.aclose()
    with pytest.raises(TryAgain, match="Connection refused"):
        await s.outlet.flush()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{name: a}", "missing key 'url'"),
        ("{name: '', url: 'http://x'}", "a name has 1 to 60"),
        ("{name: a, url: 'http://x', match: ['{']}", "is not a series selector"),
        ("{name: a, url: 'http://x', start: soon}", "start: now, oldest or an age"),
        ("{name: a, url: 'http://x', compression: zstd}", "expected one of gzip, none"),
        ("{name: a, url: 'http://x', resource_attributes: {'': x}}", "an attribute needs a name"),
        ("{name: a, url: 'http://x', timeout: 0s}", "must be between"),
        ("{name: a, url: 'http://x', no_proxy: x}", "proxy_url must also be configured"),
    ],
)
def test_faults_have_a_message(text, message):
    """Each names what is wrong."""
    with pytest.raises(ConfigError) as e:
        decode_text(OtlpSinkSettings, text, "f.yml")
    assert message in str(e.value)
