"""For how many samples a histogram counts: its size in the memory of Prometheus over that of a float sample.

Source: prometheus model/histogram/float_histogram.go (Size), promql/value.go (HPoint.size).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from ...model.histogram_words import FIXED_WORDS
from ...model.histograms import Histograms, is_handle, numbers_of
from ...model.ragged import offsets_of
from ..arrays import Indexes
from ..blocks import Block
from ..windows import Windows
from .batch import FIXED
from .table import Table

BYTES: Final = 176
"""Of a histogram without spans, buckets and custom bounds, with its time."""
SAMPLE_BYTES: Final = 16


def stored_sizes(histograms: Histograms) -> Indexes:
    """Return for how many samples each histogram counts, as it is stored."""
    words: Indexes = np.diff(histograms.offsets) - FIXED_WORDS
    return (BYTES + 8 * words) // SAMPLE_BYTES


def extra_samples(histograms: Histograms | None) -> int:
    """Return for how many samples histograms count beyond one each."""
    return 0 if histograms is None else int((stored_sizes(histograms) - 1).sum())


def samples_in_windows(windows: Windows) -> Indexes:
    """Return int64[S, T], the samples in each window."""
    columns = windows.columns
    if columns.histograms is None:
        return windows.counts
    numbers = numbers_of(columns.values)
    each = np.where(numbers < 0, 1, stored_sizes(columns.histograms)[np.maximum(numbers, 0)])
    until = offsets_of(each)
    counts: Indexes = until[windows.high] - until[windows.low]
    return counts


def samples_in_block(block: Block) -> Indexes:
    """Return int64[S, T], for how many samples each point counts."""
    counts = block.present.astype(np.int64)
    if block.histograms is not None:
        native = block.present & is_handle(block.values)
        counts[native] = sizes(block.histograms)[numbers_of(block.values[native])]
    return counts


def sizes(table: Table) -> Indexes:
    """Return how many samples each histogram counts for: its size in upstream's memory, with its time, in units of 16 bytes."""
    out = np.zeros(len(table), np.int64)
    for numbers, batch in table.parts():
        there = batch.data[:, FIXED:] != 0
        # 176 bytes with its time, and 8 for each span, bucket and custom bound; spans are told by the gaps between buckets.
        index = np.concatenate((batch.negative, batch.positive))
        edge = np.ones(len(index), np.bool_)
        edge[1:] = index[1:] != index[:-1] + 1
        edge[len(batch.negative) : len(batch.negative) + 1] = True
        spans = there.copy()
        spans[:, 1:] &= edge[1:] | ~there[:, :-1]
        out[numbers] = (BYTES + 8 * (there.sum(axis=1) + spans.sum(axis=1) + len(batch.bounds))) // SAMPLE_BYTES
    return out
