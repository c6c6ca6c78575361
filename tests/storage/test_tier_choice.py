"""Which tier answers which stretch: rules one by one, and laws of every choice."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyobs.model.matchers import name_is
from tinyobs.model.select_hints import SelectHints
from tinyobs.storage.deletes import Delete
from tinyobs.storage.manifest import SegmentEntry
from tinyobs.storage.tiers import (
    TIER_LEVEL,
    TierView,
    choose,
    is_stale,
    kept_fresh,
    preference,
    united,
    widened,
)

W, H = 300_000, 3_600_000
WIDTHS = [W, H]
DAY = 24 * H


def raw(sequence, mint, maxt):
    return SegmentEntry(sequence, 1, mint, maxt, 1, 1, 1)


def tier(sequence, after, until, source, width=W):
    level = TIER_LEVEL + 4
    return SegmentEntry(
        sequence, level, after + 1, until, 1, 1, 1, tier_ms=width, covers=(after + 1, until), source=source
    )


@pytest.mark.parametrize(
    ("hints", "wanted"),
    [
        (None, [0]),
        (SelectHints("rate", 0, H, H), [H, W, 0]),
        (SelectHints("rate", 0, H, W), [W, 0, H]),
        (SelectHints("rate", 1, H, W), [0, W, H]),
        (SelectHints("rate", 1, H, 4 * W), [W, 0, H]),
        (SelectHints("rate", 0, W - 1, H), [0, W, H]),
        (SelectHints("rate", 7, 0, 4 * H), [H, W, 0]),
        (SelectHints("rate", 7, 0, H), [W, 0, H]),
        (SelectHints("", 7, 0, W), [0, W, H]),
        (SelectHints("", 7, H, W), [W, 0, H]),
        (SelectHints("", 0, H, W), [H, W, 0]),
        (SelectHints("", 0, 60_000, W), [0, W, H]),
        (SelectHints("irate", 0, H, 4 * H), [0, W, H]),
        (SelectHints("[]", 0, 0, DAY), [0, W, H]),
        (SelectHints("rate", 0, H, DAY, 0), [0]),
        (SelectHints("irate", 0, 15_000, 60_000, W), [W, 0, H]),
        (SelectHints("rate", 0, 15_000, 60_000, H), [H, W, 0]),
        (SelectHints("rate", 0, 15_000, 60_000, 60_000), [0, W, H]),
    ],
)
def test_the_order_of_preference(hints, wanted):
    """The coarsest tier that serves, raw samples, then the finest that is left; a resolution overrides."""
    assert preference(WIDTHS, hints) == wanted


def view(whole_from=10 * DAY + 1, fresh_until=20 * DAY):
    everything = {W: [(5 * DAY, 20 * DAY)], H: [(0, 20 * DAY)]}
    fresh = {w: [(a, min(b, fresh_until)) for a, b in spans] for w, spans in everything.items()}
    return TierView((), whole_from, fresh, everything)


def shape(choice):
    return [(s.after_ms, s.until_ms, s.width) for s in choice.stretches]


def test_each_stretch_has_its_tier():
    """Short steps read the coarse tier, then the fine one, then raw samples, as far as each is there."""
    hints = SelectHints("rate", 2 * DAY, 60_000, H)
    found = choose(view(), hints, 2 * DAY - H + 1, 30 * DAY)
    assert shape(found) == [(2 * DAY - H, 5 * DAY, H), (5 * DAY, 10 * DAY, W), (10 * DAY, 30 * DAY, 0)]
    assert found.resolution_ms == H
    assert found.rounding is not None
    assert found.rounding.widths.tolist() == [H, W, 1]


def test_the_newest_is_raw():
    """Behind the end of a tier come raw samples, and aligned windows need no rounding."""
    found = choose(view(), SelectHints("rate", 12 * DAY, H, H), 12 * DAY - H + 1, 30 * DAY)
    assert shape(found) == [(12 * DAY - H, 20 * DAY, H), (20 * DAY, 30 * DAY, 0)]
    assert found.rounding is None


def test_one_window_has_raw_ends():
    """Whole buckets in the middle, raw samples at both ends, and nothing is rounded."""
    at = 15 * DAY + 1234
    found = choose(view(), SelectHints("rate", at, 0, DAY), at - DAY + 1, at)
    assert shape(found) == [(at - DAY, 14 * DAY + H, 0), (14 * DAY + H, 15 * DAY, H), (15 * DAY, at, 0)]
    assert found.rounding is None


def test_stale_tiers_stand_behind_raw_samples():
    """Where newer raw samples came, these are read, unless older ones are gone."""
    found = choose(view(fresh_until=15 * DAY), SelectHints("rate", 12 * DAY, H, H), 12 * DAY - H + 1, 18 * DAY)
    assert shape(found) == [(12 * DAY - H, 15 * DAY, H), (15 * DAY, 18 * DAY, 0)]


HINTS = st.builds(
    SelectHints,
    st.sampled_from(["", "rate", "irate", "sum_over_time", "[]"]),
    st.integers(0, 30 * DAY),
    st.sampled_from([0, 15_000, W, H, 7 * H // 5]),
    st.sampled_from([60_000, W, H, H + 1, DAY]),
    st.sampled_from([None, None, 0, W, H]),
)


@settings(max_examples=300, deadline=None)
@given(HINTS, st.integers(0, 60), st.integers(-DAY, 25 * DAY), st.integers(0, 25 * DAY))
def test_stretches_cover_the_range(hints, steps, whole, fresh):
    """Stretches follow on one another from the begin to the end, and their borders fit the buckets on both sides."""
    end = hints.first_ms + steps * hints.step_ms
    mint = hints.first_ms - hints.range_ms + 1
    found = choose(view(whole // H * H + 1, fresh // DAY * DAY), hints, mint, end)
    rows = found.stretches
    assert rows[0].after_ms <= mint - 1
    assert rows[-1].until_ms == end
    for a, b in pairwise(rows):
        assert a.until_ms == b.after_ms
        for s in (a, b):
            assert not s.width or a.until_ms % s.width == 0
    if hints.resolution_ms is None and 0 < hints.step_ms < W:
        assert all(s.width == 0 or s.after_ms < whole for s in rows)


def test_what_makes_a_tier_stale():
    """Newer raw samples in its stretch do; rewriting the old ones does not."""
    t = tier(5, 0, DAY, source=3)
    a, b, late = raw(2, 1, DAY), raw(3, DAY, 2 * DAY), raw(9, DAY, DAY)
    assert not is_stale(t, [a, b, raw(9, DAY + 1, 2 * DAY)])
    assert is_stale(t, [a, b, late])
    merged = raw(10, 1, 2 * DAY)
    assert kept_fresh([a, b, t], [a, b], [merged], [merged, t])[1].source == 10
    assert kept_fresh([a, b, t, late], [a, b, late], [merged], [merged, t])[1].source == 3
    assert kept_fresh([a, t], [], [late], [a, t, late])[1].source == 3


def test_spans_are_united():
    """Spans that touch become one, empty ones go."""
    assert united([(5, 9), (0, 3), (3, 4), (7, 12), (20, 20)]) == [(0, 4), (5, 12)]


def test_a_delete_takes_whole_buckets_of_a_tier():
    """Its range grows to the borders of buckets; that of raw segments stays."""
    delete = Delete(9, W + 2, 2 * W - 1, ((name_is("x"),),))
    assert widened(delete, raw(1, 0, DAY)) is delete
    wide = widened(delete, tier(1, 0, DAY, 0))
    assert (wide.mint_ms, wide.maxt_ms, wide.below) == (W + 1, 2 * W, 9)
    assert widened(Delete(9, W, W, ()), tier(1, 0, DAY, 0)).mint_ms == 1
