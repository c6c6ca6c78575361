"""The newest native histogram of each of many series, by number, in one array of words.

A histogram that takes the place of another is written behind all others; when half of the array is what was replaced, those that
are left are moved together.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..model.growing import grown
from ..model.histograms import Histograms
from ..model.ragged import offsets_of, spread
from .arrays import I64

_WORDS_MIN: Final = 1024


class KeptHistograms:
    """Numbers that hold no histogram have length 0."""

    def __init__(self) -> None:
        self._starts: I64 = np.zeros(0, np.int64)
        self._lengths: I64 = np.zeros(0, np.int64)
        self._words: NDArray[np.uint64] = np.zeros(0, np.uint64)
        self._end = self._live = 0

    @property
    def nbytes(self) -> int:
        """Bytes of the histograms; the array that holds them may be four times as large, for a moment six times."""
        return 8 * self._live

    def sizes(self, numbers: I64) -> I64:
        """Return how many bytes the histograms of some numbers have, 0 for those without one."""
        if not self._live:
            return np.zeros(len(numbers), np.int64)
        self._grow(int(numbers.max(initial=-1)) + 1)
        return 8 * self._lengths[numbers]

    def holds(self, numbers: I64) -> NDArray[np.bool_]:
        """Return which numbers hold a histogram."""
        return self.sizes(numbers) > 0

    def take(self, numbers: I64) -> Histograms:
        """Return the histograms of numbers that hold one, in this order."""
        lengths = self._lengths[numbers]
        return Histograms(offsets_of(lengths), self._words[spread(self._starts[numbers], lengths)])

    def put(self, numbers: I64, histograms: Histograms) -> None:
        """Let different numbers hold these histograms."""
        self._grow(int(numbers.max(initial=-1)) + 1)
        self.drop(numbers)
        more = len(histograms.words)
        if self._end + more > len(self._words):
            self._make_room(more)
        self._words[self._end : self._end + more] = histograms.words
        self._starts[numbers] = self._end + histograms.offsets[:-1]
        self._lengths[numbers] = np.diff(histograms.offsets)
        self._end += more
        self._live += more

    def drop(self, numbers: I64) -> None:
        """Let numbers hold nothing."""
        if self._live:
            self._grow(int(numbers.max(initial=-1)) + 1)
            self._live -= int(self._lengths[numbers].sum())
            self._lengths[numbers] = 0

    def keep(self, numbers: I64) -> None:
        """Keep only these numbers, which become 0, 1, 2 ... in this order."""
        self._grow(int(numbers.max(initial=-1)) + 1)
        self._starts, self._lengths = self._starts[numbers], self._lengths[numbers]
        self._live = int(self._lengths.sum())
        self._make_room(0)

    def _grow(self, size: int) -> None:
        self._starts, self._lengths = grown(self._starts, size), grown(self._lengths, size)

    def _make_room(self, more: int) -> None:
        """Move what is held together, into an array that has as much room again."""
        held = np.flatnonzero(self._lengths)
        found = self.take(held)
        self._words = np.zeros(max(_WORDS_MIN, 2 * (self._live + more)), np.uint64)
        self._words[: self._live] = found.words
        self._starts[held] = found.offsets[:-1]
        self._end = self._live
