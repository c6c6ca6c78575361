"""The rules of remote write 1.0 for receivers (prometheus.io/docs/specs/prw/remote_write_spec), each with its test."""

from __future__ import annotations

import cramjam
import pytest
from remote_write_requests import body_1, packed, written
from rwr_agent import QUIET, far, now_ms

from tinyobs.exposition.remote_write_schema import WriteRequest
from tinyobs.model.staleness import STALE_NAN


def one(name="up", value=1.0, **labels):
    """Return a body with one sample of now."""
    return body_1((sorted({"__name__": name, **labels}.items()), [(now_ms(), value)]))


async def test_success_is_2xx_with_an_empty_body(tmp_path):
    """Receivers MUST respond 2xx when the write is successful; the body SHOULD be empty; counts are for 2.0 only."""
    async with far(tmp_path) as receiver:
        answer = await receiver.send_1(one())
        assert (answer.status_code, answer.content, written(answer)) == (204, b"", None)


async def test_headers_may_be_missing(tmp_path):
    """Old clients send neither content type nor encoding, as Prometheus takes them."""
    async with far(tmp_path) as receiver:
        answer = await receiver.client.post("/api/v1/write", content=one())
        assert answer.status_code == 204
        assert len(await receiver.values("up")) == 1


async def test_other_versions_are_readable(tmp_path):
    """Any 1.x receiver MUST be able to read any 1.x sender: fields may be added."""
    raw = bytes(cramjam.snappy.decompress_raw(one()))
    async with far(tmp_path) as receiver:
        answer = await receiver.send_1(packed(raw + b"\xa2\x06\x03new"), x_prometheus_remote_write_version="1.7.0")
        assert answer.status_code == 204
        assert len(await receiver.values("up")) == 1


async def test_only_the_block_format_is_taken(tmp_path):
    """The body MUST be compressed with snappy in blocks; else it is 400."""
    raw = bytes(cramjam.snappy.decompress_raw(one()))
    async with far(tmp_path) as receiver:
        for body in (raw, bytes(cramjam.snappy.compress(raw)), b""):
            assert (await receiver.send_1(body)).status_code == 400


async def test_timestamps_and_values(tmp_path):
    """Milliseconds since 1970 as int64 and float64, several samples of a series in order of time."""
    at = now_ms()
    async with far(tmp_path) as receiver:
        samples = [(at + i, i / 8) for i in range(5)]
        assert (await receiver.send_1(body_1(([("__name__", "a")], samples)))).status_code == 204
        assert (await receiver.values("a"))[""] == [((at + i) / 1000, f"{i / 8:g}") for i in range(5)]


@pytest.mark.parametrize(
    "pairs",
    [
        [("job", "x")],
        [("__name__", "a"), ("b", "1"), ("b", "2")],
        [("__name__", "a"), ("", "1")],
        [],
    ],
)
async def test_invalid_samples_are_400_and_valid_ones_stay(tmp_path, pairs):
    """Receivers MUST return 400 for requests with any invalid sample; they MAY ingest the valid ones, and say why."""
    async with far(tmp_path) as receiver:
        body = body_1((pairs, [(now_ms(), 1.0)]), ([("__name__", "good")], [(now_ms(), 1.0)]))
        answer = await receiver.send_1(body)
        assert (answer.status_code, bool(answer.text.strip())) == (400, True)
        assert len(await receiver.values('{__name__=~".+"}')) == 1


async def test_unsorted_and_empty_labels_are_put_right(tmp_path):
    """Names MUST be sorted and values not empty; what is not so is the series that it would be."""
    async with far(tmp_path) as receiver:
        for pairs in ([("z", "1"), ("__name__", "a")], [("__name__", "a"), ("gone", ""), ("z", "1")]):
            assert (await receiver.send_1(body_1((pairs, [(now_ms(), 1.0)])))).status_code == 204
        assert set(await receiver.values("a")) == {"z=1"}


async def test_what_comes_too_late_is_400(tmp_path):
    """Requests that will never be able to succeed MUST be 4xx."""
    async with far(tmp_path, QUIET + "storage: {tsdb: {out_of_order_time_window: 0s}}\n") as receiver:
        await receiver.send_1(one())
        body = body_1(([("__name__", "up")], [(now_ms() - 60_000, 2.0)]))
        answer = await receiver.send_1(body)
        assert (answer.status_code, "out of order sample" in answer.text) == (400, True)
        answer = await receiver.send_1(body_1(([("__name__", "up")], [(now_ms() + 3_600_000, 2.0)])))
        assert (answer.status_code, "out of bounds" in answer.text) == (400, True)


async def test_exemplars_out_of_order_fail_nothing(tmp_path):
    """Version 1.0 has no place for exemplars that were not stored: the request is a success, as with Prometheus."""
    message = WriteRequest()
    for time in (now_ms(), now_ms() - 50_000):
        series = message.timeseries.add()
        series.labels.add(name=b"__name__", value=b"a")
        series.samples.add(timestamp=now_ms(), value=1.0)
        series.exemplars.add(timestamp=time, value=1.0)
        series.exemplars[0].labels.add(name=b"t", value=b"1")
    async with far(tmp_path) as receiver:
        for series in message.timeseries:
            body = packed(WriteRequest(timeseries=[series]).SerializeToString())
            assert (await receiver.send_1(body)).status_code == 204


async def test_stale_markers(tmp_path):
    """A stale marker is the NaN 0x7ff0000000000002: from then on the series is gone."""
    async with far(tmp_path) as receiver:
        await receiver.send_1(one(value=3.0))
        assert len((await receiver.get("query", query="up"))["result"]) == 1
        at = now_ms() + 1
        await receiver.send_1(body_1(([("__name__", "up")], [(at, STALE_NAN)])))
        assert (await receiver.get("query", query="up", time=at / 1000 + 0.001))["result"] == []


async def test_labels_added_by_the_url(tmp_path):
    """`extra_label` puts labels on all series of a request, as VictoriaMetrics does; they replace those of the same name."""
    async with far(tmp_path) as receiver:
        for _ in range(2):
            for path in ("/api/v1/write?extra_label=site=a&extra_label=job=b", "/api/v1/write?extra_label=site=c"):
                answer = await receiver.client.post(path, content=one(job="x"))
                assert answer.status_code == 204
        assert set(await receiver.values("up")) == {"job=b,site=a", "job=x,site=c"}
        assert (await receiver.client.post("/api/v1/write?extra_label=x", content=one())).status_code == 400
