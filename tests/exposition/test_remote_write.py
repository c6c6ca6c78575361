"""Tests of receiving and sending remote write 1.0."""

import contextlib
import itertools
import math
import struct

import cramjam
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyobs.errors import LimitExceeded, WireError
from tinyobs.exposition.remote_write import WriteLimits, decode, decode_message
from tinyobs.exposition.remote_write_encoder import encode, encode_blocks
from tinyobs.exposition.remote_write_general import GeneralWay
from tinyobs.exposition.remote_write_schema import WriteRequest
from tinyobs.model.labels import from_mapping
from tinyobs.model.metadata import MetricMetadata, MetricType
from tinyobs.model.registry import ALIASES_PER_SERIES_MAX, SeriesRegistry, encode_block
from tinyobs.model.staleness import STALE_NAN, is_stale

NOW = 1_790_000_000_000
A = from_mapping({"__name__": "a", "job": "x", "Z": "1"})
B = from_mapping({"__name__": "b", "instance": "h" * 200})


def rows(decoded, registry):
    """Return [(labels, timestamp, value bits)] of a decoded request."""
    b = decoded.batch
    return [
        (registry.labels(r), t, struct.pack("<d", v))
        for r, t, v in zip(b.refs.tolist(), b.timestamps_ms.tolist(), b.values.tolist(), strict=True)
    ]


def row(labels, time, value):
    """Return one row as `rows` gives it."""
    return labels, time, struct.pack("<d", value)


def message(*series, metadata=()):
    """Return an uncompressed request made by the protobuf library from (pairs, samples)."""
    request = WriteRequest()
    for pairs, samples in series:
        ts = request.timeseries.add()
        for name, value in pairs:
            ts.labels.add(name=name, value=value)
        for time, value in samples:
            ts.samples.add(timestamp=time, value=value)
    for kind, name, help in metadata:
        request.metadata.add(type=kind, metric_family_name=name, help=help)
    return request.SerializeToString()


def pairs_of(labels):
    """Return labels as pairs of bytes."""
    return [(n.encode(), v.encode()) for n, v in labels]


def test_one_sample_a_series_cold_and_warm():
    """The usual request gives its samples in order, the first time and when all series are known."""
    registry = SeriesRegistry()
    for step in range(3):
        body = encode([(A, [NOW + step], [1.5]), (B, [NOW], [0.0]), (A, [NOW + step + 1], [math.inf])])
        decoded = decode(body, registry)
        assert rows(decoded, registry) == [row(A, NOW + step, 1.5), row(B, NOW, 0.0), row(A, NOW + step + 1, math.inf)]
        assert decoded.batch.origin == "remote_write"
        assert decoded.batch.refs.dtype == np.uint32
        assert len(registry) == 2


def test_zero_is_left_out_by_protobuf():
    """A sample whose value is zero has no value field in most senders' requests."""
    registry = SeriesRegistry()
    data = message((pairs_of(A), [(NOW, 0.0)]), (pairs_of(B), [(NOW, 2.0)]))
    for _ in range(2):
        assert rows(decode_message(data, registry), registry) == [row(A, NOW, 0.0), row(B, NOW, 2.0)]


@pytest.mark.parametrize("time", [0, 1, -1, 127, 1 << 34, (1 << 42) - 1, 1 << 42, (1 << 63) - 1, -(1 << 63)])
def test_timestamps_of_every_length(time):
    """Any 64-bit timestamp is read, negative ones of ten bytes included."""
    registry = SeriesRegistry()
    for value in (0.0, 3.0, -0.0):
        for _ in range(2):
            assert rows(decode(encode([(A, [time], [value])]), registry), registry) == [row(A, time, value)]
            data = message((pairs_of(A), [(time, value)]), (pairs_of(A), [(NOW, 1.0)]))
            assert rows(decode_message(data, registry), registry) == [row(A, time, value), row(A, NOW, 1.0)]


def test_staleness_marker_keeps_its_bits():
    """The payload of a NaN survives both ways of decoding."""
    registry = SeriesRegistry()
    decoded = decode(encode([(A, [NOW], [STALE_NAN]), (A, [NOW + 1, NOW + 2], [STALE_NAN, 1.0])]), registry)
    assert is_stale(decoded.batch.values).tolist() == [True, True, False]


def test_several_samples_a_series():
    """Series with several samples mix with others and keep their order."""
    registry = SeriesRegistry()
    body = encode([(B, [1, 2, 3], [1.0, 2.0, 3.0]), (A, [NOW], [4.0]), (B, [], []), (B, [4], [5.0])])
    expected = [row(B, 1, 1.0), row(B, 2, 2.0), row(B, 3, 3.0), row(A, NOW, 4.0), row(B, 4, 5.0)]
    for _ in range(2):
        assert rows(decode(body, registry), registry) == expected


def test_samples_before_labels():
    """The order of fields within a series does not matter."""
    registry = SeriesRegistry()
    whole = message((pairs_of(A), [(NOW, 5.0)]))[2:]
    block = encode_block(A)
    data = whole[len(block) :] + whole[: len(block)]
    framed = b"\x0a" + bytes([len(data)]) + data
    assert rows(decode_message(framed, registry), registry) == [row(A, NOW, 5.0)]


def test_unsorted_labels_are_known_the_second_time(monkeypatch):
    """A sender that does not sort its labels is decoded by the general way once for each series, and bounded."""
    registry = SeriesRegistry()
    unsorted = list(reversed(pairs_of(A)))
    decode_message(message((unsorted, [(NOW, 1.0)])), registry)
    calls = []
    monkeypatch.setattr(GeneralWay, "take", lambda *a: calls.append(a))
    assert rows(decode_message(message((unsorted, [(NOW, 2.0)])), registry), registry) == [row(A, NOW, 2.0)]
    assert not calls
    monkeypatch.undo()
    for pairs in itertools.permutations(pairs_of(A)):
        for _ in range(2):
            data = message((pairs, [(NOW, 2.0)]), (pairs, [(NOW, 2.0), (NOW, 3.0)]))
            expected = [row(A, NOW, 2.0), row(A, NOW, 2.0), row(A, NOW, 3.0)]
            assert rows(decode_message(data, registry), registry) == expected
    assert len(registry._aliases) == ALIASES_PER_SERIES_MAX
    assert len(registry) == 1


def test_labels_out_of_order_and_empty():
    """Labels out of order are sorted and empty ones dropped: it is the same series."""
    registry = SeriesRegistry()
    data = message(([*reversed(pairs_of(A)), (b"gone", b"")], [(NOW, 5.0)]))
    for _ in range(2):
        decoded = decode_message(data, registry)
        assert rows(decoded, registry) == [row(A, NOW, 5.0)]
        assert decoded.refused_series == 0


@pytest.mark.parametrize(
    ("pairs", "reason"),
    [
        ([], "no metric name"),
        ([(b"job", b"x")], "no metric name"),
        ([(b"__name__", b"")], "no metric name"),
        ([(b"__name__", b"a"), (b"", b"x")], "no name"),
        ([(b"", b"x"), (b"__name__", b"a")], "no name"),
        ([(b"__name__", b"a"), (b"b", b"1"), (b"b", b"2")], "not unique"),
        ([(b"__name__", b"a"), (b"b", b"1"), (b"b", b"1")], "not unique"),
        ([(b"__name__", b"\xff")], "not valid UTF-8"),
        ([(b"job", b"\x0a\x08__name__\x12\x01a")], "no metric name"),
    ],
)
def test_impossible_labels_refuse_their_series_only(pairs, reason):
    """A series with labels that cannot be is counted and described, and the others are kept."""
    registry = SeriesRegistry()
    for value in (1.0, 0.0):
        data = message((pairs, [(NOW, value)]), (pairs_of(A), [(NOW, 5.0)]), (pairs, [(1, value), (2, value)]))
        for _ in range(2):
            decoded = decode_message(data, registry)
            assert rows(decoded, registry) == [row(A, NOW, 5.0)]
            assert (decoded.refused_series, decoded.refused_samples) == (2, 3)
            assert len(decoded.reasons) == 2
            assert reason in decoded.reasons[0]


def test_a_refused_series_is_refused_again():
    """A series without a name is refused whatever similar ones came before."""
    registry = SeriesRegistry()
    for pairs in ([(b"__name__", b""), (b"job", b"x")], [(b"job", b"x")], [(b"job", b"x"), (b"z", b"")]):
        decoded = decode_message(message((pairs, [(NOW, 1.0)])), registry)
        assert (len(decoded.batch), decoded.refused_series) == (0, 1)


def test_odd_encodings_are_the_same_series():
    """A label with its value first, or a length in a longer varint, does not make another series."""
    registry = SeriesRegistry()
    sample = message(([], [(NOW, 5.0)]))[2:]
    usual = b"\x0a\x0d\x0a\x08__name__\x12\x01a"
    swapped = b"\x0a\x0d\x12\x01a\x0a\x08__name__"
    overlong = b"\x0a\x8d\x00\x0a\x08__name__\x12\x01a"
    twice = b"\x0a\x10\x0a\x08__name__\x12\x01b\x12\x01a"
    for block in (swapped, overlong, twice, usual, swapped, twice):
        data = block + sample
        decoded = decode_message(b"\x0a" + bytes([len(data)]) + data, registry)
        assert decoded.batch.refs.tolist() == [0]
    assert registry.labels(0) == (("__name__", "a"),)


def test_reasons_are_bounded():
    """However many series are refused, only some are described."""
    data = message(*[([(b"job", b"%d" % i)], [(NOW, 1.0)]) for i in range(50)])
    decoded = decode_message(data, SeriesRegistry())
    assert decoded.refused_series == 50
    assert len(decoded.reasons) == 10


def test_metadata():
    """Metadata entries come with the batch; an unknown type is unknown."""
    data = message(metadata=[(1, b"a_total", b"Help."), (99, b"b", b""), (5, b"", b"x")])
    decoded = decode_message(data, SeriesRegistry())
    assert decoded.batch.metadata == {
        "a_total": MetricMetadata(MetricType.COUNTER, "Help."),
        "b": MetricMetadata(),
    }
    given = {"c": MetricMetadata(MetricType.SUMMARY, "H\u00e9lp", "seconds")}
    assert decode(encode([], given), SeriesRegistry()).batch.metadata == given
    assert len(decoded.batch) == 0


def test_too_long_a_request_is_refused_before_decompression():
    """The decompressed length that a body claims is checked before any memory is taken."""
    body = bytes(cramjam.snappy.compress_raw(bytes(1000)))
    with pytest.raises(LimitExceeded, match="1000 bytes"):
        decode(body, SeriesRegistry(), limits=WriteLimits(decoded_bytes_max=999))
    bomb = b"\xff\xff\xff\xff\x0f" + b"\x00"
    with pytest.raises(LimitExceeded):
        decode(bomb, SeriesRegistry())


@pytest.mark.parametrize("body", [b"", b"\xff", b"\x05\x00", b"hello world, this is no snappy"])
def test_not_snappy(body):
    """A body that is no snappy block is a wire error."""
    with pytest.raises((WireError, LimitExceeded)):
        decode(body, SeriesRegistry())


def test_malformed_requests_name_the_place():
    """Damage at top level and within a series is refused with the offset where reading failed."""
    good = message((pairs_of(A), [(NOW, 5.0)]))
    with pytest.raises(WireError) as e:
        decode_message(good + b"\x0a\x7fabc", SeriesRegistry())
    assert e.value.offset == len(good)
    bad = b"\x0a\x04\x0a\x7fab"
    with pytest.raises(WireError) as e:
        decode_message(good + bad, SeriesRegistry())
    assert e.value.offset == len(good) + 2


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
PAIRS = st.lists(st.tuples(st.sampled_from(["__name__", "a", "b", "Z", "job", ""]), TEXT), max_size=4)
TIMES = st.one_of(st.integers(-(1 << 63), (1 << 63) - 1), st.integers(NOW - 5, NOW + 5))
SAMPLES = st.lists(st.tuples(TIMES, st.floats(allow_nan=False)), max_size=3)


def naive(data):
    """Decode by the protobuf library alone; return (rows, refused series)."""
    out, refused = [], 0
    for ts in WriteRequest.FromString(data).timeseries:
        pairs = [(p.name.decode(), p.value.decode()) for p in ts.labels]
        names = [n for n, _ in pairs]
        if len(set(names)) < len(names) or "" in names or not dict(pairs).get("__name__"):
            refused += 1
            continue
        labels = from_mapping(dict(pairs))
        out += [row(labels, s.timestamp, s.value) for s in ts.samples]
    return out, refused


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(PAIRS, SAMPLES), max_size=5))
def test_equal_to_the_protobuf_library(series):
    """Any request gives what the protobuf library alone makes of it, cold and warm."""
    data = message(*[([(n.encode(), v.encode()) for n, v in pairs], samples) for pairs, samples in series])
    registry = SeriesRegistry()
    expected, refused = naive(data)
    for _ in range(2):
        decoded = decode_message(data, registry)
        assert rows(decoded, registry) == expected
        assert decoded.refused_series == refused


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damaged_requests_only_raise_wire_errors(data):
    """Changed bytes give a wire error or another request, the one that the protobuf library sees."""
    registry = SeriesRegistry()
    good = message((pairs_of(A), [(NOW, 5.0)]), (pairs_of(B), [(NOW, 0.0)]), (pairs_of(A), [(1, 1.0), (2, 2.0)]))
    decode_message(good, registry)
    damaged = bytearray(good)
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(damaged[: data.draw(st.integers(0, len(good)))])
    try:
        decoded = decode_message(damaged, registry)
    except WireError:
        return
    try:
        expected, refused = naive(damaged)
    except UnicodeDecodeError:
        return
    assert rows(decoded, registry) == expected
    assert decoded.refused_series == refused


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=80))
def test_random_bytes_only_raise_wire_errors(data):
    """Random bytes never raise anything else."""
    for read in (decode, decode_message):
        with contextlib.suppress(WireError, LimitExceeded):
            read(data, SeriesRegistry())


def test_encoders_agree():
    """Both encoders make the same request, and the protobuf library reads it."""
    a = encode([(A, [NOW], [1.0]), (B, [-5], [0.0])])
    b = encode_blocks([encode_block(A), encode_block(B)], [NOW, -5], [1.0, 0.0])
    assert a == b
    request = WriteRequest.FromString(bytes(cramjam.snappy.decompress_raw(a)))
    assert [(s.samples[0].timestamp, s.samples[0].value) for s in request.timeseries] == [(NOW, 1.0), (-5, 0.0)]
