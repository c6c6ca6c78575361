"""Between the tables of the data model, which are words of memory, and batches, which are matrices."""

from __future__ import annotations

import numpy as np

from ...model import histograms as model
from ...model.histogram_bounds import SCHEMA_MAX
from ...model.histogram_words import FIXED_WORDS, shapes_of
from ...model.histograms import CUSTOM_SCHEMA, Histograms
from ...model.ragged import offsets_of, spread
from ..arrays import Floats, Indexes
from .arithmetic import reduced
from .batch import COUNT, FIXED, SUM, ZERO, Batch
from .table import Table, assembled

_NO_BOUNDS: Floats = np.empty(0)


def decoded(histograms: Histograms) -> Table:
    """Return the histograms of a table of words; integer counts become floats, too fine schemas the finest there is."""
    schemas = histograms.schemas()
    groups: dict[tuple[int, bytes], list[int] | Indexes] = {}
    for schema in np.unique(schemas).tolist():
        rows = np.flatnonzero(schemas == schema)
        if schema != CUSTOM_SCHEMA:
            groups[schema, b""] = rows
            continue
        custom = shapes_of(histograms.words[histograms.offsets[:-1][rows]]).custom
        ends = histograms.offsets[1:][rows]
        for i, start, end in zip(rows.tolist(), (ends - custom).tolist(), ends.tolist(), strict=True):
            key = schema, histograms.words[start:end].tobytes()
            members = groups.setdefault(key, [])
            assert isinstance(members, list)
            members.append(i)
    parts = []
    for (schema, bounds), members in groups.items():
        numbers = np.asarray(members, np.int64)
        batch = _batch(histograms.take(numbers), schema, np.frombuffer(bounds, np.float64))
        parts.append((numbers, reduced(batch, min(schema, SCHEMA_MAX))))
    return assembled(len(histograms), parts)


def _batch(h: Histograms, schema: int, bounds: Floats) -> Batch:
    buckets = h.buckets()
    counts = np.diff(buckets.offsets)
    rows = np.repeat(np.arange(len(h)), counts)
    negative, at_negative = _columns(buckets.indexes[buckets.negative])
    positive, at_positive = _columns(buckets.indexes[~buckets.negative])
    data = np.zeros((len(h), FIXED + len(negative) + len(positive)))
    data[:, COUNT], data[:, SUM], data[:, ZERO] = h.counts(), h.sums(), h.zero_counts()
    data[rows[buckets.negative], FIXED + at_negative] = buckets.counts[buckets.negative]
    data[rows[~buckets.negative], FIXED + len(negative) + at_positive] = buckets.counts[~buckets.negative]
    sides = np.zeros((len(h), 2), np.bool_)
    sides[rows, np.where(buckets.negative, 0, 1)] = True
    return Batch(schema, bounds, negative, positive, data, h.zero_thresholds(), h.reset_hints(), sides)


def _columns(indexes: Indexes) -> tuple[Indexes, Indexes]:
    """Return (the distinct indexes, the place of each among them)."""
    if not len(indexes):
        return indexes, indexes
    low, high = int(indexes.min()), int(indexes.max())
    if high - low > 1 << 20:
        distinct, places = np.unique(indexes, return_inverse=True)
        return distinct, places
    there = np.zeros(high - low + 1, np.bool_)
    there[indexes - low] = True
    return np.flatnonzero(there) + low, (np.cumsum(there) - 1)[indexes - low]


def encoded(table: Table) -> Histograms:
    """Return the words of the histograms, without empty buckets."""
    if not len(table):
        return model.NO_HISTOGRAMS
    numbers, made = [], []
    for part, batch in table.parts():
        numbers.append(part)
        made.append(_words(batch))
    if len(made) == 1:
        return made[0]
    lengths = np.concatenate([np.diff(h.offsets) for h in made])
    together = Histograms(offsets_of(lengths), np.concatenate([h.words for h in made]))
    return together.take(np.argsort(np.concatenate(numbers)))


def _words(b: Batch) -> Histograms:
    order = np.concatenate((np.arange(len(b.positive)) + len(b.negative), np.arange(len(b.negative))))
    counts = b.data[:, FIXED:][:, order]
    index = np.concatenate((b.negative, b.positive))[order]
    side = np.repeat([0, 1], [len(b.positive), len(b.negative)])
    rows, columns = np.nonzero(counts)
    # A span begins where the row or side changes, or the index does not follow the one before.
    fresh, follows = np.ones(len(rows), np.bool_), np.zeros(len(rows), np.bool_)
    follows[1:] = (rows[1:] == rows[:-1]) & (side[columns[1:]] == side[columns[:-1]])
    fresh[1:] = ~follows[1:] | (index[columns[1:]] != index[columns[:-1]] + 1)
    firsts = np.flatnonzero(fresh)
    offsets = index[columns[firsts]].copy()
    gap = follows[firsts]
    offsets[gap] -= index[columns[firsts[gap] - 1]] + 1
    lengths = np.diff(firsts, append=len(rows))
    spans = (offsets & 0xFFFFFFFF).astype(np.uint64) | lengths.astype(np.uint64) << np.uint64(32)
    span_sides = side[columns[firsts]]
    positive = np.bincount(rows[firsts][span_sides == 0], minlength=len(b))
    negative = np.bincount(rows[firsts][span_sides == 1], minlength=len(b))
    in_buckets = np.bincount(rows, minlength=len(b))
    custom = len(b.bounds)
    starts = offsets_of((FIXED_WORDS + positive + negative + in_buckets + custom).astype(np.int64))
    words = np.zeros(int(starts[-1]), np.uint64)
    heads = starts[:-1]
    shape = (positive << 16) | (negative << 32) | (custom << 48)
    words[heads] = ((b.schema & 0xFF) | b.hints << 9 | shape).astype(np.uint64)
    floats = words.view(np.float64)
    floats[heads + 1] = b.thresholds
    floats[heads + 2], floats[heads + 3], floats[heads + 4] = b.data[:, ZERO], b.data[:, COUNT], b.data[:, SUM]
    words[spread(heads + FIXED_WORDS, positive + negative)] = spans
    floats[spread(heads + FIXED_WORDS + positive + negative, in_buckets)] = counts[rows, columns]
    floats[spread(starts[1:] - custom, np.full(len(b), custom))] = np.tile(b.bounds, len(b))
    return Histograms(starts, words)
