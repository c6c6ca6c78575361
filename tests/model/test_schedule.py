"""When targets are scraped."""

from __future__ import annotations

from collections import Counter

import pytest

from tinyobs.model.schedule import BEATS_MS, TARGETS_PER_BEAT_MAX, beat_ms, next_tick_ms, phase_ms


@pytest.mark.parametrize(
    ("count", "interval_ms", "beat"),
    [
        (1, 15_000, 1000),
        (200, 10_000, 1000),
        (1000, 10_000, 250),
        (20_000, 10_000, 10),
        (200_000, 10_000, 1),
        (1, 1000, 100),
        (1, 50, 1),
        (0, 10_000, 1000),
    ],
)
def test_the_beat_follows_the_number_of_targets(count: int, interval_ms: int, beat: int) -> None:
    """Few targets come together every second, or ten times an interval; many are spread more finely."""
    assert beat_ms(count, interval_ms) == beat


def test_no_beat_is_crowded() -> None:
    """On average no more targets come at one beat than the limit says."""
    for count in (1, 10, 100, 1000, 10_000):
        beat = beat_ms(count, 10_000)
        assert beat == 1 or count * beat / 10_000 <= TARGETS_PER_BEAT_MAX
        assert beat == 1 or beat in BEATS_MS


def test_phases_are_on_beats_and_cover_the_interval() -> None:
    """All beats of an interval get about as many targets, and the phase of a target depends on nothing else."""
    phases = [phase_ms(f"target {i}", "host", 10_000, 1000) for i in range(2000)]
    counts = Counter(phases)
    assert sorted(counts) == list(range(0, 10_000, 1000))
    assert min(counts.values()) > 120
    assert phases[7] == phase_ms("target 7", "host", 10_000, 1000)
    assert phases[7] == phase_ms("target 7", "host", 10_000) // 1000 * 1000
    assert phases != [phase_ms(f"target {i}", "other", 10_000, 1000) for i in range(2000)]


def test_a_tick_is_strictly_in_the_future() -> None:
    """Asked at a tick, the next one is an interval away."""
    assert next_tick_ms(25_000, 10_000, 5000) == 35_000
    assert next_tick_ms(24_999, 10_000, 5000) == 25_000
