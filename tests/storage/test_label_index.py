"""The label index: selection agrees with testing every series, whatever the matchers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyobs.model.labels import from_mapping, get
from tinyobs.model.matchers import Matcher, MatchType
from tinyobs.model.registry import SeriesRegistry
from tinyobs.storage import index
from tinyobs.storage.index import LabelIndex
from tinyobs.storage.series_index import SORTED_MAX, SeriesIndex

NAMES = ["__name__", "a", "b", "ü"]
VALUES = ["x", "xy", "y", "1", "10", "z.z", "\U0001f600"]
SERIES = st.lists(st.dictionaries(st.sampled_from(NAMES), st.sampled_from(VALUES), min_size=1), max_size=30).map(
    lambda ds: list(dict.fromkeys(from_mapping(d) for d in ds))
)
PATTERNS = [
    "x",
    "x|y",
    "|x",
    "x.*",
    ".*y",
    ".+",
    ".*",
    "",
    "1.",
    "x.?",
    "(x|1)0?",
    "nothing",
    "z\\.z",
    "[xy]+",
    "10|1|none",
]
MATCHERS = st.lists(
    st.one_of(
        st.builds(
            Matcher,
            st.sampled_from([MatchType.EQUAL, MatchType.NOT_EQUAL]),
            st.sampled_from([*NAMES, "c"]),
            st.sampled_from([*VALUES, ""]),
        ),
        st.builds(
            Matcher,
            st.sampled_from([MatchType.REGEX, MatchType.NOT_REGEX]),
            st.sampled_from([*NAMES, "c"]),
            st.sampled_from(PATTERNS),
        ),
    ),
    max_size=4,
)


def build(series):
    """Return the index of label sets, by way of a registry."""
    registry = SeriesRegistry()
    registry.intern_many(series)
    return LabelIndex.build([registry.pair(i) for i in range(registry.pair_count)], *registry.flat_pairs())


@settings(max_examples=300, deadline=None)
@given(SERIES, MATCHERS)
def test_match_agrees_with_testing_every_series(series, matchers):
    """The series found are those for which every matcher holds, absent labels counting as empty."""
    want = [i for i, s in enumerate(series) if all(m.matches(get(s, m.name)) for m in matchers)]
    found = build(series).match(matchers)
    assert found.dtype == np.uint32
    assert found.tolist() == want


@settings(max_examples=100, deadline=None)
@given(SERIES, st.data())
def test_names_and_values_of_chosen_series(series, data):
    """label_names and label_values list what the chosen series carry, sorted."""
    built = build(series)
    chosen = sorted(data.draw(st.sets(st.sampled_from(range(len(series)))))) if series else []
    numbers = np.array(chosen, np.uint32)
    assert built.label_names(numbers) == sorted({n for i in chosen for n, _ in series[i]})
    assert built.label_names() == sorted({n for s in series for n, _ in s})
    for name in NAMES:
        assert built.label_values(name, numbers) == sorted({get(series[i], name) for i in chosen} - {""})
        assert built.label_values(name) == sorted({get(s, name) for s in series} - {""})


def test_chunked_building_keeps_postings_ascending(monkeypatch):
    """Building in many chunks gives the same postings as in one."""
    rng = np.random.default_rng(5)
    series = [from_mapping({"a": str(rng.integers(9)), "b": str(i), "__name__": f"m{i % 7}"}) for i in range(500)]
    whole = build(series)
    monkeypatch.setattr(index, "CHUNK_POSTINGS", 64)
    parts = build(series)
    for name in whole.names():
        for one, two in zip(
            whole.postings(name, 0, len(whole.values(name))),
            parts.postings(name, 0, len(parts.values(name))),
            strict=True,
        ):
            np.testing.assert_array_equal(one, two)


def test_an_empty_index_finds_nothing():
    """No series, no result, no error."""
    built = build([])
    assert built.match([]).tolist() == []
    assert built.match([Matcher(MatchType.NOT_EQUAL, "a", "x")]).tolist() == []
    assert built.label_names() == []


def test_unused_pairs_are_left_out():
    """Pairs that no series of the index carries (the registry knows more) do not show as values."""
    built = LabelIndex.build([("a", "gone"), ("a", "x")], np.array([0, 1], np.uint64), np.array([1], np.uint32))
    assert built.label_values("a") == ["x"]
    assert built.pair_count == 1


@pytest.mark.parametrize("literal", ["host-1|host-2", "host-1.*", "host-12"])
def test_shortcuts_of_expressions_agree_with_the_expression(literal):
    """Literals and prefixes are looked up; the result is that of the expression."""
    series = [from_mapping({"h": f"host-{i}"}) for i in range(50)]
    m = Matcher(MatchType.REGEX, "h", literal)
    assert build(series).match([m]).tolist() == [i for i, s in enumerate(series) if m.matches(get(s, "h"))]


def test_many_series_of_which_some_are_new_are_ordered_by_ranks():
    """They are ranked by whoever asks first, and the order is that of their labels."""
    registry = SeriesRegistry()
    series = [(("__name__", f"m{i * 7919 % 1000}"), ("i", str(i))) for i in range(SORTED_MAX + 2000)]
    registry.intern_many(series[:SORTED_MAX])
    index = SeriesIndex(registry)
    while index.tidy(force=True):
        pass
    refs = registry.intern_many(series)
    assert len(index.ranks) == SORTED_MAX
    ordered = [series[i] for i in index.order(refs).tolist()]
    assert ordered == sorted(series)
    assert len(index.ranks) == len(series)
    few = refs[-50:]
    registry.intern((("__name__", "zz"),))
    assert [series[len(series) - 50 + i] for i in index.order(few).tolist()] == sorted(series[-50:])
