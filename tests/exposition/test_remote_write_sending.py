"""Requests of senders with many series: what goes in is what protobuf's own reader finds, in 1.0 and 2.0."""

import struct

import cramjam
import numpy as np
import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyobs.exposition.remote_write import decode
from tinyobs.exposition.remote_write_rows import Encoder1, SendRows, histogram_messages
from tinyobs.exposition.remote_write_schema import WriteRequest
from tinyobs.exposition.remote_write_v2 import Encoder2
from tinyobs.exposition.remote_write_v2_schema import Request2
from tinyobs.model.exemplars import Exemplar
from tinyobs.model.histograms import CUSTOM_SCHEMA, Histogram, ResetHint, handles, histograms_of
from tinyobs.model.labels import from_mapping
from tinyobs.model.metadata import MetricMetadata, MetricType
from tinyobs.model.registry import SeriesRegistry
from tinyobs.model.staleness import STALE_BITS, STALE_NAN

NOW = 1_790_000_000_000
A = from_mapping({"__name__": "a_total", "job": "x"})
B = from_mapping({"__name__": "b", "instance": "h" * 200, "grüße": "wörld"})
INTEGER = Histogram(
    3, 0.001, 2, 12, 18.4, ((0, 2), (1, 2)), (1, 3, 2, 0), ((-2, 1),), (4,), (), ResetHint.NO, is_integer=True
)
FLOAT = Histogram(-4, 1e-128, 0.5, 7.25, -1.0, ((-7, 3),), (1.5, 0.0, 5.25), reset_hint=ResetHint.GAUGE)
CUSTOM = Histogram(CUSTOM_SCHEMA, 0.0, 0, 6, 9.0, ((0, 1), (1, 1)), (1, 5), custom_values=(0.5, 1.0), is_integer=True)


def rows_of(samples, exemplars=None, lonely=()):
    """Return rows from (ref, time, value or histogram, start)."""
    found = [v for _, _, v, _ in samples if isinstance(v, Histogram)]
    values = np.array([0.0 if isinstance(v, Histogram) else v for _, _, v, _ in samples])
    values[[isinstance(v, Histogram) for _, _, v, _ in samples]] = handles(0, len(found))
    starts = np.array([s for *_, s in samples], np.int64)
    return SendRows(
        np.array([r for r, *_ in samples], np.uint32),
        np.array([t for _, t, _, _ in samples], np.int64),
        values,
        starts if starts.any() else None,
        histograms_of(found) if found else None,
        exemplars or {},
        lonely,
    )


def encoder(kind, series, **more):
    """Return an encoder that knows some series by their position."""
    made = kind(**more)
    for ref, labels in enumerate(series):
        made.add(ref, labels)
    return made


def bits(value):
    return struct.pack("<d", value)


def resolved(request, refs):
    """Return the labels behind references of 2.0."""
    texts = [request.symbols[i] for i in refs]
    return tuple(zip(texts[::2], texts[1::2], strict=True))


def parse2(body):
    request = Request2.FromString(body)
    assert request.SerializeToString()
    return request


def test_1_0_samples_of_any_time_and_value():
    """The quick way and the other write the same message; no bit of a value is lost, zero is a value."""
    samples = [
        (0, NOW, 1.5, 0),
        (1, NOW, STALE_NAN, 0),
        (0, 5, 0.0, 0),
        (1, -7, -0.0, 0),
        (0, 1 << 62, float("inf"), 0),
    ]
    request = WriteRequest.FromString(encoder(Encoder1, [A, B]).encode(rows_of(samples)))
    assert [s.samples[0].timestamp for s in request.timeseries] == [t for _, t, _, _ in samples]
    assert [bits(s.samples[0].value) for s in request.timeseries] == [bits(v) for _, _, v, _ in samples]
    labels = [tuple((x.name.decode(), x.value.decode()) for x in s.labels) for s in request.timeseries]
    assert labels == [A, B, A, B, A]


def test_1_0_is_read_by_our_receiver():
    """Histograms, exemplars with their sample and lonely ones come out as they went in."""
    e = Exemplar(0, from_mapping({"trace_id": "t"}), 2.0, NOW - 1)
    lone = Exemplar(1, from_mapping({"trace_id": "u"}), 3.0, NOW)
    body = encoder(Encoder1, [A, B]).encode(
        rows_of([(0, NOW, 1.0, 0), (0, NOW + 1, INTEGER, 0), (0, NOW + 2, FLOAT, 0)], {0: [e]}, [lone])
    )
    registry = SeriesRegistry()
    decoded = decode(bytes(cramjam.snappy.compress_raw(body)), registry)
    assert not decoded.reasons
    batch = decoded.batch
    assert [batch.histograms.one(i) for i in range(2)] == [INTEGER, FLOAT]
    assert [(registry.labels(x.ref), x.labels, x.value) for x in batch.exemplars] == [
        (A, e.labels, 2.0),
        (B, lone.labels, 3.0),
    ]


def test_2_0_symbols_are_unique_and_begin_with_nothing():
    """The table has every text once, "" first; each reference is one of its places."""
    about = MetricMetadata(MetricType.COUNTER, "job", "")  # a help text that is a label name as well
    made = encoder(Encoder2, [A, B], metadata_of={"a_total": about}.get)
    request = parse2(made.encode(rows_of([(0, NOW, 1.0, 0), (1, NOW, 2.0, 0), (0, NOW + 1, 3.0, 0)])))
    assert request.symbols[0] == ""
    assert len(set(request.symbols)) == len(request.symbols)
    assert [resolved(request, s.labels_refs) for s in request.timeseries] == [A, B, A]
    first = request.timeseries[0]
    assert (first.metadata.type, request.symbols[first.metadata.help_ref], first.metadata.unit_ref) == (1, "job", 0)
    assert not request.timeseries[1].HasField("metadata")


def test_2_0_a_text_that_is_not_used_is_not_sent():
    """Only symbols of the request's own series are there, though the encoder knows more."""
    request = parse2(encoder(Encoder2, [A, B]).encode(rows_of([(0, NOW, 1.0, 0)])))
    assert list(request.symbols) == ["", "__name__", "a_total", "job", "x"]


def test_2_0_has_start_times_histograms_and_exemplars():
    """All fields of samples and histograms; exemplars share the table of symbols, and lonely ones are left out."""
    e = Exemplar(0, from_mapping({"trace_id": "t", "job": "x"}), 2.0, NOW - 1)
    samples = [(0, NOW, 1.0, NOW - 500), (1, NOW, INTEGER, NOW - 600), (1, NOW + 1, FLOAT, 0), (1, NOW + 2, CUSTOM, 7)]
    samples += [(0, 7, 2.0, 3), (0, NOW + 9, 2.0, -1), (0, NOW + 10, 2.0, 0)]
    made = encoder(Encoder2, [A, B])
    request = parse2(made.encode(rows_of(samples, {0: [e]}, [e])))
    series = request.timeseries
    assert len(series) == len(samples)
    assert [(s.timestamp, s.start_timestamp, s.value) for x in series for s in x.samples] == [
        (NOW, NOW - 500, 1.0),
        (7, 3, 2.0),
        (NOW + 9, -1, 2.0),
        (NOW + 10, 0, 2.0),
    ]
    assert [(h.timestamp, h.start_timestamp, h.schema) for x in series for h in x.histograms] == [
        (NOW, NOW - 600, 3),
        (NOW + 1, 0, -4),
        (NOW + 2, 7, CUSTOM_SCHEMA),
    ]
    assert list(series[3].histograms[0].custom_values) == [0.5, 1.0]
    assert all(not (x.samples and x.histograms) for x in series)
    (sent,) = series[0].exemplars
    assert (resolved(request, sent.labels_refs), sent.value, sent.timestamp) == (e.labels, 2.0, NOW - 1)
    assert list(parse2(made.encode(rows_of([(0, NOW, 1.0, 0)]))).symbols) == ["", "__name__", "a_total", "job", "x"]


def test_2_0_many_symbols():
    """References of one, two and three bytes."""
    series = [from_mapping({"__name__": f"n{i}", "x": f"v{i}"}) for i in range(9000)]
    request = parse2(encoder(Encoder2, series).encode(rows_of([(i, NOW, float(i), 0) for i in range(9000)])))
    assert [resolved(request, s.labels_refs) for s in request.timeseries] == series


def test_metadata_is_asked_for_again_when_it_has_changed():
    """`forget_metadata` is enough."""
    known = {}
    made = encoder(Encoder2, [A], metadata_of=known.get)
    rows = rows_of([(0, NOW, 1.0, 0)])
    assert not parse2(made.encode(rows)).timeseries[0].HasField("metadata")
    known["a_total"] = MetricMetadata(MetricType.GAUGE, "h", "u")
    made.forget_metadata()
    request = parse2(made.encode(rows))
    about = request.timeseries[0].metadata
    assert (about.type, request.symbols[about.help_ref], request.symbols[about.unit_ref]) == (2, "h", "u")


@pytest.mark.parametrize("kind", [Encoder1, Encoder2])
def test_a_series_that_is_not_known(kind):
    """It is an error of the caller; `clear` forgets all."""
    made = encoder(kind, [A])
    assert 0 in made
    assert len(made) == 1
    made.clear()
    assert 0 not in made
    with pytest.raises(KeyError):
        made.encode(rows_of([(0, NOW, 1.0, 0)]))


@pytest.mark.parametrize("kind", [Encoder1, Encoder2])
def test_histograms_can_be_encoded_beforehand(kind):
    """In a thread, where there are many; the request is the same."""
    rows = rows_of([(0, NOW, 1.0, 0), (1, NOW, INTEGER, NOW - 7), (0, NOW + 1, FLOAT, 0), (1, NOW + 1, CUSTOM, 0)])
    messages = histogram_messages(rows)
    assert sorted(messages) == [1, 2, 3]
    made = encoder(kind, [A, B])
    assert made.encode(evolve(rows, messages=messages)) == made.encode(rows)
    assert not evolve(rows, messages=messages).take(np.array([1])).messages


def test_rows_can_be_taken():
    """Exemplars go with their sample, starts and histograms as well."""
    e = Exemplar(0, (), 1.0, NOW)
    rows = rows_of([(0, NOW, 1.0, 5), (1, NOW, INTEGER, 6), (2, NOW, 3.0, 7)], {1: [e]})
    part = rows.take(np.array([1, 2]))
    assert (part.refs.tolist(), part.starts_ms.tolist(), dict(part.exemplars)) == ([1, 2], [6, 7], {0: [e]})
    assert (rows.histogram_count, part.histogram_count, rows.take(np.array([2])).histogram_count) == (1, 1, 0)
    assert (rows.exemplar_count, rows.take(np.array([0])).exemplar_count) == (1, 0)


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6)
label_sets = st.dictionaries(texts, texts, min_size=1, max_size=5).map(from_mapping)
times = st.integers(-(1 << 63), (1 << 63) - 1) | st.integers(NOW, NOW + 1000)
values = st.floats(width=64) | st.sampled_from([INTEGER, FLOAT])


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_what_goes_in_comes_out(data):
    """Any labels, times, values, starts: read back by upb, both messages say the same as the rows."""
    series = data.draw(st.lists(label_sets, min_size=1, max_size=4))
    sample = st.tuples(st.integers(0, len(series) - 1), times, values, st.sampled_from([0, 1, NOW, -5]))
    samples = data.draw(st.lists(sample, max_size=8))
    rows = rows_of(samples)
    request = parse2(encoder(Encoder2, series).encode(rows))
    old = WriteRequest.FromString(encoder(Encoder1, series).encode(rows))
    assert len(request.timeseries) == len(old.timeseries) == len(samples)
    for (ref, time, value, start), two, one in zip(samples, request.timeseries, old.timeseries, strict=True):
        assert resolved(request, two.labels_refs) == series[ref]
        assert tuple((x.name.decode(), x.value.decode()) for x in one.labels) == series[ref]
        (found,) = two.samples or two.histograms
        (earlier,) = one.samples or one.histograms
        assert (found.timestamp, found.start_timestamp, earlier.timestamp) == (time, start, time)
        if isinstance(value, Histogram):
            assert (found.sum, found.schema, found.count_int or found.count_float) == (
                value.sum,
                value.schema,
                value.count,
            )
        else:
            assert bits(found.value) == bits(earlier.value)
            assert bits(found.value) == bits(value) or value != value


def test_the_staleness_marker_is_sent_bit_by_bit():
    """It is a NaN like no other."""
    rows = rows_of([(0, NOW, STALE_NAN, 0)])
    (series,) = WriteRequest.FromString(encoder(Encoder1, [A]).encode(rows)).timeseries
    (series2,) = parse2(encoder(Encoder2, [A]).encode(rows)).timeseries
    assert struct.unpack("<Q", bits(series.samples[0].value)) == (STALE_BITS,)
    assert struct.unpack("<Q", bits(series2.samples[0].value)) == (STALE_BITS,)
