"""The cases of prometheus/compliance remotewrite/receiver: what is sent, and what the answer must be.

That suite takes a 400 for nearly everything; here what it calls a success must be a 204 with the exact counts.
"""

from __future__ import annotations

import math

import pytest
from attrs import Factory, frozen
from remote_write_requests import Request, body_1, written
from rwr_agent import far, now_ms

NAN = float("nan")
VALUES = (1.0, 0.0, NAN, math.inf, -math.inf, float(0x7FF0000000000002))
UP = {"__name__": "up"}
JOB = {**UP, "job": "testjob", "instance": "localhost:9090"}
NAMELESS = {"job": "testjob", "instance": "localhost:9090"}


@frozen
class Case:
    """One request: series of (labels, value or arguments of `native`), exemplars and metadata by metric name."""

    series: tuple = ()
    written: tuple = (0, 0, 0)
    exemplars: dict = Factory(dict)
    metadata: dict = Factory(dict)
    start: int = 0
    offset: int = 0
    success: bool = True


def native(series, at, start, positive=True, negative=False, zero=True, custom=False, bad=False, total=1.0):
    """Add a histogram as the suite makes it."""
    h = series.histograms.add(timestamp=at, start_timestamp=start, sum=total)
    count = 0
    if custom:
        h.schema, count = -53, 30
        h.custom_values.extend([0.1, 0.5, 1.0, 2.5, 5.0, 10.0])
        h.positive_spans.add(offset=0, length=6)
        h.positive_deltas.extend([2, 1, 2, 3, -1, -2])
    elif positive:
        count += 23
        h.positive_spans.add(offset=0, length=3)
        h.positive_spans.add(offset=2, length=2)
        h.positive_deltas.extend([1, 2, 1, 3, 1])
    if negative:
        count += 3
        h.negative_spans.add(offset=0, length=2)
        h.negative_deltas.extend([1, 1])
    if zero and not custom:
        count += 1
        h.zero_count_int = 1
    h.count_int = 99 if bad else count


def made(case):
    """Return the body of a case; labels are in the order given, as the suite does not sort them."""
    request, at = Request(), now_ms() + case.offset
    for labels, value in case.series:
        start = at - case.start if case.start else 0
        series = request.series(reversed(labels.items()))
        if isinstance(value, dict):
            native(series, at, start, **value)
        elif value is not None:
            series.samples.add(timestamp=at, value=value, start_timestamp=start)
        name = labels.get("__name__", "")
        if name in case.exemplars:
            refs = [request.number(t) for pair in case.exemplars[name].items() for t in pair]
            series.exemplars.add(timestamp=at, value=0.0 if isinstance(value, dict) else value or 0, labels_refs=refs)
        if name in case.metadata:
            kind, help, unit = case.metadata[name]
            series.metadata.type, series.metadata.help_ref = kind, request.number(help)
            series.metadata.unit_ref = request.number(unit)
    return request.body()


def metrics():
    """Return the cases of floats."""
    for value in VALUES:
        yield Case(((UP, value),), (1, 0, 0))
        yield Case(((JOB, value),), (1, 0, 0))
        yield Case((({**JOB, "job": "test\njob\n"}, value),), (1, 0, 0))
        for sign in (".", " "):
            labels = {"__name__": f"resource{sign}cpu", f"job{sign}name": "testjob", f"instance{sign}name": "x"}
            yield Case(((labels, value),), (1, 0, 0))
        yield Case(((NAMELESS, value),), success=False)
        yield Case((({}, value),), success=False)
        four = [{**JOB, "instance": f"localhost:909{i}"} for i in range(4)]
        yield Case(tuple((labels, value) for labels in four), (4, 0, 0))
        yield Case(tuple(({**NAMELESS, "i": str(i)}, value) for i in range(4)), success=False)
        yield Case(((NAMELESS, value), *((labels, value) for labels in four[1:])), (3, 0, 0), success=False)
    yield Case((({"__name__": "http_requests_total", "job": "api"}, 100.0),), (1, 0, 0), start=3_600_000)


def histograms():
    """Return the cases of native histograms."""
    h = {"__name__": "test_histogram"}
    for labels, shape in (
        (h, {"negative": True}),
        (h, {"custom": True}),
        (h | {"job": "test"}, {}),
        (h | {"instance": "localhost"}, {"positive": False, "negative": True, "zero": False}),
        ({"__name__": "minimal_hist"}, {"positive": False}),
        ({"__name__": "empty_hist"}, {"positive": False, "zero": False, "total": 0.0}),
    ):
        yield Case(((labels, shape),), (0, 1, 0))
        yield Case(((labels, shape),), (0, 1, 0), start=1_800_000)
        name = labels["__name__"]
        yield Case(((labels, shape),), (0, 1, 1), {name: {"trace_id": "7"}}, {name: (3, "Help.", "seconds")})
    yield Case((({"__name__": "minimal_hist"}, {"zero": False, "bad": True}),), success=False)
    yield Case(((h, {}), ({"__name__": "hist2"}, {"negative": True})), (0, 2, 0))
    many = tuple(({"__name__": f"histogram_metric_{i}", "b": str(i)}, {"negative": i % 2 == 0}) for i in range(50))
    names = [labels["__name__"] for labels, _ in many]
    yield Case(many, (0, 50, 50), {n: {"t": n} for n in names}, {n: (3, f"Help {n}", "seconds") for n in names})


def exemplars():
    """Return the cases of exemplars."""
    metric = {"__name__": "http_requests_total", "job": "api"}
    for labels in (
        {"trace_id": "abc123def456"},
        {"trace_id": "xyz789", "span_id": "span123"},
        {"user_id": "user123"},
        {"trace_id": "trace456", "user": "admin", "endpoint": "/login"},
        {},
        {"trace_id": "unicode_trace_测试"},
    ):
        yield Case(((metric | {"region": "🌍"}, 1.0),), (1, 0, 1), {"http_requests_total": labels})
    for value in (0.0, -123.456, 1e10, 1e-10, NAN, math.inf, -math.inf):
        yield Case(((metric, value),), (1, 0, 1), {"http_requests_total": {"trace_id": "x"}})
    for offset in (-3_600_000, -60_000, 0):
        yield Case((({"__name__": "latency_hist"}, 0.1),), (1, 0, 1), {"latency_hist": {"t": "x"}}, offset=offset)
    for labels in ({"job": "test"}, {"__name__": ""}):
        yield Case(((labels, 1.0),), exemplars={"": {"trace_id": "x"}}, success=False)
    yield Case((({"__name__": "orphan"}, None),), (0, 0, 1), {"orphan": {"trace_id": "x"}})


def metadata():
    """Return the cases of metadata."""
    for kind in range(8):
        value = {} if kind == 3 else 1.0
        for help, unit in (("Total number", "requests"), ("", ""), ('new\nlines and "quotes", äöü', "bytes/sec")):
            found = (0, 1, 0) if kind == 3 else (1, 0, 0)
            yield Case((({"__name__": f"m{kind}"}, value),), found, metadata={f"m{kind}": (kind, help, unit)})
    for labels in ({"job": "test"}, {"__name__": ""}):
        yield Case(((labels, 1.0),), metadata={"": (2, "Test help", "unit")}, success=False)
    yield Case((({"__name__": "orphan"}, None),), metadata={"orphan": (1, "Help.", "count")}, success=False)
    many = tuple(({"__name__": f"counter_metric_{i}", "series": f"series_{i}"}, 100.0 * i) for i in range(50))
    names = [labels["__name__"] for labels, _ in many]
    yield Case(many, (50, 0, 50), {n: {"t": n} for n in names}, {n: (1, f"Help {n}", "count") for n in names})


@pytest.mark.parametrize("cases", [metrics, histograms, exemplars, metadata])
async def test_the_cases_of_the_suite(tmp_path, cases):
    """Each is sent twice, as the suite does, to one receiver that keeps what came before."""
    async with far(tmp_path) as receiver:
        for case in cases():
            for _ in range(2):
                begun = now_ms()
                while now_ms() == begun:
                    pass  # the suite leaves some time between its requests, so that no time repeats
                answer = await receiver.send(made(case))
                assert answer.status_code == (204 if case.success else 400), (case, answer.text)
                assert written(answer) == case.written, case
                if not case.success:
                    assert answer.text.strip(), "a human-readable reason"


async def test_the_cases_of_broken_requests(tmp_path):
    """Bodies whose first byte is another one, and kinds of content that nobody takes."""
    body = made(Case(((UP, 1.0),)))
    async with far(tmp_path) as receiver:
        for kind in ("application/json", "image/png"):
            assert (await receiver.send(b"0" + body[1:], content_type=kind)).status_code == 415
        for encoding in ("gzip", "deflate"):
            assert (await receiver.send(b"0" + body[1:], content_encoding=encoding)).status_code == 415
        assert (await receiver.send(b"0" + body[1:])).status_code == 400
        one = body_1((list(reversed(JOB.items())), [(now_ms(), 1.0)]), (UP.items(), [(now_ms(), 100.0)]))
        assert (await receiver.send_1(one)).status_code == 204
        assert (await receiver.send_1(b"\xff" + one[1:])).status_code == 400
