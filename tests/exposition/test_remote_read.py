"""Remote read: requests as they are read, answers as a client reads them."""

from __future__ import annotations

import contextlib
import struct

import attrs
import cramjam
import numpy as np
import pytest
from chunk_reader import read_histograms, read_xor
from hypothesis import given
from hypothesis import strategies as st

from tinyobs.errors import LimitExceeded, TinyObsError, WireError
from tinyobs.exposition.crc32c import crc32c
from tinyobs.exposition.protobuf_schema import message_classes
from tinyobs.exposition.remote_read import (
    MATCHERS_MAX,
    QUERIES_MAX,
    MatcherError,
    ReadQuery,
    ReadRequestMessage,
    ResponseType,
    decode,
    encode_frames,
    encode_request,
    encode_result,
    merged,
    without_external,
)
from tinyobs.exposition.remote_write import WriteLimits
from tinyobs.exposition.remote_write_histograms import histogram_of
from tinyobs.exposition.remote_write_schema import TimeSeries
from tinyobs.model.columns import SeriesColumns
from tinyobs.model.histograms import Histogram, handles, histograms_of, stale_histogram
from tinyobs.model.label_block import read_varint
from tinyobs.model.labels import from_mapping
from tinyobs.model.matchers import Matcher, MatchType
from tinyobs.model.staleness import STALE_NAN, is_stale_value

_CHUNKED = message_classes(
    "tinyobs.test_remote_read",
    {
        "Label": [(1, "name", "string"), (2, "value", "string")],
        "Chunk": [(1, "min_time_ms", "int64"), (2, "max_time_ms", "int64"), (3, "type", "int32"), (4, "data", "bytes")],
        "ChunkedSeries": [(1, "labels", "*Label"), (2, "chunks", "*Chunk")],
        "ChunkedReadResponse": [(1, "chunked_series", "*ChunkedSeries"), (2, "query_index", "int64")],
        "QueryResult": [(1, "timeseries", "*bytes")],
        "ReadResponse": [(1, "results", "*QueryResult")],
    },
)
T0 = 1_700_000_000_000
MATCHER = Matcher(MatchType.EQUAL, "a", "b")


def body_of(*queries: ReadQuery, accepted: tuple[int, ...] = ()) -> bytes:
    """Return the compressed body of a request."""
    return bytes(cramjam.snappy.compress_raw(encode_request(queries, accepted)))


def columns_of(*series: tuple[dict[str, str], list[tuple[int, float | Histogram]]]) -> SeriesColumns:
    """Return columns of series of floats and histograms."""
    flat = [sample for _, samples in series for sample in samples]
    table = [v for _, v in flat if isinstance(v, Histogram)]
    numbers = iter(handles(0, len(table)).view(np.uint64).tolist())
    bits = [
        next(numbers) if isinstance(v, Histogram) else struct.unpack("<Q", struct.pack("<d", v))[0] for _, v in flat
    ]
    return SeriesColumns(
        [from_mapping(labels) for labels, _ in series],
        np.cumsum([0, *(len(samples) for _, samples in series)]),
        np.array([t for t, _ in flat], np.int64),
        np.array(bits, np.uint64).view(np.float64),
        histograms_of(table) if table else None,
    )


def frames_of(data: bytes) -> list[tuple[dict[str, str], int, list[tuple[int, float | Histogram]]]]:
    """Return labels, query and samples of each frame, whose checksum must fit."""
    out, at = [], 0
    while at < len(data):
        size, at = read_varint(data, at)
        checksum, message = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 4 + size]
        assert crc32c(message) == checksum
        at += 4 + size
        response = _CHUNKED["ChunkedReadResponse"].FromString(message)
        (series,) = response.chunked_series
        samples: list[tuple[int, float | Histogram]] = []
        for chunk in series.chunks:
            read = read_xor(chunk.data) if chunk.type == 1 else read_histograms(chunk.data, chunk.type == 2)
            assert (chunk.min_time_ms, chunk.max_time_ms) == (read[0][0], read[-1][0])
            samples += read
        out.append(({p.name: p.value for p in series.labels}, response.query_index, samples))
    return out


def samples_of(data: bytes) -> list[tuple[dict[str, str], list[tuple[int, float]], list[tuple[int, Histogram]]]]:
    """Return labels, floats and histograms of the series of a ReadResponse of one query."""
    (result,) = _CHUNKED["ReadResponse"].FromString(data).results
    out = []
    for raw in result.timeseries:
        series = TimeSeries.FromString(raw)
        natives = [(h.timestamp, histogram_of(h)[0]) for h in series.histograms]
        labels = {p.name.decode(): p.value.decode() for p in series.labels}
        out.append((labels, [(s.timestamp, s.value) for s in series.samples], natives))
    return out


def test_a_request_is_read_as_it_was() -> None:
    """Times and matchers of all four kinds; the first type that is supported counts."""
    matchers = tuple(Matcher(t, "é", "x|y") for t in MatchType)
    query = ReadQuery(-5, T0, matchers)
    request = decode(body_of(query, ReadQuery(0, 1, ()), accepted=(7, 1, 0)))
    assert request.queries == (query, ReadQuery(0, 1, ()))
    assert request.response is ResponseType.STREAMED_XOR_CHUNKS
    assert decode(body_of(query)).response is ResponseType.SAMPLES


def test_hints_narrow_the_range() -> None:
    """A client says which part it needs; nonsense is passed over."""
    message = ReadRequestMessage.FromString(encode_request([ReadQuery(100, 200, ())]))
    message.queries[0].hints.start_ms, message.queries[0].hints.end_ms = 150, 400
    (query,) = decode(bytes(cramjam.snappy.compress_raw(message.SerializeToString()))).queries
    assert (query.mint_ms, query.maxt_ms) == (150, 200)
    message.queries[0].hints.end_ms = 0
    (query,) = decode(bytes(cramjam.snappy.compress_raw(message.SerializeToString()))).queries
    assert (query.mint_ms, query.maxt_ms) == (100, 200)


def test_what_is_refused() -> None:
    """Bytes that are no request, types nobody knows, and matchers that cannot be, with the words of Prometheus."""
    with pytest.raises(WireError, match="not a snappy block"):
        decode(b"\xff\xff")
    with pytest.raises(WireError, match="malformed ReadRequest"):
        decode(bytes(cramjam.snappy.compress_raw(b"\x0a\x05\x01")))
    with pytest.raises(WireError, match=r"does not support any of the requested response types: \[7 9\]"):
        decode(body_of(accepted=(7, 9)))
    message = ReadRequestMessage.FromString(encode_request([ReadQuery(0, 1, (MATCHER,))]))
    message.queries[0].matchers[0].type = 4
    with pytest.raises(MatcherError, match="invalid matcher type"):
        decode(bytes(cramjam.snappy.compress_raw(message.SerializeToString())))
    message.queries[0].matchers[0].type, message.queries[0].matchers[0].value = 2, "("
    with pytest.raises(MatcherError, match="error parsing regexp: missing closing"):
        decode(bytes(cramjam.snappy.compress_raw(message.SerializeToString())))


def test_the_bounds_of_a_request() -> None:
    """Bytes after decompression, queries, and matchers of a query."""
    with pytest.raises(LimitExceeded):
        decode(bytes(cramjam.snappy.compress_raw(bytes(101))), WriteLimits(100))
    with pytest.raises(WireError, match="more than"):
        decode(body_of(*[ReadQuery(0, 1, ())] * (QUERIES_MAX + 1)))
    with pytest.raises(WireError, match="more than"):
        decode(body_of(ReadQuery(0, 1, (MATCHER,) * (MATCHERS_MAX + 1))))


@given(st.one_of(st.binary(max_size=200), st.binary(max_size=200).map(lambda b: bytes(cramjam.snappy.compress_raw(b)))))
def test_any_bytes_are_a_request_or_an_error_of_ours(body: bytes) -> None:
    """Nothing else escapes."""
    with contextlib.suppress(TinyObsError, MatcherError):
        decode(body)


@given(st.data())
def test_a_damaged_request_is_a_request_or_an_error_of_ours(data: st.DataObject) -> None:
    """One byte of a good request is changed, before it is compressed."""
    raw = bytearray(encode_request([ReadQuery(1, T0, (MATCHER, Matcher(MatchType.REGEX, "c", "d.*")))], (1, 0)))
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(TinyObsError, MatcherError):
        decode(bytes(cramjam.snappy.compress_raw(raw)))


def test_external_labels() -> None:
    """A matcher that asks for one is fulfilled where the storage has none; series get those they do not have."""
    query = ReadQuery(0, 1, (Matcher(MatchType.EQUAL, "dc", "x"), Matcher(MatchType.NOT_EQUAL, "dc", "x"), MATCHER))
    assert [str(m) for m in without_external(query, {"dc": "x"})] == ['dc=""', 'dc!="x"', 'a="b"']
    assert [str(m) for m in without_external(query, {"dc": "y"})] == ['dc="x"', 'dc!="x"', 'a="b"']
    assert merged((("a", "1"), ("dc", "own")), (("b", "2"), ("dc", "x"))) == (("a", "1"), ("b", "2"), ("dc", "own"))


NATIVE = Histogram(1, 0.001, 1, 6, 2.5, ((0, 2),), (2, 3), is_integer=True)
FLOAT_NATIVE = Histogram(1, 0.001, 1.0, 6.5, 2.5, ((0, 2),), (2.0, 3.5))
MIXED = [(T0, 1.0), (T0 + 1, NATIVE), (T0 + 2, FLOAT_NATIVE), (T0 + 3, stale_histogram()), (T0 + 4, 2.0)]


def test_samples_are_read_as_they_were() -> None:
    """Floats and histograms of each series; times before 1971 and after 2109 take another way."""
    columns = columns_of(
        ({"a": "1"}, [(T0 + i, float(i)) for i in range(300)]),
        ({"a": "2"}, [(-5, 1.0), (0, float("inf")), (1 << 43, -0.5)]),
        ({"a": "3"}, []),
        ({"a": "4"}, MIXED),
    )
    found = samples_of(encode_result([columns], (("dc", "x"),)))
    assert [labels for labels, _, _ in found] == [{"a": n, "dc": "x"} for n in ("1", "2", "4")]
    assert found[0][1] == [(T0 + i, float(i)) for i in range(300)]
    assert found[1][1] == [(-5, 1.0), (0, float("inf")), (1 << 43, -0.5)]
    assert found[2][1] == [(T0, 1.0), (T0 + 4, 2.0)]
    assert found[2][2][:2] == [(T0 + 1, NATIVE), (T0 + 2, FLOAT_NATIVE)]
    assert is_stale_value(found[2][2][2][1].sum)


def test_chunks_are_read_as_they_were() -> None:
    """Runs of a kind are chunks of their own; a marker among histograms is a float; empty series have no frame."""
    columns = columns_of(
        ({"a": "1"}, [(T0 + i, float(i % 7)) for i in range(300)]), ({"a": "2"}, []), ({"a": "3"}, MIXED)
    )
    found = frames_of(b"".join(encode_frames(columns, (("dc", "x"),), 3, 1 << 20)))
    assert [(labels, query) for labels, query, _ in found] == [({"a": "1", "dc": "x"}, 3), ({"a": "3", "dc": "x"}, 3)]
    assert found[0][2] == [(T0 + i, float(i % 7)) for i in range(300)]
    mixed = found[1][2]
    assert mixed[0] == (T0, 1.0)
    assert mixed[1:3] == [(T0 + 1, NATIVE), (T0 + 2, FLOAT_NATIVE)]
    assert mixed[3][0] == T0 + 3
    assert struct.pack("<d", mixed[3][1]) == struct.pack("<d", STALE_NAN)
    assert mixed[4] == (T0 + 4, 2.0)


def test_frames_are_bounded() -> None:
    """A frame ends with the chunk that fills it; no sample is lost between frames of a series."""
    rows = [(T0 + i, float(i * 31 % 17)) for i in range(1000)]
    whole = list(encode_frames(columns_of(({"a": "1"}, rows)), (), 0, 1 << 20))
    small = list(encode_frames(columns_of(({"a": "1"}, rows)), (), 0, 300))
    assert len(whole) == 1
    assert len(small) > 3
    assert max(map(len, small)) < 900
    assert [s for _, _, samples in frames_of(b"".join(small)) for s in samples] == rows


@given(st.lists(st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=8), max_size=4))
def test_any_mixture_of_kinds(series: list[list[tuple[bool, int]]]) -> None:
    """Whatever follows what, each series comes back whole."""
    rows = [
        ({"n": f"{i:03}"}, [(T0 + j, attrs.evolve(NATIVE, count=n) if h else float(n)) for j, (h, n) in enumerate(one)])
        for i, one in enumerate(series)
    ]
    found = frames_of(b"".join(encode_frames(columns_of(*rows), (), 0, 1 << 20)))
    plain = [(labels, [(t, _without_hint(v)) for t, v in samples]) for labels, _, samples in found]
    assert plain == [(labels, samples) for labels, samples in rows if samples]


def _without_hint(value: float | Histogram) -> float | Histogram:
    return attrs.evolve(value, reset_hint=NATIVE.reset_hint) if isinstance(value, Histogram) else value
