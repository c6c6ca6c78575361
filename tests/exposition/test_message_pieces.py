"""Large messages are cut into pieces that mean the same together."""

from __future__ import annotations

import tracemalloc

import cramjam
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from otlp_bodies import START_NS, Body

from tinyobs.errors import LimitExceeded, WireError
from tinyobs.exposition.message_pieces import Level, cut_message
from tinyobs.exposition.otlp.pieces import request_pieces
from tinyobs.exposition.otlp.schema import Request
from tinyobs.exposition.remote_write import decode_message, decode_pieces
from tinyobs.exposition.remote_write_schema import WriteRequest
from tinyobs.model.registry import SeriesRegistry

NOW = 1_790_000_000_000
FLAT = Level({0x0A: None})


def points(request):
    """Return (what stands around a point, the point) of an OTLP request, in order."""
    found = []
    for resource in request.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                kind = next(k for k in ("gauge", "sum", "histogram") if metric.HasField(k))
                data = getattr(metric, kind)
                more = (data.aggregation_temporality, data.is_monotonic) if kind == "sum" else ()
                around = (resource.resource.SerializeToString(), scope.scope.name, metric.name, kind, *more)
                found += [(around, p.SerializeToString()) for p in data.data_points]
    return found


def otlp_request(resources=3, metrics=4, values=50):
    """An OTLP request of some size."""
    whole = Request()
    for r in range(resources):
        body = Body(scope=f"scope {r}", service__name=f"service {r}")
        for m in range(metrics):
            body.gauge(f"gauge_{m}", *range(values), at_ns=START_NS + m, host=f"h{r}")
            body.sum(f"sum_{m}", *range(values // 10), monotonic=bool(m % 2))
        whole.resource_metrics.extend(body.request.resource_metrics)
    return whole


@pytest.mark.parametrize("bytes_max", [300, 1000, 5000, 1 << 20])
def test_otlp_has_the_same_points_with_the_same_around_them(bytes_max):
    """Cut at any level: between resources, metrics, or points."""
    whole = otlp_request()
    body = whole.SerializeToString()
    pieces = list(request_pieces(body, bytes_max))
    assert max(map(len, pieces)) <= bytes_max + 100
    assert len(pieces) >= len(body) // bytes_max
    assert [p for piece in pieces for p in points(Request.FromString(piece))] == points(whole)


def test_what_stands_behind_a_list_goes_with_every_piece():
    """Fields may come in any order; those that are not known, and of any kind, are kept."""
    elements = b"".join(b"\x0a\x02%02d" % i for i in range(10))
    around = b"\x10\x96\x01" + b"\x1d\x01\x02\x03\x04" + b"\x21\x01\x02\x03\x04\x05\x06\x07\x08" + b"\xa2\x06\x01x"
    pieces = list(cut_message(elements[:20] + around + elements[20:], FLAT, 50))
    assert all(piece.startswith(around) for piece in pieces)
    assert b"".join(piece[len(around) :] for piece in pieces) == elements
    assert len(pieces) == 2


def test_an_element_that_cannot_be_cut_is_a_piece_of_its_own():
    """However large it is."""
    small, large = b"\x0a\x01a", b"\x0a\x64" + bytes(100)
    assert list(cut_message(small + large + small, FLAT, 50)) == [small, large, small]


@pytest.mark.parametrize(
    ("message", "offset"),
    [
        (b"\x0a\x01a" * 20 + b"\x0a\x05a", 60),
        (b"\x0a\x01a" * 20 + b"\x0a", 60),
        (b"\x0a\x01a" * 20 + b"\x0b\x01", 60),
        (b"\x0a\x01a" * 20 + b"\x0d\x01", 60),
        (b"\x0a\x01a" * 20 + b"\x0a" + b"\xff" * 12, 60),
    ],
)
def test_damage_is_told_with_its_place(message, offset):
    """Cut short, of a kind that there is not, and with a length that has no end."""
    with pytest.raises(WireError) as caught:
        list(cut_message(message, FLAT, 50))
    assert caught.value.offset == offset


def test_too_much_around_a_list():
    """It would have to go with every piece."""
    with pytest.raises(LimitExceeded, match="go with each"):
        list(cut_message(b"\x12\x7f" + bytes(127) + b"\x0a\x01a" * 20, FLAT, 100))


def rows(pieces, registry):
    """Return (labels, time, value) of decoded requests."""
    found = []
    for decoded in pieces:
        b = decoded.batch
        found += [
            (registry.labels(r), t, v)
            for r, t, v in zip(b.refs.tolist(), b.timestamps_ms.tolist(), b.values.tolist(), strict=True)
        ]
    return found


def write_request(series, samples=1):
    """A request of remote write."""
    request = WriteRequest()
    for i in range(series):
        one = request.timeseries.add()
        one.labels.add(name=b"__name__", value=b"m")
        one.labels.add(name=b"series", value=b"%d" % i)
        for k in range(samples):
            one.samples.add(timestamp=NOW + k, value=float(i + k))
    return request.SerializeToString()


@pytest.mark.parametrize(("series", "samples"), [(500, 1), (30, 40), (1, 3000)])
@pytest.mark.parametrize("bytes_max", [1000, 7000, 1 << 20])
def test_remote_write_has_the_same_samples(series, samples, bytes_max):
    """Where series are found at once, and where they are not, or have to be cut."""
    message = write_request(series, samples)
    body = bytes(cramjam.snappy.compress_raw(message))
    one, other = SeriesRegistry(), SeriesRegistry()
    pieces = list(decode_pieces(body, one, bytes_max))
    assert (len(pieces) > 1) == (len(message) > bytes_max)
    assert rows(pieces, one) == rows([decode_message(message, other)], other)


def test_nothing_of_remote_write_that_is_damaged_is_used():
    """The place is that in the request."""
    message = write_request(200) + b"\x0a\x7fx"
    with pytest.raises(WireError) as caught:
        next(decode_pieces(bytes(cramjam.snappy.compress_raw(message)), SeriesRegistry(), 2000))
    assert caught.value.offset == len(message) - 3


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.binary(max_size=300), st.integers(1, 80))
def test_any_bytes(message, bytes_max):
    """A piece, or an error that says what is wrong."""
    try:
        pieces = list(cut_message(message, Level({0x0A: Level({0x12: None}), 0x12: None}), bytes_max))
    except (WireError, LimitExceeded):
        return
    assert pieces
    if len(message) <= bytes_max:
        assert pieces == [message]


def test_it_can_be_ended_before_there_is_a_piece():
    """A check comes every 128 KiB, in the pass that finds what goes with every piece as well."""
    asked = []
    message = b"\x0a\x00" * 500_000
    pieces = cut_message(message, FLAT, 400_000, lambda: asked.append(1))
    next(pieces)
    assert len(asked) == 7 + 3, "of the whole, and again up to the first piece"
    assert len([*pieces]) == 2
    assert len(asked) == 14

    def end():
        raise KeyError

    with pytest.raises(KeyError):
        next(cut_message(message, FLAT, 400_000, end))


def test_cutting_needs_no_memory_but_for_a_piece():
    """However many elements of two bytes there are."""
    message = b"\x0a\x00" * 500_000
    tracemalloc.start()
    try:
        total = sum(len(piece) for piece in cut_message(message, FLAT, 10_000))
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()
    assert total == len(message)
