"""Tests of receiving remote write 2.0: the decoder beside the protobuf library."""

import contextlib
import math
import struct

import cramjam
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from remote_write_requests import Request, histogram

from tinyobs.errors import LimitExceeded, WireError
from tinyobs.exposition import remote_write_v2_fields, remote_write_v2_split
from tinyobs.exposition.remote_write import WriteLimits
from tinyobs.exposition.remote_write_v2_decode import METADATA_EVERY, Decoder2
from tinyobs.exposition.remote_write_v2_general import GeneralWay2
from tinyobs.exposition.remote_write_v2_schema import Request2
from tinyobs.model.histograms import numbers_of
from tinyobs.model.labels import from_mapping
from tinyobs.model.metadata import MetricMetadata, MetricType
from tinyobs.model.registry import SeriesRegistry
from tinyobs.model.staleness import STALE_NAN

NOW = 1_790_000_000_000
A = from_mapping({"__name__": "a", "job": "x"})
B = from_mapping({"__name__": "b", "instance": "h" * 200})


def rows(decoded, registry):
    """Return [(labels, timestamp, value bits or "histogram", start)] of a decoded request."""
    b = decoded.batch
    starts = [0] * len(b) if b.starts_ms is None else b.starts_ms.tolist()
    values = [
        "histogram" if n >= 0 else struct.pack("<d", v) for n, v in zip(numbers_of(b.values), b.values, strict=True)
    ]
    return list(zip(map(registry.labels, b.refs.tolist()), b.timestamps_ms.tolist(), values, starts, strict=True))


def row(labels, time, value, start=0):
    """Return one row as `rows` gives it."""
    return labels, time, struct.pack("<d", value), start


def decoders():
    """Return (decoder, registry)."""
    registry = SeriesRegistry()
    return Decoder2(registry), registry


def test_known_series_do_not_depend_on_the_numbers_of_symbols(monkeypatch):
    """Each request numbers its symbols anew; series that were there before are recognised, and nothing is interned."""
    decoder, registry = decoders()
    for i, symbols in enumerate([(), ("x", "job", "zz"), tuple(map(str, range(300))), tuple(map(str, range(17_000)))]):
        request = Request(*symbols)
        request.series(A, (NOW + i, 1.5))
        request.series(B, (NOW + i, 0.0))
        request.series(A, (NOW + i + 1, -math.inf))
        found = rows(decoder.decode_message(request.bytes()), registry)
        assert found == [row(A, NOW + i, 1.5), row(B, NOW + i, 0.0), row(A, NOW + i + 1, -math.inf)]
        assert len(registry) == 2
        monkeypatch.setattr(SeriesRegistry, "intern_rows", lambda *a: pytest.fail("the series are known"))
        monkeypatch.setattr(GeneralWay2, "take", lambda *a: pytest.fail("the series are usual"))


def test_unsorted_labels_are_the_same_series_and_known_the_second_time(monkeypatch):
    """Labels out of order are put right, and so are empty ones; the second time that takes no longer way."""
    decoder, registry = decoders()
    for labels in (A, A[::-1], (*A, ("gone", ""))):
        request = Request()
        request.series(labels, (NOW, 1.0))
        assert rows(decoder.decode_message(request.bytes()), registry) == [row(A, NOW, 1.0)]
    fresh, registry = decoders()
    for i in range(2):
        request = Request()
        request.series(A[::-1], (NOW, 1.0))
        assert rows(fresh.decode_message(request.bytes()), registry) == [row(A, NOW, 1.0)], i
        monkeypatch.setattr(GeneralWay2, "take", lambda *a: pytest.fail("the series is known"))


def test_several_samples_of_all_shapes():
    """Zeros, starts and times of every length mix with others; each series keeps its order."""
    decoder, registry = decoders()
    shapes = [(NOW, 1.0), (NOW + 1, 0.0), (NOW + 2, 2.0, NOW - 5), (NOW + 3, 0.0, NOW - 5), (NOW + 4, 3.0)]
    odd = [(0, 1.0), (5, 2.0, -1), (-1, 0.0), (1 << 62, 1.0), (NOW, 1.0, 1)]
    request = Request()
    for samples in (shapes, shapes[::-1], shapes * 30, odd, [(NOW, float(i)) for i in range(500)]):
        request.series(B, *samples)
        request.series(A, (NOW + 9, 4.0))
    expected = []
    for samples in (shapes, shapes[::-1], shapes * 30, odd, [(NOW, float(i)) for i in range(500)]):
        expected += [row(B, *s) for s in samples] + [row(A, NOW + 9, 4.0)]
    for _ in range(2):
        assert rows(decoder.decode_message(request.bytes()), registry) == expected


def test_runs_are_read_in_bounded_steps(monkeypatch):
    """Many samples of one series are read a part at a time, and too many changes of shape take the general way."""
    monkeypatch.setattr(remote_write_v2_fields, "_AT_ONCE_MAX", 7)
    monkeypatch.setattr(remote_write_v2_fields, "_STEPS_MAX", 12)
    decoder, registry = decoders()
    for values in ([1.0] * 60, [0.0, 1.0] * 30):
        request = Request()
        samples = [(NOW + i, v) for i, v in enumerate(values)]
        request.series(A, *samples)
        request.series(B, (NOW, 1.0))
        expected = [*(row(A, *s) for s in samples), row(B, NOW, 1.0)]
        assert rows(decoder.decode_message(request.bytes()), registry) == expected


def test_staleness_markers_keep_their_bits():
    """The payload of a NaN survives."""
    decoder, registry = decoders()
    request = Request()
    request.series(A, (NOW, STALE_NAN))
    assert rows(decoder.decode_message(request.bytes()), registry) == [row(A, NOW, STALE_NAN)]


@pytest.mark.parametrize(
    ("refs", "reason"),
    [
        ([], "no metric name"),
        ([3, 4], "no metric name"),
        ([1, 0], "no metric name"),
        ([1, 2, 0, 4], "no name"),
        ([1, 2, 3, 4, 3, 5], "not unique"),
        ([1, 2, 3, 4, 3, 4], "not unique"),
        ([1, 2, 3], r"parsing labels for series \[1 2 3\]: invalid labelRefs length 3"),
        ([1, 2, 3, 99], r"labelRefs 3 \(name\) = 99 \(value\) outside of symbols table \(size 6\)"),
    ],
)
def test_impossible_labels_refuse_their_series_only(refs, reason):
    """A series with labels that cannot be is counted and described, and the others are kept."""
    decoder, registry = decoders()
    request = Request("__name__", "a", "job", "x", "y")
    request.series((), (NOW, 1.0), refs=refs).exemplars.add(timestamp=NOW)
    request.series(A, (NOW, 5.0))
    request.series((), (1, 1.0), (2, 1.0), refs=refs)
    for _ in range(2):
        decoded = decoder.decode_message(request.bytes())
        assert rows(decoded, registry) == [row(A, NOW, 5.0)]
        assert (decoded.refused_series, decoded.refused_samples, decoded.refused_exemplars) == (2, 3, 1)
        assert len(decoded.reasons) == 2
        with pytest.raises(AssertionError, match=reason):
            raise AssertionError(decoded.reasons[0])


def test_symbols_that_are_not_utf8_refuse_their_series_only():
    """One bad text does not spoil the request."""
    decoder, registry = decoders()
    request = Request()
    request.series(A, (NOW, 1.0))
    request.series(from_mapping({"__name__": "b", "job": "QQQQ"}), (NOW, 1.0))
    data = request.bytes().replace(b"QQQQ", b"\xff\xfe\xfd\xfc")
    decoded = decoder.decode_message(data)
    assert rows(decoded, registry) == [row(A, NOW, 1.0)]
    assert "not valid UTF-8" in decoded.reasons[0]


def test_a_series_needs_samples():
    """A series of nothing but metadata is refused, as by Prometheus; exemplars alone are what Prometheus 3.5 sends."""
    decoder, _ = decoders()
    request = Request("Help.")
    request.series(A).metadata.help_ref = 1
    request.series(B).exemplars.add(timestamp=NOW, value=1.0)
    for _ in range(2):
        decoded = decoder.decode_message(request.bytes())
        assert (len(decoded.batch), len(decoded.batch.exemplars), decoded.refused_series) == (0, 1, 1)
        assert decoded.reasons == ('TimeSeries must contain at least one sample or histogram for series a{job="x"}',)
        assert decoded.batch.metadata == {}


def test_exemplars():
    """They carry their labels in order; impossible ones are counted and their series stays."""
    decoder, registry = decoders()
    request = Request()
    series = request.series(A, (NOW, 1.0))
    good = [request.number(t) for t in ("trace_id", "7", "b", "c")]
    for refs in (good, [], [1, 2, 3], [1, 999], [good[0], request.number("x" * 130)], [0, 1]):
        series.exemplars.add(timestamp=NOW - 1, value=0.5, labels_refs=refs)
    for _ in range(2):
        decoded = decoder.decode_message(request.bytes())
        assert rows(decoded, registry) == [row(A, NOW, 1.0)]
        assert [e.labels for e in decoded.batch.exemplars] == [(("b", "c"), ("trace_id", "7")), ()]
        assert decoded.refused_exemplars == 4
        assert any("invalid labelRefs length 3" in reason for reason in decoded.reasons)


def test_histograms_with_starts_beside_floats():
    """Histograms of all kinds keep their place in the request and their start; a bad one goes alone."""
    decoder, registry = decoders()
    request = Request()
    request.series(B, (NOW, 1.0, NOW - 9))
    series = request.series(A)
    histogram(series, NOW, NOW - 7)
    histogram(series, NOW + 1).count_int = 99
    custom = series.histograms.add(timestamp=NOW + 2, schema=-53, count_int=3, sum=1.0, custom_values=[1.0, 2.5])
    custom.positive_spans.add(offset=0, length=2)
    custom.positive_deltas.extend([1, 1])
    series.histograms.add(timestamp=NOW + 3, count_float=0.0, zero_count_float=0.0, sum=0.0)
    request.series(B, (NOW + 1, 2.0))
    for _ in range(2):
        decoded = decoder.decode_message(request.bytes())
        kinds = [(A, NOW, "histogram", NOW - 7), (A, NOW + 2, "histogram", 0), (A, NOW + 3, "histogram", 0)]
        assert rows(decoded, registry) == [row(B, NOW, 1.0, NOW - 9), *kinds, row(B, NOW + 1, 2.0)]
        assert decoded.refused_histograms == 1
        assert decoded.batch.histograms.one(1).custom_values == (1.0, 2.5)


def told(decoder, help, kind=1, name="a", **labels):
    """Send one series with metadata; return what the batch says, and let it be stored."""
    request = Request()
    series = request.series(from_mapping({"__name__": name, **labels}), (NOW, 1.0))
    series.metadata.type, series.metadata.help_ref, series.metadata.unit_ref = kind, request.number(help), 0
    decoded = decoder.decode_message(request.bytes())
    decoded.stored()
    return decoded.batch.metadata


def test_metadata_is_handed_on_when_it_is_new_or_has_changed():
    """A change is seen within a few requests, whatever else is sent between them; what was not stored is said again."""
    decoder, _ = decoders()
    first = {"a": MetricMetadata(MetricType.COUNTER, "Help.")}
    assert told(decoder, "Help.") == first
    assert not any(told(decoder, "Help.") for _ in range(3 * METADATA_EVERY))
    for between in range(6):
        seen = []
        for _ in range(3 * METADATA_EVERY):
            seen.append(told(decoder, f"Help {between}."))
            for _ in range(between):
                told(decoder, "Help.", name="other")
        assert [m for m in seen if m] == [{"a": MetricMetadata(MetricType.COUNTER, f"Help {between}.")}]
    lost, _ = decoders()
    request = Request()
    request.series(A, (NOW, 1.0)).metadata.type = 2
    lost.decode_message(request.bytes())
    again = [lost.decode_message(request.bytes()).batch.metadata for _ in range(3 * METADATA_EVERY)]
    assert {"a": MetricMetadata(MetricType.GAUGE)} in again


@pytest.mark.parametrize(
    ("name", "kind", "family"),
    [
        ("x_bucket", 3, "x"),
        ("x_count", 5, "x"),
        ("x_bucket", 2, "x_bucket"),
        ("x_total", 1, "x_total"),
        ("x_gsum", 4, "x"),
        ("_sum", 3, "_sum"),
        ("x", 99, "x"),
    ],
)
def test_metadata_is_that_of_the_family(name, kind, family):
    """Series of classic histograms and summaries have names of their own; an unknown type is unknown."""
    decoder, _ = decoders()
    assert list(told(decoder, "Help.", kind, name)) == [family]


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize(("help", "unit"), [(500, 0), (0, 70_000), (4_000_000_000, 0)])
def test_metadata_that_points_nowhere_refuses_its_series(known, help, unit):
    """As in Prometheus; the others stay, and what is refused is counted and named."""
    decoder, registry = decoders()
    good = Request()
    good.series(A, (NOW, 1.0))
    if known:
        decoder.decode_message(good.bytes())
    request = Request()
    series = request.series(A, (NOW + 1, 1.0))
    series.metadata.type, series.metadata.help_ref, series.metadata.unit_ref = 1, help, unit
    histogram(request.series(B), NOW)
    request.message.timeseries[1].metadata.unit_ref = 99
    request.series(B, (NOW, 2.0))
    decoded = decoder.decode_message(request.bytes())
    assert rows(decoded, registry) == [row(B, NOW, 2.0)]
    assert (decoded.refused_series, decoded.refused_samples, decoded.batch.metadata) == (2, 2, {})
    where = f"help {help}, unit {unit} outside of symbols table (size 8)"
    assert decoded.reasons[0] == f"parsing metadata for series [1 2 3 4]: {where}"


def test_metadata_in_another_shape_is_read_as_well():
    """Fields in any order, and such that are unknown: the general way reads them."""
    decoder, registry = decoders()
    request = Request()
    series = request.series(A, (NOW, 1.0))
    help = request.number("Help.")
    raw = series.SerializeToString() + b"\x2a\x06" + bytes([0x18, help, 0x08, 1, 0x50, 7])
    body = b"".join(b"\x22" + bytes([len(text)]) + text.encode() for text in request.message.symbols)
    for _ in range(2):
        decoded = decoder.decode_message(body + b"\x2a" + bytes([len(raw)]) + raw)
        assert rows(decoded, registry) == [row(A, NOW, 1.0)]
        assert decoded.batch.metadata == {"a": MetricMetadata(MetricType.COUNTER, "Help.")}


def test_the_first_symbol_must_be_empty():
    """Else what is left out would get a text."""
    request = Request2(symbols=["a", ""])
    with pytest.raises(WireError, match="first symbol must be an empty string at byte 2"):
        decoders()[0].decode_message(request.SerializeToString())


def test_an_empty_request_is_one():
    """It has nothing to store."""
    for data in (b"", Request().bytes(), Request("x").bytes()):
        assert len(decoders()[0].decode_message(data).batch) == 0


def test_fields_in_another_order_and_unknown_ones():
    """Symbols may follow the series, and later versions may add fields of any kind."""
    decoder, registry = decoders()
    request = Request()
    request.series(A, (NOW, 1.0))
    request.series(B, (NOW, 2.0))
    data = request.bytes()
    at = data.index(b"\x2a")
    more = b"\x30\x05\x39" + bytes(8) + b"\x45" + bytes(4) + b"\x4a\x03abc"
    for other in (data[at:] + data[:at], more + data, data + more, data[:at] + more + data[at:]):
        assert rows(decoder.decode_message(other), registry) == [row(A, NOW, 1.0), row(B, NOW, 2.0)]
    request.message.timeseries[0].labels_refs[:] = []
    mixed = request.message.timeseries[1].SerializeToString()
    swapped = mixed[mixed.index(b"\x12") :] + mixed[: mixed.index(b"\x12")]
    data = data[:at] + b"\x2a" + bytes([len(swapped)]) + swapped
    assert rows(decoder.decode_message(data), registry) == [row(B, NOW, 2.0)]


def test_damage_names_the_place():
    """A cut request, and a series that is none, with its number and offset."""
    request = Request()
    request.series(A, (NOW, 1.0))
    data = request.bytes()
    with pytest.raises(WireError) as e:
        decoders()[0].decode_message(data + b"\x2a\x7fabc")
    assert e.value.offset == len(data)
    with pytest.raises(WireError, match="malformed series 1") as e:
        decoders()[0].decode_message(data + b"\x2a\x04\x0a\x7fab")
    assert e.value.offset == len(data) + 2
    with pytest.raises(WireError, match="not a snappy block"):
        decoders()[0].decode(b"\x05\x00")


def test_bounds(monkeypatch):
    """Of the size after decompression, before any memory is taken, and of symbols and series."""
    body = bytes(cramjam.snappy.compress_raw(bytes(1000)))
    with pytest.raises(LimitExceeded, match="1000 bytes"):
        decoders()[0].decode(body, limits=WriteLimits(999))
    crowd = Request()
    crowd.series((), (NOW, 1.0), refs=[1] * 100_000)
    crowd.series(A, (NOW, 1.0))
    decoded = decoders()[0].decode_message(crowd.bytes())
    assert (len(decoded.batch), decoded.refused_series) == (1, 1)
    assert "invalid labelRefs length 100000" in decoded.reasons[0]
    with pytest.raises(WireError, match="no field has number 0"):
        decoders()[0].decode_message(bytes(100))
    monkeypatch.setattr(remote_write_v2_split, "FIELDS_MAX", 10)
    for data in (Request(*map(str, range(20))).bytes(), b"\x30\x05" * 20):
        with pytest.raises(LimitExceeded, match="10 symbols and series"):
            decoders()[0].decode_message(data)


def test_a_guess_that_fails_costs_nothing_but_time():
    """Texts full of tags make false beginnings; whatever is guessed, the request is read as it is."""
    decoder, registry = decoders()
    texts = ['""""', '"' * 34, "*\n\n", "*" * 42 + "\n" * 10, '"\x04abcd"', "\x2a\x02\x0a\x00" * 5]
    labels = [from_mapping({"__name__": "a", "v": text}) for text in texts]
    request = Request()
    for one in labels:
        request.series(one, (NOW, 34.0))
        request.series(one, (NOW, struct.unpack("<d", b'"*"*\x0a"\x01*')[0]))
    expected = [lb for one in labels for lb in (one, one)]
    assert [r[0] for r in rows(decoder.decode_message(request.bytes()), registry)] == expected


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
TIMES = st.one_of(st.integers(-(1 << 63), (1 << 63) - 1), st.integers(NOW - 5, NOW + 5))
STARTS = st.one_of(st.just(0), TIMES)
SAMPLES = st.lists(st.tuples(TIMES, st.floats(allow_nan=False), STARTS), max_size=4)
SYMBOLS = st.lists(st.one_of(TEXT, st.sampled_from(["__name__", "a", "job"])), max_size=6)
REFS = st.lists(st.integers(0, 8), max_size=6)
METADATA = st.one_of(st.none(), st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 300)))


def naive(data):
    """Decode by the protobuf library alone; return (rows, refused series)."""
    out, refused = [], 0
    request = Request2.FromString(data)
    for ts in request.timeseries:
        refs = list(ts.labels_refs)
        if len(refs) % 2 or any(r >= len(request.symbols) for r in refs):
            refused += 1
            continue
        texts = [request.symbols[r] for r in refs]
        names, pairs = texts[::2], dict(zip(texts[::2], texts[1::2], strict=True))
        if (
            len(pairs) < len(names)
            or "" in names
            or not pairs.get("__name__")
            or not (ts.samples or ts.histograms or ts.exemplars)
        ):
            refused += 1
            continue
        labels = from_mapping({n: v for n, v in pairs.items() if v})
        out += [row(labels, s.timestamp, s.value, s.start_timestamp) for s in ts.samples]
    return out, refused


@settings(max_examples=300, deadline=None, derandomize=True)
@given(SYMBOLS, st.lists(st.tuples(REFS, SAMPLES, METADATA), max_size=5))
def test_equal_to_the_protobuf_library(symbols, series):
    """Any request gives what the protobuf library alone makes of it, cold and warm."""
    request = Request2(symbols=["", *symbols])
    for refs, samples, metadata in series:
        ts = request.timeseries.add(labels_refs=refs)
        for time, value, start in samples:
            ts.samples.add(timestamp=time, value=value, start_timestamp=start)
        if metadata:
            ts.metadata.type, ts.metadata.help_ref, ts.metadata.unit_ref = metadata
    data = request.SerializeToString()
    decoder, registry = decoders()
    expected, refused = naive(data)
    for _ in range(3):
        decoded = decoder.decode_message(data)
        assert rows(decoded, registry) == expected
        assert decoded.refused_series == refused


def good():
    """Return a request with everything in it."""
    request = Request("Help.")
    request.series(A, (NOW, 5.0)).metadata.help_ref = 1
    request.series(B, (NOW, 0.0), (NOW + 1, 1.0, NOW - 1))
    histogram(request.series(A), NOW + 5)
    request.series(A, (NOW + 6, 1.0)).exemplars.add(timestamp=NOW, value=1.0, labels_refs=[2, 3])
    return request.bytes()


@settings(max_examples=400, deadline=None, derandomize=True)
@given(st.data())
def test_damaged_requests_only_raise_wire_errors(data):
    """Changed bytes give a wire error or another request, the one that the protobuf library sees."""
    decoder, registry = decoders()
    whole = good()
    decoder.decode_message(whole)
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(damaged[: data.draw(st.integers(len(whole) // 2, len(whole)))])
    try:
        decoded = decoder.decode_message(damaged)
    except (WireError, LimitExceeded):
        return
    try:
        expected, refused = naive(damaged)
    except Exception:  # texts that are no UTF-8, and metadata that cannot be read, are no reason to refuse everything
        return
    found = [r for r in rows(decoded, registry) if r[2] != "histogram"]
    assert [r[:2] for r in found] == [r[:2] for r in expected]
    assert decoded.refused_series == refused


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.binary(max_size=80))
def test_random_bytes_only_raise_wire_errors(data):
    """Random bytes never raise anything else."""
    decoder, _ = decoders()
    for read in (decoder.decode, decoder.decode_message):
        with contextlib.suppress(WireError, LimitExceeded):
            read(data)


def test_a_large_request_equals_version_1():
    """Thousands of series, new and known, with labels that share symbols."""
    decoder, registry = decoders()
    wanted = [
        from_mapping({"__name__": f"m{i % 40}", "i": str(i), "x": "y" * (i % 50), f"n{i % 7}": "v"})
        for i in range(9000)
    ]
    for step in range(2):
        request = Request()
        for i, labels in enumerate(wanted):
            request.series(labels, (NOW + step, float(i)))
        batch = decoder.decode_message(request.bytes()).batch
        assert batch.refs.tolist() == list(range(9000))
        assert [registry.labels(r) for r in range(9000)] == wanted
        assert np.array_equal(batch.values, np.arange(9000))
