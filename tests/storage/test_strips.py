"""Strips against `assemble.py`, which knows nothing of shared timestamps."""

from __future__ import annotations

import numpy as np
import pytest

from tinyobs.codec.pages import decode_page, encode_page
from tinyobs.model.histograms import Histogram, handles, histograms_of
from tinyobs.model.ragged import offsets_of
from tinyobs.storage.assemble import assemble
from tinyobs.storage.runs import Runs
from tinyobs.storage.strips import combined, strip_of_page, strip_of_runs

LABELS = [(("__name__", f"m{i}"),) for i in range(12)]


def random_parts(seed: int) -> list[tuple[np.ndarray, Runs]]:
    """Return runs of some of twelve series in several places: few distinct columns of times, one after the other."""
    rng = np.random.default_rng(seed)
    parts, begin = [], 0
    for _ in range(int(rng.integers(1, 7))):
        places = np.flatnonzero(rng.random(12) < rng.choice([0.4, 1.0]))
        width = int(rng.integers(1, 40))
        columns = [
            np.sort(rng.choice(np.arange(begin, begin + 100), int(rng.integers(0, width) + 1), replace=False))
            for _ in range(int(rng.integers(1, 4)))
        ]
        chosen = [columns[int(rng.integers(0, len(columns)))] for _ in places]
        counts = np.array([len(c) for c in chosen], np.int64)
        if len(places):
            times = np.concatenate(chosen).astype(np.int64)
            parts.append((places, Runs(offsets_of(counts), times, rng.integers(0, 9, len(times)) / 4)))
        begin += 100
    return parts


@pytest.mark.parametrize("seed", range(60))
def test_strips_give_what_assembling_gives(seed):
    """Blocks made of strips hold the same samples as those that are sorted and joined sample by sample."""
    parts = random_parts(seed)
    low, high = (0, 10_000) if seed % 3 else (37, 333)
    pieces = []
    for places, runs in parts:
        page = decode_page(encode_page(runs.offsets, runs.times_ms, runs.values))
        pieces.append((places, None, strip_of_page(page) if seed % 2 else strip_of_runs(runs)))
    found = combined(pieces, LABELS, low, high)
    expected = assemble(parts, 12, low, high)
    assert found is not None
    assert found.shared is not None
    np.testing.assert_array_equal(found.offsets, expected.offsets)
    np.testing.assert_array_equal(found.timestamps_ms, expected.times_ms)
    np.testing.assert_array_equal(found.values, expected.values)


def test_some_rows_of_a_strip():
    """A block takes the rows that it needs, in the places where they belong."""
    times = np.tile(np.arange(5, dtype=np.int64), 4)
    strip = strip_of_runs(Runs(np.arange(5) * 5, times, np.arange(20.0)))
    found = combined([(np.array([2, 0]), np.array([1, 3]), strip)], LABELS[:3], 1, 3)
    assert found.offsets.tolist() == [0, 3, 3, 6]
    assert found.values.tolist() == [16, 17, 18, 6, 7, 8]
    assert found.timestamps_ms.tolist() == [1, 2, 3, 1, 2, 3]


def test_rows_without_a_sample_in_the_range_add_nothing():
    """The samples within the range may all belong to rows that nobody asked for."""
    strip = strip_of_runs(Runs(np.array([0, 2, 4]), np.array([1, 2, 11, 12]), np.arange(4.0)))
    found = combined([(np.array([0]), np.array([1]), strip)], LABELS[:1], 0, 5)
    assert (found.offsets.tolist(), found.values.tolist()) == ([0, 0], [])
    both = combined([(np.array([1]), np.array([1]), strip), (np.array([0]), np.array([0]), strip)], LABELS[:2], 0, 5)
    assert (both.offsets.tolist(), both.values.tolist()) == ([0, 2, 2], [0.0, 1.0])


def test_columns_that_are_equal_in_the_end_are_one():
    """Pages that end at different samples leave no trace when all series have the same timestamps after all."""

    def piece(place: int, first: int, last: int):
        times = np.arange(first, last, dtype=np.int64)
        return np.array([place]), None, strip_of_runs(Runs(np.array([0, len(times)]), times, times * 1.0))

    found = combined([piece(0, 0, 4), piece(1, 0, 6), piece(0, 4, 9), piece(1, 6, 9)], LABELS[:2], 0, 99)
    assert len(found.shared) == 1
    assert found.shared.times_ms.tolist() == list(range(9))


def test_samples_that_do_not_ascend_are_left_to_others():
    """A strip whose samples lie before those of an earlier one is not joined; neither are rows out of order made one."""
    late = strip_of_runs(Runs(np.array([0, 2]), np.array([5, 6]), np.zeros(2)))
    early = strip_of_runs(Runs(np.array([0, 2]), np.array([1, 5]), np.zeros(2)))
    assert combined([(np.array([0]), None, late), (np.array([0]), None, early)], LABELS[:1], 0, 9) is None
    assert strip_of_runs(Runs(np.array([0, 2]), np.array([6, 5]), np.zeros(2))) is None
    assert strip_of_runs(Runs(np.array([0, 1, 2]), np.array([6, 5]), np.zeros(2))) is not None


def test_strips_hold_floats_only():
    """Histograms and start times are left to `Page.read`."""
    table = histograms_of([Histogram(0, 0.0, 0.0, 0.0, 0.0)])
    offsets, times = np.array([0, 1]), np.array([1])
    assert strip_of_runs(Runs(offsets, times, handles(0, 1), table)) is None
    assert strip_of_page(decode_page(encode_page(offsets, times, handles(0, 1), histograms=table))) is None
    assert strip_of_page(decode_page(encode_page(offsets, times, np.ones(1), starts_ms=np.array([1])))) is None
