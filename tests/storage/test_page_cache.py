"""The page cache: a budget in bytes, least recently used out first."""

from __future__ import annotations

import pytest

from tinyobs.storage.page_cache import PageCache


def test_the_least_recently_used_goes_first():
    """What was not asked for longest is dropped when the budget is exceeded."""
    cache = PageCache(100)
    for key in "abc":
        cache.get((0, key), lambda key=key: (key, 40)) if key != "c" else None
    cache.get((0, "a"), lambda: ("again", 40))
    cache.get((0, "c"), lambda: ("c", 40))
    assert cache.get((0, "a"), lambda: ("new", 40)) == "a"
    assert cache.get((0, "b"), lambda: ("new", 40)) == "new"
    assert cache.statistics().bytes <= 100


def test_a_value_beyond_the_budget_is_given_but_not_kept():
    """One huge page does not empty the cache."""
    cache = PageCache(100)
    cache.get((0, "small"), lambda: (1, 10))
    assert cache.get((0, "huge"), lambda: (2, 1000)) == 2
    assert cache.statistics().entries == 1


def test_an_owner_leaves_with_all_it_has():
    """Closing a segment drops its pages and no others."""
    cache = PageCache(100)
    cache.get((1, "x"), lambda: (1, 10))
    cache.get((2, "x"), lambda: (2, 10))
    cache.forget(1)
    assert cache.statistics().bytes == 10
    assert cache.get((2, "x"), lambda: (3, 10)) == 2


def test_figures_count_hits_and_misses():
    """Hits, misses, entries and bytes are counted."""
    cache = PageCache(100)
    for _ in range(3):
        cache.get((1, "x"), lambda: (1, 10))
    s = cache.statistics()
    assert (s.hits, s.misses, s.entries, s.bytes) == (2, 1, 1, 10)


def test_an_error_while_making_is_passed_on_and_nothing_kept():
    """A damaged page is not cached."""
    cache = PageCache(100)

    def fail():
        raise KeyError("damaged")

    with pytest.raises(KeyError):
        cache.get((1, "x"), fail)
    assert cache.statistics().entries == 0
