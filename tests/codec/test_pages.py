"""Pages: every bit comes back, whatever is stored, and damage is noticed."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyobs.codec.compression import DENSE, FAST
from tinyobs.codec.pages import HEADER, decode_page, encode_block, encode_page
from tinyobs.model.ragged import offsets_of
from tinyobs.model.staleness import NORMAL_NAN_BITS, STALE_BITS

BITS = st.one_of(
    st.sampled_from(
        [0, 1 << 63, STALE_BITS, NORMAL_NAN_BITS, 0x7FF0000000000000, 0xFFF0000000000000, 1, (1 << 64) - 1]
    ),
    st.integers(0, (1 << 64) - 1),
    st.one_of(st.floats(), st.integers(-(10**6), 10**6).map(lambda i: i / 100), st.integers(-(1 << 63), 1 << 63)).map(
        lambda v: int(np.array([v], np.float64).view(np.uint64)[0])
    ),
)
TIMES = st.lists(st.integers(-(1 << 63), (1 << 63) - 1), unique=True, max_size=30).map(sorted)


@st.composite
def rows(draw):
    """Draw up to 12 rows, some of which share their timestamps."""
    columns = draw(st.lists(TIMES, min_size=1, max_size=4))
    picked = draw(st.lists(st.sampled_from(columns), max_size=12))
    times = [np.array(t, np.int64) for t in picked]
    values = []
    for t in times:
        few = draw(st.lists(BITS, min_size=1, max_size=5))
        values.append(np.array([few[i * i % len(few)] for i in range(len(t))], np.uint64))
    return times, values


def flat(parts, dtype):
    """Return the rows as one array, and their offsets."""
    return np.concatenate([np.empty(0, dtype), *parts]), offsets_of(np.array([len(p) for p in parts], np.int64))


def check(times, values, level=FAST):
    """Encode and decode rows, compare every bit, and return the page."""
    t, offsets = flat(times, np.int64)
    v, _ = flat(values, np.uint64)
    page = decode_page(encode_page(offsets, t, v.view(np.float64), level))
    got_offsets, got_t, got_v, *_ = page.read()
    np.testing.assert_array_equal(got_offsets, offsets)
    np.testing.assert_array_equal(got_t, t)
    np.testing.assert_array_equal(got_v.view(np.uint64), v)
    return page


@settings(max_examples=150, deadline=None)
@given(rows(), st.sampled_from([FAST, DENSE]))
def test_any_bits_at_any_time_come_back(drawn, level):
    """Values of every bit pattern at every int64 time survive encoding, in rows of any length."""
    check(*drawn, level)


@settings(max_examples=80, deadline=None)
@given(rows(), st.data())
def test_chosen_rows_equal_the_same_rows_of_the_whole(drawn, data):
    """Reading some rows gives what reading all gives for them."""
    times, values = drawn
    page = check(times, values)
    chosen = sorted(data.draw(st.sets(st.integers(0, len(times) - 1)))) if times else []
    offsets, t, v, *_ = page.read(np.array(chosen, np.int64))
    want_t, want_offsets = flat([times[i] for i in chosen], np.int64)
    want_v, _ = flat([values[i] for i in chosen], np.uint64)
    np.testing.assert_array_equal(offsets, want_offsets)
    np.testing.assert_array_equal(t, want_t)
    np.testing.assert_array_equal(v.view(np.uint64), want_v)


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_reading_a_range_equals_filtering(data):
    """Time ranges and chosen rows, of even and uneven rows with one or several timestamp columns, are what filtering gives."""
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    even, shared = data.draw(st.booleans()), data.draw(st.booleans())
    rows = data.draw(st.integers(1, 6))
    columns = [np.cumsum(rng.integers(1, 9, 25)) for _ in range(3)]
    times = [columns[0 if shared else i % 3][: 25 if even else rng.integers(0, 26)] for i in range(rows)]
    values = [np.round(rng.normal(0, 9, len(t)), 1) for t in times]
    for v in values:
        if len(v) > 20:
            v[rng.integers(0, len(v))] = np.nan
    first, last = data.draw(st.tuples(st.integers(-5, 150), st.integers(-5, 150)))
    chosen = sorted(data.draw(st.sets(st.integers(0, rows - 1))))
    page = decode_page(encode_page(flat(times, np.int64)[1], flat(times, np.int64)[0], flat(values, np.float64)[0]))
    for picked in (None, chosen):
        got = page.read(None if picked is None else np.array(picked, np.int64), first, last)
        mine = range(rows) if picked is None else picked
        inside = [(times[i] >= first) & (times[i] <= last) for i in mine]
        want_t, want_offsets = flat([times[i][w] for i, w in zip(mine, inside, strict=True)], np.int64)
        want_v, _ = flat([values[i][w] for i, w in zip(mine, inside, strict=True)], np.float64)
        for a, b in zip(got[:3], (want_offsets, want_t, want_v), strict=True):
            np.testing.assert_array_equal(a, b)


def workload(rng, rows, k):
    """Return counters, decimals, gauges and constants as a monitoring agent sees them, one row after another."""
    kinds = [
        lambda: np.cumsum(rng.poisson(50, k)) + 1e9,
        lambda: np.round(np.cumsum(rng.random(k) * 15), 2),
        lambda: np.round(rng.normal(0, 1e6, k)) * 4096,
        lambda: np.full(k, 3.0),
        lambda: rng.random(k),
    ]
    return [kinds[i % len(kinds)]() for i in range(rows)]


@pytest.mark.parametrize("level", [FAST, DENSE])
def test_a_realistic_page_is_exact_and_small(level):
    """Rows of ordinary metrics come back exactly; regular timestamps and constants take next to no space."""
    rng = np.random.default_rng(1)
    values = np.array(workload(rng, 60, 240))
    values[7, -1] = np.array([STALE_BITS], np.uint64).view(np.float64)[0]
    times = np.broadcast_to(np.arange(240) * 15_000 + 1_700_000_000_000, values.shape)
    data = encode_block(times, values, level)
    _, t, v, *_ = decode_page(data).read()
    np.testing.assert_array_equal(t, times.reshape(-1))
    np.testing.assert_array_equal(v.view(np.uint64), values.reshape(-1).view(np.uint64))
    constants = np.full_like(values, 3.0)
    assert len(encode_block(times, constants, level)) < 250
    assert len(data) < 2.6 * values.size


def test_a_stale_marker_costs_a_patch_not_a_row():
    """A decimal row that ends in a staleness marker stays decimal."""
    values = np.round(np.cumsum(np.full((1, 100), 0.07), axis=1), 2)
    plain = len(encode_block(np.arange(100)[None, :], values))
    values[0, -1] = np.array([STALE_BITS], np.uint64).view(np.float64)[0]
    assert len(encode_block(np.arange(100)[None, :], values)) < plain + 50


def test_jittered_timestamps_are_stored_once_for_all_rows_of_a_target():
    """Rows that share irregular timestamps cost one column, not one each."""
    rng = np.random.default_rng(2)
    column = np.arange(200) * 15_000 + rng.integers(-9, 9, 200)
    other = column + 5_000
    values = np.zeros((50, 200))
    one = len(encode_block(column[None, :], values[:1]))
    many = len(encode_block(np.array([column, other] * 25), values))
    assert many < 2 * one + 200


def test_rows_of_uint32_offsets_are_taken():
    """The head's uint32 time offsets need no conversion by the caller."""
    times = np.array([[0, 5, 4_000_000_000]], np.uint32)
    _, t, *_ = decode_page(encode_block(times, np.array([[1.0, 2.0, 3.0]]))).read()
    assert t.tolist() == [0, 5, 4_000_000_000]


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_changed_bytes_are_noticed(data):
    """A page with any byte changed, cut or appended raises ValueError."""
    rng = np.random.default_rng(3)
    good = encode_block(np.arange(40)[None, :].repeat(5, 0), np.array(workload(rng, 5, 40)))
    bad = bytearray(good)
    match data.draw(st.sampled_from(["flip", "cut", "add"])):
        case "flip":
            bad[data.draw(st.integers(0, len(bad) - 1))] ^= data.draw(st.integers(1, 255))
        case "cut":
            del bad[data.draw(st.integers(0, len(bad) - 1)) :]
        case "add":
            bad += data.draw(st.binary(min_size=1, max_size=9))
    with pytest.raises(ValueError):
        decode_page(bytes(bad))


def resealed(page):
    """Return a page with its checksum put right."""
    checksum = zlib.crc32(page[HEADER.size :], zlib.crc32(page[8 : HEADER.size], zlib.crc32(page[:4])))
    return bytes(page[:4]) + checksum.to_bytes(4, "little") + bytes(page[8:])


@pytest.mark.parametrize(
    ("at", "byte", "seal", "reason"),
    [
        (0, 0, True, "not a page"),
        (1, 2, True, "version 2, kind 1 is not known"),
        (2, 3, True, "version 1, kind 3 is not known"),
        (2, 2, True, "sections 0 are not known"),
        (8, 1, True, "another length"),
        (15, 0x80, True, "too many rows"),
        (22, 0x80, True, "row table cut short"),
        (16, 0xFF, True, "more patches than samples"),
        (30, 0xFF, False, "checksum does not fit"),
    ],
)
def test_each_kind_of_damage_has_its_reason(at, byte, seal, reason):
    """The table of damage in the format document: what is wrong is what the error says."""
    bad = bytearray(encode_block(np.arange(4)[None, :], np.array([[0.5, 0.75, 1.5, 1.25]])))
    bad[at] = byte
    with pytest.raises(ValueError, match=reason):
        decode_page(resealed(bad) if seal else bytes(bad))
