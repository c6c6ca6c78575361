"""Rows that are decimal but for rounding: found where it pays, exact, small, and read in parts like any other."""

from __future__ import annotations

import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyobs.codec.compression import DENSE, FAST
from tinyobs.codec.floats import BITS, NEAR, to_integers
from tinyobs.codec.near_decimals import ROW_MIN, find_near_decimals
from tinyobs.codec.pages import CORRECTIONS, HEADER, decode_page, encode_block, encode_page
from tinyobs.model.ragged import offsets_of
from tinyobs.model.staleness import STALE_BITS

COUNT = 120


def summed(rng, count=COUNT):
    """Return a running sum of nanoseconds in seconds, as a program adds it up."""
    return np.cumsum(rng.integers(10**5, 10**7, count) / 1e9)


def multiplied(rng, count=COUNT):
    """Return rising milliseconds turned to seconds by a product, which rounds otherwise than a quotient."""
    return np.cumsum(rng.integers(0, 99, count)) * 0.001


def noise(rng, count=COUNT):
    """Return floats without any decimal structure."""
    return rng.normal(1, 1, count)


def decimals(rng, count=COUNT):
    """Return exact decimals."""
    return np.round(rng.normal(50, 9, count), 2)


def find(*rows):
    """Return what `find_near_decimals` makes of rows."""
    offsets = offsets_of(np.array([len(r) for r in rows]))
    values = np.concatenate(rows)
    return find_near_decimals(values, offsets, to_integers(values, offsets))


def test_sums_and_products_are_found_and_nothing_else():
    """A sum of nanoseconds has scale 9, scaled milliseconds 3; noise stays bits and decimals stay exact."""
    rng = np.random.default_rng(1)
    scaled, corrections, offsets = find(summed(rng), noise(rng), multiplied(rng), decimals(rng))
    assert scaled.scales.tolist() == [NEAR + 9, BITS, NEAR + 3, 2]
    assert np.diff(offsets).tolist() == [COUNT, COUNT]
    assert 0 < np.abs(corrections).max() < 100


def test_short_rows_are_left_alone():
    """Two rows of a few integers would cost more than a few floats."""
    rng = np.random.default_rng(1)
    scaled, corrections, _ = find(multiplied(rng, ROW_MIN - 1))
    assert scaled.scales.tolist() == [BITS]
    assert not len(corrections)


def test_a_stale_marker_is_patched():
    """What is no number at the end of a series does not keep its row from being nearly decimal."""
    row = multiplied(np.random.default_rng(1))
    row[-1:].view(np.uint64)[0] = STALE_BITS
    scaled, corrections, _ = find(row)
    assert scaled.scales.tolist() == [NEAR + 3]
    assert scaled.patched.tolist() == [COUNT - 1]
    assert scaled.patches.tolist() == [STALE_BITS]
    assert corrections[-1] == 0


def test_a_row_of_many_holes_stays_as_it_is():
    """A row that would need too many patches is not replaced, its neighbour is."""
    rng = np.random.default_rng(1)
    holes = multiplied(rng)
    holes[::7] = np.nan
    scaled, _, offsets = find(holes, multiplied(rng))
    assert scaled.scales.tolist() == [BITS, NEAR + 3]
    assert len(scaled.patched) == 0
    assert offsets.tolist() == [0, COUNT]


def test_dense_pages_of_sums_are_small():
    """Corrections make sums and products less than half as large as their bits; quick pages do without."""
    rng = np.random.default_rng(2)
    values = np.array([make(rng, 960) for make in [summed, multiplied] * 8])
    times = np.broadcast_to(np.arange(960) * 15_000, values.shape)
    dense, fast = encode_block(times, values, DENSE), encode_block(times, values, FAST)
    assert (dense[3], fast[3]) == (CORRECTIONS, 0)
    assert 2 * len(dense) < len(fast)


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_pages_with_corrections_read_like_any_other(data):
    """Chosen rows in a range of time, of even and uneven rows and with patches, are what filtering gives, bit by bit."""
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    makes = data.draw(st.lists(st.sampled_from([summed, multiplied, noise, decimals]), min_size=1, max_size=6))
    even = data.draw(st.booleans())
    values = [make(rng, 50 if even else int(rng.integers(20, 80))) for make in makes]
    for v in values:
        v[rng.random(len(v)) < 0.02] = data.draw(st.sampled_from([np.nan, np.inf, -0.0, 1e300, 5.0]))
    times = [np.arange(len(v)) * 7 for v in values]
    offsets = offsets_of(np.array([len(v) for v in values]))
    page = decode_page(encode_page(offsets, np.concatenate(times), np.concatenate(values), DENSE))
    first, last = data.draw(st.tuples(st.integers(-5, 300), st.integers(0, 600)))
    chosen = sorted(data.draw(st.sets(st.integers(0, len(makes) - 1))))
    for rows, low, high in ((None, -1, 10**6), (None, first, last), (np.array(chosen, np.int64), first, last)):
        got = page.read(rows, low, high)[2]
        picked = range(len(makes)) if rows is None else chosen
        want = [values[i][(times[i] >= low) & (times[i] <= high)] for i in picked]
        np.testing.assert_array_equal(got.view(np.uint64), np.concatenate([np.empty(0), *want]).view(np.uint64))


def test_a_page_without_its_corrections_is_refused():
    """A page whose scales ask for corrections that it does not have, or the reverse, is damaged."""
    rng = np.random.default_rng(1)
    page = bytearray(encode_block(np.arange(COUNT)[None], multiplied(rng)[None], DENSE))
    assert page[2:4] == bytes([2, CORRECTIONS])
    page[2], page[3] = 1, 0
    page[4:8] = struct.pack(
        "<I", zlib.crc32(page[HEADER.size :], zlib.crc32(page[8 : HEADER.size], zlib.crc32(page[:4])))
    )
    with pytest.raises(ValueError, match="a row and its corrections differ in length"):
        decode_page(bytes(page))


def test_the_example_of_the_format_document():
    """The third worked example of page.md decodes to the products that it claims, corrected where it says."""
    text = (Path(__file__).resolve().parents[2] / "docs" / "format" / "page.md").read_text()
    block = re.findall(r"```hex\n(.*?)```", text, re.DOTALL)[2]
    page = decode_page(bytes.fromhex("".join(line.partition(" ")[2] for line in block.splitlines())))
    _, times, values, *_ = page.read()
    k = np.arange(32)
    thousandths = 300 + 7 * k * k
    assert values.tolist() == (thousandths * 0.001).tolist()
    assert np.flatnonzero(values != thousandths / 1000).tolist() == [4, 5, 27, 30]
    assert times.tolist() == (1000 + 15_000 * k).tolist()
