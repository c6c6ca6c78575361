"""Coarser and more compact forms of native histograms."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyobs.model.histogram_checks import fault_of
from tinyobs.model.histogram_resolution import compacted, indexed, limited, reduced, schema_of_factor
from tinyobs.model.histograms import CUSTOM_SCHEMA, Histogram


@st.composite
def histograms(draw):
    """A sound integer histogram with buckets on both sides, empty ones and empty spans among them."""
    sides = []
    for _ in range(2):
        lengths = draw(st.lists(st.integers(0, 5), max_size=4))
        spans = tuple(
            (draw(st.integers(-9, 9)) if not i else draw(st.integers(0, 4)), n) for i, n in enumerate(lengths)
        )
        sides.append((spans, tuple(draw(st.integers(0, 3)) for _ in range(sum(lengths)))))
    (positive, ups), (negative, downs) = sides
    count = sum(ups) + sum(downs) + 2
    return Histogram(draw(st.integers(-3, 8)), 0.5, 2, count, 1.0, positive, ups, negative, downs, is_integer=True)


def counts(spans, buckets):
    """Return count by index, without empty buckets."""
    return {i: c for i, c in indexed(spans, buckets) if c}


@given(histograms(), st.integers(0, 2))
def test_compacting_changes_no_count(h, empty_max):
    """Empty buckets go, but for short runs between others; what is left is the same, and sound."""
    made = compacted(h, empty_max)
    assert fault_of(made) == ""
    for spans, buckets, before in (
        (made.positive_spans, made.positive_buckets, (h.positive_spans, h.positive_buckets)),
        (made.negative_spans, made.negative_buckets, (h.negative_spans, h.negative_buckets)),
    ):
        assert counts(spans, buckets) == counts(*before)
        assert all(n for _, n in spans)
        assert all(offset > 0 for offset, _ in spans[1:])
    assert empty_max or all(made.positive_buckets + made.negative_buckets)
    assert compacted(made, empty_max) == made


@given(histograms(), st.integers(0, 4))
def test_reducing_merges_neighbours(h, steps):
    """Each step takes bucket i to bucket ceil(i / 2); many steps at once are the same as one after another."""
    made, slowly = reduced(h, h.schema - steps), h
    for _ in range(steps):
        slowly = reduced(slowly, slowly.schema - 1)
    assert made == slowly
    wanted = {}
    for i, c in counts(h.positive_spans, h.positive_buckets).items():
        coarse = -(-i // 2**steps)
        wanted[coarse] = wanted.get(coarse, 0) + c
    assert counts(made.positive_spans, made.positive_buckets) == wanted
    assert (made.count, made.schema) == (h.count, h.schema - steps)


@given(histograms(), st.integers(1, 8))
def test_a_limited_histogram_has_so_few_buckets(h, buckets_max):
    """It is no coarser than it must be, and where the coarsest has too many there is none."""
    made = limited(h, buckets_max)
    coarser = [reduced(h, schema) for schema in range(h.schema, -5, -1)]
    fitting = [c for c in coarser if len(c.positive_buckets) + len(c.negative_buckets) <= buckets_max]
    assert made == (fitting[0] if fitting else None)


def test_custom_buckets_are_not_merged():
    """Their bounds are what they are."""
    h = Histogram(CUSTOM_SCHEMA, 0.0, 0, 3, 1.0, ((0, 3),), (1, 1, 1), custom_values=(1.0, 2.0), is_integer=True)
    assert reduced(h, -4) is h
    assert limited(h, 2) is None
    assert limited(h, 3) is h


@pytest.mark.parametrize(
    ("factor", "schema"),
    [
        (65536, -4), (1e300, -4), (float("inf"), -4), (256, -3), (16, -2), (4, -1), (2, 0), (1.4, 1), (1.1, 2), (1.09, 3),
        (1.04, 4), (1.02, 5), (1.01, 6), (1.005, 7), (1.002, 8), (1.0000001, 8), (1, 8), (0, 8), (-1, 8), (float("nan"), 8),
    ],
)  # fmt: skip
def test_schemas_of_factors(factor, schema):
    """The finest schema whose buckets grow by that factor at least, within what is stored."""
    assert schema_of_factor(factor) == schema
