"""The samples of one batch on their way through admission, log and head.

Not here: which series they belong to (a layout or refs go beside them), samples sorted by series (`runs.py`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np
from attrs import define
from numpy.typing import NDArray

from ..model.batch import Batch
from ..model.columns import starts_of
from ..model.histogram_words import refuse_inconsistent
from ..model.histograms import (
    Histograms,
    comparable_bits,
    is_handle,
    joined,
    numbers_of,
    renumbered,
    without_handles,
)
from ..model.staleness import NORMAL_NAN

I64 = NDArray[np.int64]
F64 = NDArray[np.float64]
Flags = NDArray[np.bool_]

WORDS_PER_SAMPLE: Final = 4
"""Words of histograms that cost as much as a sample, in time and memory, where work is cut into pieces."""


@define(eq=False)
class Samples:
    """n samples: int64 times, float64 values, and where there are any, histograms by handle and start times."""

    times_ms: I64
    values: F64
    histograms: Histograms | None = None
    starts_ms: I64 | None = None
    _marks: F64 | None = None
    _span: tuple[int, int] | None = None

    def __len__(self) -> int:
        return len(self.times_ms)

    @property
    def is_plain(self) -> bool:
        """Whether these are floats without start times."""
        return self.histograms is None and self.starts_ms is None

    @property
    def span(self) -> tuple[int, int]:
        """The oldest and the newest time; there must be a sample."""
        if self._span is None:
            self._span = int(self.times_ms.min()), int(self.times_ms.max())
        return self._span

    @property
    def cost(self) -> int:
        """What handling them takes, counted in samples."""
        return len(self.times_ms) + (0 if self.histograms is None else len(self.histograms.words) // WORDS_PER_SAMPLE)

    @property
    def marks(self) -> F64:
        """The values, with digests for histograms: the bits are equal where samples are (`comparable_bits`)."""
        if self.histograms is None:
            return self.values
        if self._marks is None:
            self._marks = comparable_bits(self.values, self.histograms).view(np.float64)
        return self._marks

    def take(self, at: I64 | Flags) -> Samples:
        """Return the samples at some positions."""
        return Samples(
            self.times_ms[at],
            self.values[at],
            self.histograms,
            None if self.starts_ms is None else self.starts_ms[at],
            None if self._marks is None else self._marks[at],
        )

    def compact(self) -> Samples:
        """Return the same with none but the histograms that stand among them, numbered in their order."""
        if self.histograms is None:
            return self
        values, numbers = renumbered(self.values)
        if np.array_equal(numbers, np.arange(len(self.histograms))):
            return self
        table = self.histograms.take(numbers) if len(numbers) else None
        return Samples(self.times_ms, values, table, self.starts_ms, self._marks if table is not None else None)


def samples_of(batch: Batch) -> tuple[Samples, Flags | None]:
    """Return the samples of a batch and which of them are inconsistent histograms; None when none is.

    Floats with bits that would mean a histogram become the ordinary NaN, and so do those inconsistent histograms.
    """
    values, starts, table = np.ascontiguousarray(batch.values, np.float64), batch.starts_ms, batch.histograms
    if starts is not None and not starts.any():
        starts = None
    if table is None:
        return Samples(batch.timestamps_ms, without_handles(values), None, starts), None
    at = np.flatnonzero(is_handle(values))
    if not len(at):
        return Samples(batch.timestamps_ms, values, None, starts), None
    numbers = numbers_of(values[at])
    sound = numbers < len(table)
    sound[sound] = _sound(table)[numbers[sound]]
    invalid: Flags | None = None
    if not sound.all():
        invalid = np.zeros(len(values), np.bool_)
        invalid[at[~sound]] = True
        values = np.where(invalid, NORMAL_NAN, values)
    return Samples(batch.timestamps_ms, values, table, starts), invalid


def _sound(table: Histograms) -> Flags:
    """Return which histograms of a table are consistent."""
    out = np.zeros(len(table), np.bool_)
    try:
        refuse_inconsistent(table.offsets, table.words)
        out[:] = True
    except ValueError:
        for i, (a, b) in enumerate(pairwise(table.offsets.tolist())):
            if 0 <= a <= b <= len(table.words):
                with contextlib.suppress(ValueError):
                    refuse_inconsistent(np.array([0, b - a], np.int64), table.words[a:b])
                    out[i] = True
    return out


def concatenate_samples(parts: Sequence[Samples]) -> Samples:
    """Return the samples of all parts, one part after the other."""
    if len(parts) == 1:
        return parts[0]
    values, table = joined([(p.values, p.histograms) for p in parts])
    starts = starts_of([(p.starts_ms, len(p)) for p in parts])
    return Samples(np.concatenate([p.times_ms for p in parts]), values, table, starts)
