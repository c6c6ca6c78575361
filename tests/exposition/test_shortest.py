"""Shortest decimals in bulk: the same digits as `repr`, or no answer."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinyobs.exposition import shortest


def check(values: np.ndarray, decided_min: float = 0.0) -> None:
    """Every decided text is that of `repr` in plain notation; enough are decided."""
    texts, decided = shortest.texts(values)
    for value, text, known in zip(values.tolist(), texts.tolist(), decided.tolist(), strict=True):
        if known:
            expected = format(Decimal(repr(value)), "f")
            expected = expected.removesuffix(".0")
            assert text.decode() == expected
    assert decided.mean() >= decided_min


@pytest.mark.parametrize(
    ("name", "values", "decided_min"),
    [
        ("random", lambda r: r.random(20_000) * 100, 0.999),
        ("all sizes", lambda r: 10 ** r.uniform(-6, 15.9, 20_000), 0.97),
        ("negative", lambda r: -r.random(20_000), 0.999),
        ("rates", lambda r: r.integers(1, 10**9, 20_000) / 300.0, 0.99),
        ("few digits", lambda r: r.integers(1, 10**6, 20_000) / 10.0 ** r.integers(0, 6, 20_000), 0.99),
        ("15 digits", lambda r: r.integers(10**14, 10**15, 20_000) / 10.0 ** r.integers(0, 15, 20_000), 0.99),
        ("16 digits", lambda r: r.integers(10**15, 9 * 10**15, 20_000) / 10.0 ** r.integers(0, 15, 20_000), 0.9),
        ("integers", lambda r: r.integers(0, 10**15, 20_000).astype(float), 0.99),
    ],
)
def test_the_digits_are_those_of_repr(name: str, values: object, decided_min: float) -> None:
    """For values of the kinds that metrics have; nearly all are decided."""
    check(values(np.random.default_rng(7)), decided_min)  # type: ignore[operator]


def test_neighbours_of_special_values() -> None:
    """Powers of two and ten with the floats beside them, where intervals are lopsided and exponents change."""
    centres = np.concatenate([2.0 ** np.arange(-20, 53), 10.0 ** np.arange(-6, 16)])
    near = [centres]
    for direction in (np.inf, -np.inf):
        moved = centres
        for _ in range(5):
            moved = np.nextafter(moved, direction)
            near.append(moved)
    check(np.concatenate(near), 0.8)


@given(hnp.arrays(np.float64, st.integers(1, 50), elements=st.floats(1e-6, 1e16, exclude_max=True)))
@settings(max_examples=200, deadline=None)
def test_any_floats_in_the_range(values: np.ndarray) -> None:
    """Whatever the mix, decided texts are right, with either sign."""
    check(values)
    check(-values)


@given(hnp.arrays(np.float64, st.integers(1, 20)))
@settings(max_examples=100, deadline=None)
def test_floats_outside_the_range_are_undecided(values: np.ndarray) -> None:
    """Infinities, NaN, the very large and the very small are left to others; zero is known."""
    check(values)
    size = np.abs(values)
    outside = ~((size >= shortest.LOWEST) & (size < shortest.HIGHEST)) & (values != 0.0)
    assert not shortest.texts(values)[1][outside].any()


def test_zero_and_negative_zero() -> None:
    """The sign of a zero is for the caller to write."""
    texts, decided = shortest.texts(np.array([0.0, -0.0]))
    assert texts[0] == b"0"
    assert decided.tolist() == [True, False]


def test_the_longest_text_fits() -> None:
    """Sign, leading zeros and seventeen digits."""
    texts, decided = shortest.texts(np.array([-1.2345678901234567e-06, -1234567890.1234567]))
    assert texts.tolist() == [b"-0.0000012345678901234567", b"-1234567890.1234567"]
    assert decided.all()
    assert len(texts[0]) == shortest.TEXT_BYTES
