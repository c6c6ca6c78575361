"""Floats as scaled integers, and shared timestamp columns: the choices that make pages small."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyobs.codec.floats import BITS, to_floats, to_integers
from tinyobs.codec.timestamps import share
from tinyobs.model.ragged import offsets_of
from tinyobs.model.staleness import STALE_NAN


def rows(*lists):
    """Return (values, offsets) of lists of floats."""
    return np.array([v for r in lists for v in r], np.float64), offsets_of(np.array([len(r) for r in lists], np.int64))


def restore(scaled, counts):
    """Return the values of scaled rows, patches applied."""
    values = to_floats(scaled.integers, scaled.scales, counts)
    values.view(np.uint64)[scaled.patched] = scaled.patches
    return values


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.lists(
            st.one_of(
                st.floats(), st.integers(-(10**9), 10**9).map(lambda i: i / 1000), st.just(STALE_NAN), st.just(-0.0)
            ),
            max_size=40,
        ),
        max_size=8,
    )
)
def test_every_bit_comes_back(lists):
    """Rows of decimals, specials and arbitrary floats are restored bit by bit."""
    values, offsets = rows(*lists)
    got = restore(to_integers(values, offsets), np.diff(offsets))
    np.testing.assert_array_equal(got.view(np.uint64), values.view(np.uint64))


def test_the_least_scale_is_found():
    """Rows of n decimals are scaled by 10^n; a row of irrational numbers is stored as bits."""
    lists = [[1.0, 2.0, 3.0], [0.5, 0.25, 7.0], [0.1, 0.2, 1e9], np.sqrt(np.arange(2.0, 9.0)).tolist(), [1e300, 2e300]]
    scaled = to_integers(*rows(*lists))
    assert scaled.scales.tolist() == [0, 2, 1, BITS, BITS]
    assert scaled.integers[3:6].tolist() == [50, 25, 700]


def test_digits_that_the_sample_missed_are_noticed():
    """One value with more digits than those looked at first raises the scale of its row."""
    row = [1.5] * 200
    row[77] = 1.125
    scaled = to_integers(*rows(row, [2.0] * 10))
    assert scaled.scales.tolist() == [3, 0]
    assert len(scaled.patched) == 0


def test_specials_in_a_decimal_row_are_patched():
    """NaN, infinities, -0.0 and staleness markers among decimals cost a patch each."""
    row = [0.5] * 100
    row[3], row[50], row[99] = float("nan"), -0.0, STALE_NAN
    scaled = to_integers(*rows(row))
    assert scaled.scales.tolist() == [1]
    assert scaled.patched.tolist() == [3, 50, 99]
    assert set(scaled.integers.tolist()) == {5}


def test_a_row_of_specials_is_stored_as_bits():
    """Where patches would be too many, the bits themselves are the integers."""
    scaled = to_integers(*rows([float("nan"), 1.0, float("inf")]))
    assert scaled.scales.tolist() == [BITS]
    assert len(scaled.patched) == 0


def test_equal_timestamp_rows_share_a_column():
    """Rows with the same timestamps, of whatever length, are found; others are kept apart."""
    a, b = [1, 5, 9], [1, 5, 10]
    times = np.array(a + b + a + [1, 5] + b, np.int64)
    columns, distinct, offsets = share(times, np.array([0, 3, 6, 9, 9, 11, 14]))
    assert columns[0] == columns[2] != columns[1] == columns[5]
    assert len(offsets) - 1 == 4
    for row, want in zip(columns, [a, b, a, [], [1, 5], b], strict=True):
        assert distinct[offsets[row] : offsets[row + 1]].tolist() == want


def test_a_collision_of_signatures_costs_space_only(monkeypatch):
    """When different rows have one signature, no column is shared and nothing is lost."""
    monkeypatch.setattr("tinyobs.codec.timestamps._signatures", lambda t, o: np.zeros(len(o) - 1, np.uint64))
    times = np.array([1, 2, 3, 4], np.int64)
    columns, distinct, offsets = share(times, np.array([0, 2, 4]))
    assert columns.tolist() == [0, 1]
    assert (distinct.tolist(), offsets.tolist()) == ([1, 2, 3, 4], [0, 2, 4])
