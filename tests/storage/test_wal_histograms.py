"""The log records of histograms, start times and exemplars: everything comes back bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from engine_cases import float_histogram, histogram
from hypothesis import given
from hypothesis import strategies as st

from tinyobs.model.histograms import histograms_of, is_handle
from tinyobs.storage import wal_format, wal_layouts
from tinyobs.storage.samples import Samples, concatenate_samples
from tinyobs.storage.wal_exemplars import (
    StoredExemplar,
    cut_exemplars,
    decode_exemplars,
    decode_labels,
    encode_exemplars,
    encode_labels,
)
from tinyobs.storage.wal_histograms import Previous, decode_histograms, encode_histograms, plain_record
from tinyobs.storage.wal_layouts import LayoutTable

POINTS = st.one_of(
    st.integers(0, 2**64 - 1).map(lambda bits: np.uint64(bits).view(np.float64).item()),
    st.integers(0, 9).map(histogram),
    st.integers(0, 9).map(float_histogram),
    st.integers(0, 9).map(lambda k: float_histogram(k, custom=True)),
)
BATCHES = st.lists(
    st.lists(st.tuples(POINTS, st.integers(-(2**63), 2**63 - 1)), min_size=3, max_size=3), min_size=1, max_size=5
)


def samples_from(points):
    """Samples of (value or histogram, start time)."""
    own = [v for v, _ in points if not isinstance(v, float)]
    values = np.array([v if isinstance(v, float) else 0.0 for v, _ in points])
    bits = values.view(np.uint64)
    bits[(bits >> np.uint64(48)) == 0xFFFD] = 0  # floats that would mean a histogram never get here
    bits[[not isinstance(v, float) for v, _ in points]] = np.arange(len(own), dtype=np.uint64) | np.uint64(0xFFFD << 48)
    starts = np.array([s for _, s in points], np.int64)
    table = histograms_of(own) if own else None
    return Samples(np.arange(len(points), dtype=np.int64), values, table, starts if starts.any() else None)


def same(a, b):
    """Whether two samples hold the same."""
    tables = (a.histograms, b.histograms)
    return (
        a.times_ms.tolist() == b.times_ms.tolist()
        and a.values.tobytes() == b.values.tobytes()
        and (a.starts_ms is None) == (b.starts_ms is None)
        and (a.starts_ms is None or a.starts_ms.tolist() == b.starts_ms.tolist())
        and (tables[0] is None) == (tables[1] is None)
        and (tables[0] is None or tables[0].words.tolist() == tables[1].words.tolist())
    )


@given(BATCHES, st.sampled_from([0, 20, 10_000]))
def test_batches_of_a_layout_come_back(batches, words_max):
    """Any row of batches, plain ones between others, is read as it was written, whatever the writer remembers."""
    table, known = LayoutTable(), Previous()
    layout = table.find(np.arange(3, dtype=np.uint32))
    before, wal_layouts.WORDS_MAX = wal_layouts.WORDS_MAX, words_max
    try:
        for points in batches:
            samples = samples_from(points)
            kind, payload = table.encode(layout, samples)
            assert (kind == wal_format.RecordType.SAMPLES) == samples.is_plain
            view = memoryview(payload)
            record = plain_record(wal_format.decode_samples(view)) if samples.is_plain else decode_histograms(view)
            assert same(record.resolve(known), samples)
    finally:
        wal_layouts.WORDS_MAX = before


def test_a_steady_histogram_costs_little():
    """What did not change since the layout's last batch takes next to nothing."""
    previous = Previous()
    samples = samples_from([(histogram(i), 1_700_000_000_000) for i in range(200)])
    first, again = (len(encode_histograms(0, samples, previous, 10**6)) for _ in range(2))
    assert again < first / 5


@given(BATCHES.map(lambda b: b[0]), st.data())
def test_a_damaged_record_is_a_value_error(points, data):
    """Bytes changed behind the compression are refused or give a batch, never another exception."""
    samples = samples_from([*points, (histogram(1), 5)])
    plain = bytearray(wal_format.unpack_payload(memoryview(encode_histograms(0, samples, Previous(), 0))))
    at = data.draw(st.integers(0, len(plain) - 1))
    plain[at] ^= data.draw(st.integers(1, 255))
    try:
        got = decode_histograms(memoryview(wal_format.pack_payload(bytes(plain)))).resolve(Previous())
    except (ValueError, wal_format.struct.error):
        return
    assert len(got) == len(got.values)


def test_a_record_against_nothing_is_refused():
    """A record that builds on a batch which the reader has not seen is damage."""
    previous = Previous()
    samples = samples_from([(histogram(1), 5)])
    encode_histograms(0, samples, previous, 10**6)
    record = decode_histograms(memoryview(encode_histograms(0, samples, previous, 10**6)))
    with pytest.raises(ValueError, match="before"):
        record.resolve(Previous())


def test_samples_with_and_without_tables_are_joined():
    """Joining batches renumbers handles and fills start times."""
    parts = [samples_from([(1.0, 0)]), samples_from([(histogram(1), 7), (2.0, 0)]), samples_from([(histogram(2), 0)])]
    got = concatenate_samples(parts)
    assert is_handle(got.values).tolist() == [False, True, False, True]
    assert [got.histograms.one(i) for i in range(2)] == [histogram(1), histogram(2)]
    assert got.starts_ms.tolist() == [0, 7, 0, 0]


LABELS = st.lists(st.tuples(st.text(max_size=9), st.text(max_size=9)), max_size=4).map(tuple)


@given(
    st.lists(
        st.builds(
            StoredExemplar,
            st.integers(0, 2**32 - 1),
            st.integers(-(2**63), 2**63 - 1),
            st.floats(allow_nan=False),
            st.integers(0, 1),
            LABELS.map(encode_labels),
        ),
        max_size=9,
    ),
    st.integers(1, 200),
)
def test_exemplars_come_back(exemplars, bytes_max):
    """Any exemplars, in records of bounded size."""
    got = []
    for part in cut_exemplars(exemplars, bytes_max):
        numbers, found = decode_exemplars(memoryview(encode_exemplars(part)))
        assert numbers.tolist() == [e.ref for e in found]
        got += found
    assert got == exemplars


@given(LABELS)
def test_labels_of_exemplars_come_back(labels):
    """Any texts, none and empty ones included."""
    assert decode_labels(encode_labels(labels)) == labels


@given(st.binary(max_size=80))
def test_noise_is_no_record(noise):
    """Bytes that pass the checksum but are no record raise what the reader turns into a CorruptionError."""
    for decode in (decode_histograms, decode_exemplars):
        for payload in (noise, wal_format.pack_payload(noise)):
            try:
                decode(memoryview(payload))
            except (ValueError, LookupError, wal_format.struct.error):
                continue
            assert payload is not noise
