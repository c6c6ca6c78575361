"""The rules of remote write 2.0 for receivers (prometheus.io/docs/specs/prw/remote_write_spec_2_0), each with its test."""

from __future__ import annotations

import math
import struct

import cramjam
import pytest
from remote_write_requests import V1, V2, Request, body_1, headers, histogram, packed, written
from rwr_agent import QUIET, far, now_ms

from tinyobs.errors import DiskFullError, StorageError, Unavailable
from tinyobs.model.staleness import STALE_NAN

UP = {"__name__": "up", "job": "x"}


def request(*series, **labels):
    """Return a body with one sample now for each label set, or for one."""
    made = Request()
    for one in series or [UP | labels]:
        made.series(sorted(one.items()), (now_ms(), 1.0))
    return made.body()


async def test_both_messages_are_accepted_at_one_path(tmp_path):
    """Receivers MUST support `io.prometheus.write.v2.Request`, and use the content type to tell it from 1.0."""
    async with far(tmp_path) as receiver:
        assert (await receiver.send(request())).status_code == 204
        body = body_1(([("__name__", "one")], [(now_ms(), 2.0)]))
        for message in ("application/x-protobuf", f"application/x-protobuf;proto={V1}"):
            assert (await receiver.send(body, content_type=message)).status_code == 204
        spaced = f'Application/X-Protobuf ; proto="{V2}"'
        assert written(await receiver.send(request(job="y"), content_type=spaced)) == (1, 0, 0)
        assert set(await receiver.values("up")) == {"job=x", "job=y"}


@pytest.mark.parametrize("accepted", [(V1,), (V2,)])
async def test_only_accepted_messages_are_taken(tmp_path, accepted):
    """`--web.remote-write-receiver.accepted-protobuf-messages` names them; another is 415."""
    bodies = {V1: body_1(([("__name__", "one")], [(now_ms(), 2.0)])), V2: request()}
    async with far(tmp_path, remote_write_messages=accepted) as receiver:
        for message, body in bodies.items():
            answer = await receiver.send(body, message)
            assert answer.status_code == (204 if message in accepted else 415)
            if message not in accepted:
                want = f"{message} protobuf message is not accepted by this server; only accepts {accepted[0]}\n"
                assert answer.text == want


@pytest.mark.parametrize(
    ("kind", "encoding", "text"),
    [
        ("application/json", "snappy", "expected application/x-protobuf as the first (media) part"),
        ("image/png", "snappy", "got image/png content-type"),
        (
            "application/x-protobuf;proto=a.B",
            "snappy",
            f"unknown remote write protobuf message a.B, supported: {V1}, {V2}",
        ),
        ("application/x-protobuf;proto", "snappy", "expected parameters to be key-values"),
        (f"application/x-protobuf;a=b=c;proto={V2}", "snappy", "expected parameters to be key-values, got a=b=c"),
        (f"application/x-protobuf;proto={V2}", "gzip", "gzip encoding (compression) is not accepted"),
        (f"application/x-protobuf;proto={V2}", "zstd", "only snappy is acceptable"),
    ],
)
async def test_unsupported_content_is_415(tmp_path, kind, encoding, text):
    """Receivers MUST return 415 for a content type or encoding that they do not support."""
    async with far(tmp_path) as receiver:
        answer = await receiver.send(b"0", content_type=kind, content_encoding=encoding)
        assert (answer.status_code, text in answer.text) == (415, True), answer.text
        assert written(answer) is None


async def test_snappy_is_assumed_and_its_frames_are_not_taken(tmp_path):
    """Receivers MUST support snappy, in blocks; the framed format MUST NOT be used."""
    async with far(tmp_path) as receiver:
        for encoding in ("Snappy", ""):
            assert (await receiver.send(request(e=encoding), content_encoding=encoding)).status_code == 204
        framed = bytes(cramjam.snappy.compress(bytes(cramjam.snappy.decompress_raw(request()))))
        answer = await receiver.send(framed)
        assert (answer.status_code, written(answer)) == (400, (0, 0, 0))


async def test_success_is_204_without_a_body(tmp_path):
    """The body SHOULD be empty and the status SHOULD be 204; the version header decides nothing."""
    async with far(tmp_path) as receiver:
        for version in ("2.0.0", "2.1.0", "0.1.0", "nonsense"):
            answer = await receiver.send(request(v=version), x_prometheus_remote_write_version=version)
            assert (answer.status_code, answer.content) == (204, b"")
        for path in ("/api/v1/write", "/api/v1/push"):
            assert (await receiver.send(request(p=path[-4:]), path=path)).status_code == 204


async def test_written_headers_count_each_kind(tmp_path):
    """Receivers MUST send the precise number of written samples, histograms and exemplars."""
    made = Request()
    series = made.series([("__name__", "a")], (now_ms(), 1.0), (now_ms() + 1, 2.0))
    for i in range(3):
        series.exemplars.add(timestamp=now_ms() + i // 2, value=-i)
    series = made.series([("__name__", "h")])
    for i in range(3):
        histogram(series, now_ms() + i)
    async with far(tmp_path) as receiver:
        assert written(await receiver.send(made.body())) == (2, 3, 3)
        again = await receiver.send(made.body())
        assert (again.status_code, written(again)) == (204, (2, 3, 3)), "to send again what is stored is no error"
        assert written(await receiver.send(Request().body())) == (0, 0, 0)


async def test_partial_writes_store_what_is_good(tmp_path):
    """Valid samples MAY be written beside invalid ones; the answer MUST be 400, with counts and reasons."""
    made = Request()
    made.series([("__name__", "good")], (now_ms(), 1.0))
    made.series([("job", "no name")], (now_ms(), 1.0))
    made.series([("__name__", "future")], (now_ms() + 86_400_000, 1.0))
    bad = made.series([("__name__", "h"), ("a", "1")])
    histogram(bad, now_ms()).count_int = 99
    histogram(made.series([("__name__", "h"), ("a", "2")]), now_ms())
    async with far(tmp_path) as receiver:
        answer = await receiver.send(made.body())
        assert (answer.status_code, written(answer)) == (400, (1, 1, 0))
        for text in ("no metric name", "out of bounds (1 in this request)", "invalid native histogram"):
            assert text in answer.text
        assert set(await receiver.values('{__name__=~".+"}')) == {"", "a=2"}
        assert await receiver.counted("tinyobs_receivers_refused_total") == 3


async def test_old_samples_are_refused_by_kind(tmp_path):
    """What can never be stored is 400: another value for a time, too old, too far ahead; counted without the others."""
    config = QUIET + "storage: {tsdb: {out_of_order_time_window: 0s}}\n"
    async with far(tmp_path, config) as receiver:
        at = now_ms()

        async def send(time, value, hist=False):
            made = Request()
            series = made.series([("__name__", "a")])
            if hist:
                histogram(series, time)
            else:
                series.samples.add(timestamp=time, value=value)
            histogram(made.series([("__name__", "b")]), now_ms())
            return await receiver.send(made.body())

        assert written(await send(at, 1.0)) == (1, 1, 0)
        for time, value, hist, text in (
            (at, 2.0, False, "duplicate sample for timestamp"),
            (at - 1000, 2.0, False, "out of order sample"),
            (at - 1000, 2.0, True, "out of order sample"),
            (at + 3_600_000, 2.0, False, "out of bounds"),
        ):
            answer = await send(time, value, hist)
            assert (answer.status_code, written(answer)) == (400, (0, 1, 0))
            assert text in answer.text


async def test_bad_exemplars_are_told_of(tmp_path):
    """A 2xx MUST NOT be returned when any exemplar was not written; the samples stay."""
    async with far(tmp_path) as receiver:
        made = Request()
        series = made.series([("__name__", "a")], (now_ms(), 1.0))
        series.exemplars.add(timestamp=now_ms(), value=1.0)
        assert written(await receiver.send(made.body())) == (1, 0, 1)
        for time, refs, text in (
            (now_ms() - 50_000, [], "out of order exemplar (1 in this request)"),
            (now_ms(), [1, 999], "outside of symbols table"),
            (now_ms(), [made.number("t"), made.number("v" * 200)], "labels that cannot be stored"),
        ):
            series.samples[0].timestamp = now_ms() + 1
            del series.exemplars[:]
            series.exemplars.add(timestamp=time, value=2.0, labels_refs=refs)
            answer = await receiver.send(made.body())
            assert (answer.status_code, written(answer)) == (400, (1, 0, 0))
            assert text in answer.text


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"0" * 30,
        packed(b"\x2a\xff\xff\xff\xff\x0f"),
        packed(b"\xff" * 50),
        Request("cut").body()[:-3],
        packed(b"\x22\x01a"),
    ],
    ids=["empty", "no block", "endless length", "endless number", "cut", "first symbol"],
)
async def test_malformed_bodies_are_400(tmp_path, body):
    """What will never succeed MUST be 4xx; nothing was written, and the answer says so."""
    async with far(tmp_path) as receiver:
        answer = await receiver.send(body)
        assert (answer.status_code, written(answer)) == (400, (0, 0, 0))
        assert answer.text.strip()
        assert (
            await receiver.counted('tinyobs_receivers_refused_total{protocol="remote_write",reason="malformed"}') == 1
        )


async def test_too_large_is_413(tmp_path):
    """As sent, and when unpacked: before any memory is taken."""
    config = (
        "tinyobs: {self_metrics: {enabled: false}, web: {body_size_max: 4KiB}, receivers: {decoded_size_max: 4KiB}}"
    )
    async with far(tmp_path, config) as receiver:
        for body in (bytes(5000), packed(bytes(5000))):
            answer = await receiver.send(body)
            assert (answer.status_code, written(answer)) == (413, (0, 0, 0))


async def test_rates_are_429_with_retry_after(tmp_path):
    """Receivers MAY return 429, and say when to try again."""
    config = "tinyobs: {self_metrics: {enabled: false}, limits: {rates: {requests_per_second: 0.01, burst: 0s}}}"
    async with far(tmp_path, config) as receiver:
        assert (await receiver.send(request())).status_code == 204
        answer = await receiver.send(request())
        assert (answer.status_code, written(answer)) == (429, (0, 0, 0))
        assert int(answer.headers["retry-after"]) > 50


@pytest.mark.parametrize(
    ("error", "status"), [(Unavailable("full"), 503), (DiskFullError("none left"), 507), (StorageError("broken"), 503)]
)
async def test_what_may_succeed_later_is_5xx(tmp_path, monkeypatch, error, status):
    """Internal errors are 5xx: the sender retries all of it, and nothing was written."""
    async with far(tmp_path) as receiver:

        async def fails(*_, **__):
            raise error

        monkeypatch.setattr("tinyobs.runtime.agent.Agent.append_from", fails)
        answer = await receiver.send(request())
        assert (answer.status_code, written(answer)) == (status, (0, 0, 0))
        assert answer.headers["retry-after"] == "5"


async def test_unknown_fields_are_passed_over(tmp_path):
    """Later minor versions MAY add optional fields: any 2.x receiver MUST be able to read any 2.x sender."""
    raw = bytes(cramjam.snappy.decompress_raw(request()))
    async with far(tmp_path) as receiver:
        assert written(await receiver.send(packed(b"\xa2\x06\x03new" + raw + b"\xa8\x06\x01"))) == (1, 0, 0)


async def test_the_wrong_message_is_empty(tmp_path):
    """A 2.0 message that is sent as 1.0 has no series: its fields have other numbers."""
    async with far(tmp_path) as receiver:
        answer = await receiver.send(request(), V1)
        assert (answer.status_code, written(answer)) == (204, None)
        assert await receiver.values("up") == {}


async def test_labels_need_names_that_differ(tmp_path):
    """Labels MUST NOT repeat a name, nor have empty names; any UTF-8 is a name; empty values are left out."""
    made = Request()
    for pairs in (
        [("__name__", "a"), ("b", "1"), ("b", "2")],
        [("__name__", "a"), ("", "1")],
        [],
        [("__name__", "dotted.name"), ("ключ", "é ü\n")],
        [("z", "1"), ("__name__", "unsorted"), ("empty", "")],
    ):
        made.series(pairs, (now_ms(), 1.0))
    async with far(tmp_path) as receiver:
        answer = await receiver.send(made.body())
        assert (answer.status_code, written(answer)) == (400, (2, 0, 0))
        found = await receiver.values('{__name__=~".+"}')
        assert set(found) == {"ключ=é ü\n", "z=1"}


async def test_references_must_exist(tmp_path):
    """References MUST point into the table of symbols, in pairs; the other series of the request stay."""
    made = Request()
    made.series([("__name__", "a")], (now_ms(), 1.0))
    for refs in ([1, 99], [1], [1, 2, 1]):
        made.series([], (now_ms(), 1.0), refs=refs)
    async with far(tmp_path) as receiver:
        answer = await receiver.send(made.body())
        assert (answer.status_code, written(answer)) == (400, (1, 0, 0))
        assert answer.text.count("parsing labels for series") == 3
        del made.message.symbols[:]
        answer = await receiver.send(made.body())
        assert (answer.status_code, written(answer)) == (400, (0, 0, 0))
        assert "outside of symbols table (size 0)" in answer.text


async def test_a_series_must_have_samples(tmp_path):
    """At least one sample or histogram MUST be provided for each series; exemplars alone are taken, as 3.5 sends them."""
    made = Request()
    made.series([("__name__", "a")]).exemplars.add(timestamp=now_ms(), value=1.0)
    async with far(tmp_path) as receiver:
        answer = await receiver.send(made.body())
        assert (answer.status_code, written(answer)) == (204, (0, 0, 1))
        made.series([("__name__", "b")]).metadata.type = 1
        answer = await receiver.send(made.body())
        assert (answer.status_code, written(answer)) == (400, (0, 0, 1))
        assert "must contain at least one sample or histogram" in answer.text


async def test_one_series_may_come_several_times(tmp_path):
    """The same labels MAY stand in several series of a request, for floats and histograms for example."""
    at = now_ms()
    made = Request()
    made.series([("__name__", "a")], (at, 1.0))
    histogram(made.series([("__name__", "a")]), at + 1)
    made.series([("__name__", "a")], (at + 2, 3.0))
    async with far(tmp_path) as receiver:
        assert written(await receiver.send(made.body())) == (2, 1, 0)
        found = await receiver.get("query", query="a[1h]", time=at / 1000 + 10)
        (series,) = found["result"]
        assert (len(series["values"]), len(series["histograms"])) == (2, 1)


async def test_values_of_every_kind(tmp_path):
    """Values MUST be float64, with stale markers as the NaN 0x7ff0000000000002, which hides the series."""
    at = now_ms()
    async with far(tmp_path) as receiver:
        made = Request()
        for i, value in enumerate([0.0, -0.0, 1e308, math.inf, -math.inf, math.nan, float("5e-324")]):
            made.series([("__name__", "a"), ("i", str(i))], (at, value))
        assert written(await receiver.send(made.body())) == (7, 0, 0)
        found = await receiver.values("a")
        assert [v[0][1] for v in found.values()] == ["0", "-0", "1e+308", "+Inf", "-Inf", "NaN", "5e-324"]
        assert struct.pack("<d", STALE_NAN) == b"\x02\x00\x00\x00\x00\x00\xf0\x7f"
        made = Request()
        made.series([("__name__", "a"), ("i", "0")], (at + 1, STALE_NAN))
        await receiver.send(made.body())
        now = await receiver.get("query", query='a{i="0"}', time=(at + 2) / 1000)
        assert now["result"] == []


async def test_metadata_and_exemplars_are_found_again(tmp_path):
    """What a series says of its metric, and its exemplars, are there for the API."""
    made, at = Request("Requests.", "bytes"), now_ms()
    series = made.series([("__name__", "size_total")], (at, 1.0))
    series.metadata.type, series.metadata.help_ref, series.metadata.unit_ref = 1, 1, 2
    refs = [made.number(t) for t in ("trace_id", "7f")]
    series.exemplars.add(timestamp=at, value=0.5, labels_refs=refs)
    async with far(tmp_path) as receiver:
        assert written(await receiver.send(made.body())) == (1, 0, 1)
        found = await receiver.get("metadata")
        assert found["size_total"] == [{"type": "counter", "help": "Requests.", "unit": "bytes"}]
        (one,) = await receiver.get("query_exemplars", query="size_total", start=at / 1000 - 9, end=at / 1000 + 9)
        assert one["exemplars"][0]["labels"] == {"trace_id": "7f"}


async def test_the_guard_and_the_switch(tmp_path):
    """Without the flag it is 404; a page of another site in a browser may not send."""
    async with far(tmp_path, remote_write_receiver=False) as receiver:
        answer = await receiver.send(request())
        assert answer.status_code == 404
        assert answer.text == "remote write receiver needs to be enabled with --web.enable-remote-write-receiver\n"
    (tmp_path / "2").mkdir()
    async with far(tmp_path / "2") as receiver:
        assert (await receiver.send(request(), sec_fetch_site="cross-site")).status_code == 403
        options = await receiver.client.request("OPTIONS", "/api/v1/push", headers=headers())
        assert options.status_code < 300


async def test_a_large_request_is_taken_in_pieces_whose_counts_are_told(tmp_path):
    """Beyond what the budget lets be decoded as one; damage in a later piece leaves the earlier ones stored, and counted."""
    config = "tinyobs: {self_metrics: {enabled: false}, web: {bodies_size_max: 4MiB}}"
    made, count, now = Request(), 5000, now_ms()
    for i in range(count):
        made.series([("__name__", "many"), ("i", str(i))], (now, float(i)))
    refused = made.series([], (now, 1.0), refs=[made.number("__name__"), 1 << 20])
    damaged = made.bytes().replace(refused.SerializeToString(), b"\x12" + refused.SerializeToString()[1:])
    async with far(tmp_path, config) as receiver:
        answer = await receiver.send(packed(damaged))
        assert answer.status_code == 400
        assert "malformed series 5000" in answer.text
        stored = written(answer)[0]
        assert 0 < stored < count
        assert len(await receiver.values("many")) == stored
        answer = await receiver.send(made.body())
        assert (answer.status_code, written(answer)) == (400, (count, 0, 0)), answer.text
        assert "outside of symbols table" in answer.text
        assert len(await receiver.values("many")) == count
