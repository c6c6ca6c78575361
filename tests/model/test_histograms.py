"""Native histograms: words and back, tables and handles, columns of numbers."""

from __future__ import annotations

import math
from contextlib import suppress
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyobs.model.histograms import (
    HANDLE_PREFIX,
    NO_HISTOGRAMS,
    Histogram,
    Histograms,
    ResetHint,
    comparable_bits,
    from_blobs,
    handles,
    histograms_of,
    is_handle,
    joined,
    numbers_of,
    pack,
    renumbered,
    shifted,
    stale_histogram,
    unpack,
    without_handles,
)
from tinyobs.model.staleness import NORMAL_NAN_BITS, STALE_NAN, is_stale

FLOATS = st.floats(allow_nan=False)
SPANS = st.lists(st.tuples(st.integers(-(1 << 31), (1 << 31) - 1), st.integers(0, 4)), max_size=4).map(tuple)


@st.composite
def any_histogram(draw):
    """Draw a histogram of either kind, with any numbers that fit together."""
    is_integer = draw(st.booleans())
    count = st.integers(0, (1 << 64) - 1) if is_integer else FLOATS
    sides = []
    for spans in (draw(SPANS), draw(SPANS)):
        sides += [spans, tuple(draw(count) for _ in range(sum(n for _, n in spans)))]
    numbers = (draw(st.integers(-128, 127)), draw(FLOATS), draw(count), draw(count), draw(FLOATS))
    custom = tuple(draw(st.lists(FLOATS, max_size=3)))
    return Histogram(*numbers, *sides, custom, draw(st.sampled_from(ResetHint)), is_integer)


TABLES = st.lists(any_histogram(), max_size=6)


@settings(max_examples=150, deadline=None)
@given(any_histogram())
def test_words_and_back(h):
    """A histogram survives packing, whatever its numbers are."""
    assert unpack(pack(h)) == h
    assert len(pack(h)) % 8 == 0


@settings(max_examples=150, deadline=None)
@given(TABLES)
def test_columns_equal_the_fields_of_each(parts):
    """What a table says in columns is what its histograms say one by one."""
    table = histograms_of(parts)
    table.validate()
    assert table.schemas().tolist() == [h.schema for h in parts]
    assert table.reset_hints().tolist() == [h.reset_hint for h in parts]
    assert table.are_integers().tolist() == [h.is_integer for h in parts]
    assert table.zero_thresholds().tolist() == [h.zero_threshold for h in parts]
    assert table.zero_counts().tolist() == [float(h.zero_count) for h in parts]
    assert table.counts().tolist() == [float(h.count) for h in parts]
    assert table.sums().tolist() == [h.sum for h in parts]


def indexes_of(spans):
    """Return the bucket indexes of spans, one by one."""
    out, at = [], 0
    for gap, length in spans:
        at += gap
        out += range(at, at + length)
        at += length
    return out


@settings(max_examples=150, deadline=None)
@given(TABLES)
def test_buckets_equal_those_of_each(parts):
    """Bucket indexes, sides and counts of a table are those of its histograms one by one."""
    buckets = histograms_of(parts).buckets()
    assert len(buckets.offsets) == len(parts) + 1
    for i, h in enumerate(parts):
        mine = slice(int(buckets.offsets[i]), int(buckets.offsets[i + 1]))
        assert buckets.indexes[mine].tolist() == indexes_of(h.positive_spans) + indexes_of(h.negative_spans)
        assert buckets.negative[mine].tolist() == [False] * len(h.positive_buckets) + [True] * len(h.negative_buckets)
        assert buckets.counts[mine].tolist() == [float(c) for c in (*h.positive_buckets, *h.negative_buckets)]


@settings(max_examples=100, deadline=None)
@given(TABLES, st.data())
def test_conversions_equal_those_of_each(parts, data):
    """Float counts, other hints and chosen histograms are made for all at once as for each."""
    table = histograms_of(parts)
    floats = table.to_float()
    assert not floats.are_integers().any()
    for i, h in enumerate(parts):
        got = floats.one(i)
        assert got.positive_buckets == tuple(map(float, h.positive_buckets))
        assert got.negative_buckets == tuple(map(float, h.negative_buckets))
        assert (got.zero_count, got.count, got.sum) == (float(h.zero_count), float(h.count), h.sum)
        assert (got.positive_spans, got.custom_values, got.schema) == (h.positive_spans, h.custom_values, h.schema)
        assert (got.reset_hint, got.zero_threshold) == (h.reset_hint, h.zero_threshold)
    hints = data.draw(st.lists(st.sampled_from(ResetHint), min_size=len(parts), max_size=len(parts)))
    hinted = table.with_reset_hints(np.array(hints, np.int64))
    assert hinted.reset_hints().tolist() == hints
    assert hinted.with_reset_hints(table.reset_hints()).words.tolist() == table.words.tolist()
    numbers = data.draw(st.lists(st.integers(0, len(parts) - 1), max_size=5)) if parts else []
    taken = table.take(np.array(numbers, np.int64))
    assert [taken.one(i) for i in range(len(taken))] == [parts[n] for n in numbers]


@settings(max_examples=200, deadline=None)
@given(st.lists(any_histogram(), min_size=1, max_size=3), st.data())
def test_validate_agrees_with_unpack(parts, data):
    """A table with any words changed is refused exactly when one of its histograms cannot be unpacked."""
    table = histograms_of(parts)
    words, offsets = table.words.copy(), table.offsets.copy()
    at = data.draw(st.integers(0, len(words) - 1))
    words[at] ^= np.uint64(1 << data.draw(st.integers(0, 63)))
    if data.draw(st.booleans()):
        offsets[-1] -= 1
        words = words[:-1]
    try:
        Histograms(offsets, words).validate()
    except ValueError:
        with pytest.raises(ValueError):
            [unpack(words[a:b].tobytes()) for a, b in pairwise(offsets.tolist())]
    else:
        for a, b in pairwise(offsets.tolist()):
            unpack(words[a:b].tobytes())


def test_offsets_that_fit_no_words_are_refused():
    """Offsets that do not begin at 0, do not end with the words or do not ascend are refused."""
    table = histograms_of([stale_histogram()] * 2)
    for offsets in ([0, 5], [1, 5, 10], [0, 5, 11], [0, 8, 10], [0, 12, 10]):
        with pytest.raises(ValueError, match="cut short"):
            Histograms(np.array(offsets), table.words).validate()
    NO_HISTOGRAMS.validate()


@pytest.mark.parametrize(
    ("histogram", "reason"),
    [
        (Histogram(0, 0.0, 0, 0, 0.0, ((0, 2),), (1,), is_integer=True), "differ in number"),
        (Histogram(0, 0.0, 0, -1, 0.0, is_integer=True), "out of range"),
        (Histogram(0, 0.0, 0, 1.5, 0.0, is_integer=True), "out of range"),
        (Histogram(0, 0.0, 0.0, 1.0, 0.0, ((1 << 31, 0),)), "out of range"),
        (Histogram(300, 0.0, 0.0, 1.0, 0.0), "schema 300"),
        (Histogram(0, 0.0, 0.0, 1.0, 0.0, custom_values=(1.0,) * 70_000), "too many custom"),
        (Histogram(0, 0.0, 0.0, 1.0, 0.0, ((0, 0),) * 70_000), "too many spans"),
    ],
)
def test_what_cannot_be_packed_has_its_reason(histogram, reason):
    """A histogram that fits no words raises ValueError and says why."""
    with pytest.raises(ValueError, match=reason):
        pack(histogram)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=100))
def test_random_bytes_raise_only_value_errors(data):
    """Any bytes are a histogram that packs to itself, or ValueError."""
    with suppress(ValueError):
        assert len(pack(unpack(data))) == len(data)


def test_broken_words_are_refused():
    """Packed histograms that are not whole words make no table."""
    with pytest.raises(ValueError, match="broken words"):
        from_blobs([pack(stale_histogram()), b"12345678901"])


# -- handles ---------------------------------------------------------------------------------------------------


def test_handles_are_told_from_all_floats():
    """Handles are NaN, no ordinary float or NaN is taken for one, and numbers come back."""
    values = np.concatenate([handles(3, 6), [1.0, math.nan, -math.nan, math.inf, STALE_NAN]])
    assert np.isnan(values[:3]).all()
    assert is_handle(values).tolist() == [True] * 3 + [False] * 5
    assert numbers_of(values).tolist() == [3, 4, 5, -1, -1, -1, -1, -1]
    assert numbers_of(shifted(values, 10)).tolist() == [13, 14, 15, -1, -1, -1, -1, -1]
    assert shifted(values, 0) is values
    assert int(handles(0, 1).view(np.uint64)[0]) >> 48 == HANDLE_PREFIX


def test_renumbering_keeps_what_stands_where():
    """Handles are counted in order of appearance, and the numbers they had are told."""
    values = np.array([handles(7, 8)[0], 1.0, handles(2, 3)[0], handles(7, 8)[0]])
    got, numbers = renumbered(values)
    assert numbers.tolist() == [7, 2, 7]
    assert numbers_of(got).tolist() == [0, -1, 1, 2]
    same, none = renumbered(values[1:2])
    assert same.tolist() == [1.0]
    assert len(none) == 0


def test_columns_with_tables_are_joined():
    """Joined columns point into one table; columns without a table keep their floats."""
    a, b = (Histogram(0, 0.0, 0.0, float(i), 0.0) for i in (1, 2))
    values, table = joined(
        [(handles(0, 1), histograms_of([a])), (np.array([5.0]), None), (handles(0, 1), histograms_of([b]))]
    )
    assert numbers_of(values).tolist() == [0, -1, 1]
    assert [table.one(i) for i in range(2)] == [a, b]
    assert joined([(np.array([1.0]), None), (np.array([2.0]), None)])[1] is None


def test_samples_compare_by_what_they_are():
    """Equal histograms under different numbers compare equal, different ones do not; floats compare by bits."""
    a, b = (Histogram(0, 0.0, 0.0, float(i), 0.0) for i in (1, 2))
    table = histograms_of([a, b, a])
    bits = comparable_bits(np.concatenate([handles(0, 3), [1.0]]), table)
    assert bits[0] == bits[2] != bits[1]
    assert bits[3] == np.float64(1.0).view(np.uint64)


def test_stored_floats_are_no_handles():
    """A float sample with the bits of a handle becomes the ordinary NaN; others are returned as they are."""
    values = np.concatenate([handles(0, 1), [1.0]])
    assert without_handles(values).view(np.uint64)[0] == NORMAL_NAN_BITS
    fine = np.array([1.0, STALE_NAN])
    assert without_handles(fine) is fine


def test_the_stale_histogram_has_the_marker_as_its_sum():
    """The marker of a series of histograms is seen in the column of sums."""
    assert is_stale(histograms_of([stale_histogram()]).sums()).all()
