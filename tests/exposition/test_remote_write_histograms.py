"""Tests of native histograms and exemplars in remote write 1.0."""

import math
import re
import struct

import cramjam
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyobs.errors import WireError
from tinyobs.exposition.remote_write import decode, decode_message
from tinyobs.exposition.remote_write_encoder import encode, exemplar_message, histogram_message
from tinyobs.exposition.remote_write_schema import WriteRequest
from tinyobs.model.exemplars import Exemplar
from tinyobs.model.histogram_checks import coarsened, fault_of
from tinyobs.model.histograms import CUSTOM_SCHEMA, Histogram, ResetHint, is_handle, numbers_of, pack, stale_histogram
from tinyobs.model.labels import from_mapping
from tinyobs.model.registry import SeriesRegistry, encode_block, varint
from tinyobs.model.staleness import STALE_BITS

NOW = 1_790_000_000_000
A = from_mapping({"__name__": "a", "job": "x"})
B = from_mapping({"__name__": "b"})
INTEGER = Histogram(
    3, 0.001, 2, 12, 18.4, ((0, 2), (1, 2)), (1, 3, 2, 0), ((-2, 1),), (4,), (), ResetHint.NO, is_integer=True
)
FLOAT = Histogram(-4, 1e-128, 0.5, 7.25, -1.0, ((-7, 3),), (1.5, 0.0, 5.25), reset_hint=ResetHint.GAUGE)
CUSTOM = Histogram(CUSTOM_SCHEMA, 0.0, 0, 6, 9.0, ((0, 1), (1, 1)), (1, 5), custom_values=(0.5, 1.0), is_integer=True)


def field(number, content):
    """Return a length-delimited field."""
    return bytes((number << 3 | 2,)) + varint(len(content)) + content


def samples(decoded, registry):
    """Return [(labels, timestamp, value or histogram)] of a decoded request."""
    b = decoded.batch
    out = []
    for ref, time, value, number in zip(
        b.refs.tolist(), b.timestamps_ms.tolist(), b.values.tolist(), numbers_of(b.values).tolist(), strict=True
    ):
        out.append((registry.labels(ref), time, value if number < 0 else b.histograms.one(number)))
    return out


@pytest.mark.parametrize("h", [INTEGER, FLOAT, CUSTOM, Histogram(0, 0.0, 0, 0, 0.0, is_integer=True)])
def test_kinds_arrive_as_they_were_sent(h):
    """Integer and float histograms, exponential and custom buckets, with their hints."""
    registry = SeriesRegistry()
    for _ in range(2):
        decoded = decode(encode([(A, [NOW], [h])]), registry)
        assert samples(decoded, registry) == [(A, NOW, h)]
        assert not decoded.reasons


def test_a_message_made_by_hand():
    """The fields mean what prompb/types.proto says; buckets of integers are differences, packed or not."""
    spans = field(11, b"\x08\x03\x10\x01") + field(11, b"\x10\x02")  # offset -2, one bucket; offset 0, two buckets
    head = (
        b"\x08\x06" + b"\x19" + struct.pack("<d", 2.5) + b"\x20\x05" + b"\x29" + struct.pack("<d", 0.25) + b"\x30\x01"
    )
    tail = b"\x70\x01" + b"\x78" + varint(NOW)
    for deltas in (field(12, b"\x04\x01\x02"), b"\x60\x04\x60\x01\x60\x02"):  # 2, -1, 1
        data = field(1, encode_block(B) + field(4, head + spans + deltas + tail))
        registry = SeriesRegistry()
        decoded = decode_message(data, registry)
        expected = Histogram(
            -3, 0.25, 1, 6, 2.5, ((-2, 1), (0, 2)), (2, 1, 2), reset_hint=ResetHint.YES, is_integer=True
        )
        assert samples(decoded, registry) == [(B, NOW, expected)]


def test_the_encoder_writes_what_the_protobuf_library_reads():
    """Every field of a histogram and an exemplar is where the schema has it."""
    exemplar = Exemplar(0, (("trace_id", "abc"),), 0.25, NOW)
    body = encode([(A, [NOW, NOW + 1], [INTEGER, FLOAT])], exemplars=[(A, [exemplar])])
    request = WriteRequest.FromString(bytes(cramjam.snappy.decompress_raw(body)))
    first, second = request.timeseries[0].histograms
    assert (first.count_int, first.zero_count_int, first.schema, first.reset_hint) == (12, 2, 3, 2)
    assert list(first.positive_deltas) == [1, 2, -1, -2]
    assert [(s.offset, s.length) for s in first.negative_spans] == [(-2, 1)]
    assert (second.WhichOneof("count"), second.WhichOneof("zero_count")) == ("count_float", "zero_count_float")
    assert list(second.positive_counts) == [1.5, 0.0, 5.25]
    assert (second.timestamp, second.sum) == (NOW + 1, -1.0)
    (found,) = request.timeseries[1].exemplars
    assert (found.labels[0].name, found.value, found.timestamp) == (b"trace_id", 0.25, NOW)


def test_the_staleness_marker_keeps_its_bits():
    """A histogram whose sum is the staleness marker is one after decoding."""
    registry = SeriesRegistry()
    for h in (stale_histogram(), Histogram(0, 0.0, 0, 0, stale_histogram().sum, is_integer=True)):
        (sample,) = samples(decode(encode([(A, [NOW], [h])]), registry), registry)
        assert struct.pack("<d", sample[2].sum) == struct.pack("<Q", STALE_BITS)


def test_a_series_with_everything_keeps_all():
    """Samples, histograms and exemplars of one series, and those of others beside it, keep their order."""
    registry = SeriesRegistry()
    block = encode_block(A)
    sample = field(2, b"\x09" + struct.pack("<d", 5.0) + b"\x10" + varint(NOW))
    late, early = (Exemplar(0, (("id", str(t)),), 1.0, NOW + t) for t in (9, 1))
    parts = field(3, exemplar_message(late)) + field(3, exemplar_message(early))
    mixed = field(1, block + parts + field(4, histogram_message(INTEGER, NOW + 1)) + sample)
    plain = field(1, encode_block(B) + sample)
    for _ in range(2):
        decoded = decode_message(plain + mixed + plain, registry)
        assert samples(decoded, registry) == [(B, NOW, 5.0), (A, NOW, 5.0), (A, NOW + 1, INTEGER), (B, NOW, 5.0)]
        ref = registry.intern(A)
        assert [(e.ref, e.labels, e.timestamp_ms) for e in decoded.batch.exemplars] == [
            (ref, (("id", "1"),), NOW + 1),
            (ref, (("id", "9"),), NOW + 9),
        ]


def test_a_float_that_looks_like_a_histogram_is_a_number():
    """Bits that would mean a histogram become the ordinary NaN, on either way."""
    registry = SeriesRegistry()
    (odd,) = struct.unpack("<d", struct.pack("<Q", 0xFFFD << 48))
    for _ in range(2):
        decoded = decode(encode([(A, [NOW], [odd]), (B, [NOW, NOW + 1], [odd, 1.0])]), registry)
        assert not is_handle(decoded.batch.values).any()
        assert [math.isnan(v) for v in decoded.batch.values.tolist()] == [True, True, False]


def changed(h, **fields):
    """Return a histogram with other fields."""
    names = [a.name for a in Histogram.__attrs_attrs__]
    return Histogram(**({n: getattr(h, n) for n in names} | fields))


BAD = [
    (changed(INTEGER, positive_spans=((0, 3),)), "the spans are of 3 buckets, there are 4"),
    (changed(INTEGER, positive_spans=((0, 2), (-1, 2))), "negative offset -1"),
    (changed(INTEGER, positive_buckets=(1, 3, -1, 3)), "bucket number 3 has the negative count -1"),
    (changed(INTEGER, negative_spans=()), "negative side"),
    (changed(INTEGER, count=11), "12 observations found in the buckets, but the count is 11"),
    (changed(INTEGER, count=13), "12 observations found in the buckets, but the count is 13"),
    (changed(INTEGER, count=11, sum=math.nan), "12 observations found in the buckets, but the count is 11"),
    (changed(INTEGER, schema=-5), "schema -5"),
    (changed(INTEGER, schema=53), "schema 53"),
    (changed(INTEGER, custom_values=(1.0,)), "custom values"),
    (changed(FLOAT, count=-1.0), "negative count"),
    (changed(FLOAT, zero_count=-1.0), "negative count"),
    (changed(FLOAT, positive_buckets=(1.0, -0.5, 1.0)), "negative count -0.5"),
    (changed(CUSTOM, zero_count=1, count=7), "zero bucket"),
    (changed(CUSTOM, zero_threshold=0.1), "zero bucket"),
    (changed(CUSTOM, negative_spans=((0, 0),)), "negative buckets"),
    (changed(CUSTOM, custom_values=(0.5, 0.5)), "must be more than"),
    (changed(CUSTOM, custom_values=(0.5, math.nan)), "must be more than"),
    (changed(CUSTOM, custom_values=(0.5, math.inf)), r"\+Inf"),
    (changed(CUSTOM, custom_values=(0.5,)), "1 bounds are too few for 3 buckets"),
    (changed(CUSTOM, positive_spans=((-1, 2),)), "negative offset"),
    (changed(CUSTOM, positive_spans=((0, 3),)), "the spans are of 3 buckets, there are 2"),
    (changed(INTEGER, positive_spans=((0x7FFF_FFFF, 2), (1, 2))), "beyond number"),
]


@pytest.mark.parametrize(("h", "words"), BAD)
def test_invalid_histograms_are_refused_alone(h, words):
    """A histogram that contradicts itself is refused with a sentence, and nothing else is lost."""
    registry = SeriesRegistry()
    decoded = decode(encode([(A, [NOW - 1, NOW, NOW + 1], [1.0, h, FLOAT]), (B, [NOW], [INTEGER])]), registry)
    assert samples(decoded, registry) == [(A, NOW - 1, 1.0), (A, NOW + 1, FLOAT), (B, NOW, INTEGER)]
    assert decoded.refused_histograms == 1
    assert re.search(words, decoded.reasons[0])
    assert 'a{job="x"}' in decoded.reasons[0]


def test_a_nan_observation_is_in_no_bucket():
    """With NaN as sum the count may be more than the buckets hold."""
    assert fault_of(changed(INTEGER, count=13, sum=math.nan)) == ""


def test_histograms_of_refused_series_are_counted():
    """A series with impossible labels takes its histograms and exemplars with it."""
    exemplar = Exemplar(0, (("id", "1"),), 1.0, NOW)
    nameless = from_mapping({"job": "x"})
    body = encode([(nameless, [NOW, NOW], [INTEGER, 1.0]), (A, [NOW], [1.0])], exemplars=[(nameless, [exemplar])])
    decoded = decode(body, SeriesRegistry())
    assert (decoded.refused_series, decoded.refused_samples, decoded.refused_exemplars) == (2, 2, 1)
    assert len(decoded.batch) == 1


@pytest.mark.parametrize(
    "labels",
    [((b"a", b"1"), (b"a", b"2")), ((b"", b"1"),), ((b"a", b"\xff"),), ((b"a", b"x" * 128),)],
)
def test_impossible_exemplars_are_left_out(labels):
    """Exemplars with labels that cannot be, or are too long, are counted; the others stay."""
    request = WriteRequest()
    series = request.timeseries.add()
    for name, value in ((b"__name__", b"b"),):
        series.labels.add(name=name, value=value)
    series.samples.add(timestamp=NOW, value=1.0)
    bad, good = series.exemplars.add(timestamp=NOW), series.exemplars.add(timestamp=NOW, value=2.0)
    for name, value in labels:
        bad.labels.add(name=name, value=value)
    good.labels.add(name=b"a", value=b"x" * 127)
    decoded = decode_message(request.SerializeToString(), SeriesRegistry())
    assert decoded.refused_exemplars == 1
    assert [e.value for e in decoded.batch.exemplars] == [2.0]
    assert len(decoded.batch) == 1


def test_finer_schemas_are_brought_down():
    """Buckets of the reserved schemas become those of schema 8, and the counts stay."""
    fine = Histogram(10, 0.0, 0, 21, 1.0, ((-3, 4), (4, 2)), (1, 2, 3, 4, 5, 6), ((1, 0),), (), is_integer=True)
    # ceil(i / 4): -3 .. 0 are in bucket 0, 5 and 6 in bucket 2
    expected = Histogram(8, 0.0, 0, 21, 1.0, ((0, 1), (1, 1)), (10, 11), is_integer=True)
    assert coarsened(fine) == expected
    assert coarsened(INTEGER) is INTEGER
    misfit = changed(fine, positive_spans=((0, 2),))
    assert coarsened(misfit) is misfit
    registry = SeriesRegistry()
    assert samples(decode(encode([(A, [NOW], [fine])]), registry), registry) == [(A, NOW, expected)]


COUNTS = st.integers(0, 1 << 40)
SPANS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 5)), max_size=4)
NUMBERS = st.floats(allow_nan=False)


@st.composite
def sides(draw, counts):
    """Draw spans and their buckets."""
    spans = draw(SPANS)
    n = sum(length for _, length in spans)
    return tuple(spans), tuple(draw(st.lists(counts, min_size=n, max_size=n)))


@st.composite
def sound_histograms(draw):
    """Draw a histogram that is sound."""
    is_integer = draw(st.booleans())
    counts = COUNTS if is_integer else st.floats(0, 1e300)
    (positive_spans, positive), (negative_spans, negative) = draw(sides(counts)), draw(sides(counts))
    zero = draw(counts)
    return Histogram(
        draw(st.integers(-4, 8)),
        draw(st.floats(0, 1)),
        zero,
        zero + sum(positive) + sum(negative) if is_integer else draw(counts),
        draw(NUMBERS),
        positive_spans,
        positive,
        negative_spans,
        negative,
        (),
        draw(st.sampled_from(ResetHint)),
        is_integer,
    )


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([A, B]), st.integers(-5, 5), st.one_of(sound_histograms(), NUMBERS)), max_size=5)
)
def test_round_trip(rows):
    """Any mix of floats and sound histograms comes back as it was sent, cold and warm."""
    body = encode([(labels, [NOW + t], [v]) for labels, t, v in rows])
    registry = SeriesRegistry()
    for _ in range(2):
        assert samples(decode(body, registry), registry) == [(labels, NOW + t, v) for labels, t, v in rows]


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damage_gives_wire_errors_or_sound_histograms(data):
    """Changed bytes are refused, or what is left of them can be stored."""
    message = bytearray(field(1, encode_block(A) + field(4, histogram_message(data.draw(sound_histograms()), NOW))))
    for _ in range(data.draw(st.integers(1, 4))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    registry = SeriesRegistry()
    try:
        decoded = decode_message(bytes(message), registry)
    except WireError:
        return
    for _, _, value in samples(decoded, registry):
        if isinstance(value, Histogram):
            assert fault_of(value) == ""
            pack(value)
