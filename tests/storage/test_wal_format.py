"""The payloads of the log: every column comes back bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyobs.model.metadata import MetricMetadata, MetricType
from tinyobs.storage import wal_format as fmt
from tinyobs.storage.samples import Samples

TIMES = st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=50)
TEXT = st.text(max_size=20)


def view(data):
    return memoryview(data)


@given(TIMES, st.data())
def test_samples_come_back(times, data):
    """Any times and any bits of values, with and without a previous column."""
    n = len(times)
    words = st.lists(st.integers(0, 2**64 - 1), min_size=n, max_size=n)
    bits = np.array(data.draw(words), np.uint64)
    previous = np.array(data.draw(words), np.uint64)
    for before in (None, previous):
        payload = fmt.encode_samples(7, Samples(np.array(times, np.int64), bits.view(np.float64)), before)
        record = fmt.decode_samples(view(payload))
        assert record.layout == 7
        assert record.times_ms.tolist() == times
        assert (record.bits if before is None else record.bits ^ previous).tolist() == bits.tolist()


@given(st.lists(st.tuples(TEXT, TEXT), max_size=20))
def test_pairs_come_back(pairs):
    """Any texts, in any language."""
    ids = np.arange(len(pairs), dtype=np.uint32) * 3
    got_ids, got = fmt.decode_pairs(view(fmt.encode_pairs(ids, pairs)))
    assert got_ids.tolist() == ids.tolist()
    assert got == pairs


@given(st.lists(st.lists(st.integers(0, 2**32 - 1), max_size=9), max_size=20))
def test_series_come_back(series):
    """Series of any number of pairs, none included."""
    starts = np.cumsum([0, *map(len, series)]).astype(np.uint64)
    ids = np.array([i for s in series for i in s], np.uint32)
    numbers = np.arange(len(series), dtype=np.uint32)[::-1]
    record = fmt.decode_series(view(fmt.encode_series(fmt.SeriesRecord(numbers, starts, ids))))
    assert record.numbers.tolist() == numbers.tolist()
    assert record.starts.tolist() == starts.tolist()
    assert record.pair_ids.tolist() == ids.tolist()


def test_layout_newest_and_metadata_come_back():
    """The smaller records."""
    refs = np.array([5, 1, 2**32 - 2], np.uint32)
    layout, got = fmt.decode_layout(view(fmt.encode_layout(9, refs)))
    assert (layout, got.tolist()) == (9, refs.tolist())
    newest = fmt.NewestRecord(refs, np.array([-1, 0, 2**62]), np.array([0.5, -0.0, np.inf]))
    back = fmt.decode_newest(view(fmt.encode_newest(newest)))
    assert (back.numbers.tolist(), back.times_ms.tolist()) == (refs.tolist(), [-1, 0, 2**62])
    assert back.values.tobytes() == newest.values.tobytes()
    known = {"a": MetricMetadata(MetricType.HISTOGRAM, 'h\n"é', "s"), "": MetricMetadata()}
    assert fmt.decode_metadata(view(fmt.encode_metadata(known))) == known


def test_a_payload_that_claims_too_much_is_refused():
    """No memory is taken for a size beyond the limit."""
    payload = (fmt.DECODED_BYTES_MAX + 1).to_bytes(4, "little") + fmt.encode_metadata({})[4:]
    with pytest.raises(ValueError, match="limit"):
        fmt.decode_metadata(view(payload))


@given(st.binary(max_size=80))
def test_noise_is_a_value_error(noise):
    """Bytes that pass the checksum but are no record raise what the reader turns into a CorruptionError."""
    for decode in (fmt.decode_pairs, fmt.decode_series, fmt.decode_layout, fmt.decode_samples, fmt.decode_newest):
        with pytest.raises((ValueError, fmt.struct.error)):
            decode(view(noise))
