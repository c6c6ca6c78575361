"""Coarser and more compact forms of one native histogram.

The rules are those of Prometheus' model/histogram (`ReduceResolution`, `Compact`) and of the limits of its scrapes
(`native_histogram_bucket_limit`, `native_histogram_min_bucket_factor`).  Buckets must fit their spans.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from attrs import evolve

from .histograms import CUSTOM_SCHEMA, Histogram

SCHEMA_MIN: Final = -4
"""The coarsest exponential schema that is stored."""
SCHEMA_MAX: Final = 8
"""The finest exponential schema that is stored."""

Spans = Sequence[tuple[int, int]]
Side = tuple[tuple[tuple[int, int], ...], tuple[float, ...]]


def reduced(h: Histogram, schema: int) -> Histogram:
    """Return an exponential histogram in a coarser schema, as it is where it is that coarse.

    Neighbours become one bucket: bucket i of a schema is in bucket ceil(i / 2) of the next coarser one.
    """
    steps = h.schema - schema
    if steps <= 0 or h.schema == CUSTOM_SCHEMA:
        return h
    return _with_sides(
        evolve(h, schema=schema),
        _merged(h.positive_spans, h.positive_buckets, steps),
        _merged(h.negative_spans, h.negative_buckets, steps),
    )


def compacted(h: Histogram, empty_max: int = 0) -> Histogram:
    """Return a histogram without empty buckets, but for runs of up to `empty_max` of them between others."""
    sides = (h.positive_spans, h.positive_buckets), (h.negative_spans, h.negative_buckets)
    if all(_is_compact(spans, buckets) for spans, buckets in sides):
        return h
    positive, negative = (_compacted(spans, buckets, empty_max) for spans, buckets in sides)
    return _with_sides(h, positive, negative)


def limited(h: Histogram, buckets_max: int) -> Histogram | None:
    """Return a histogram with so few buckets, coarser where it must be; None where that is not possible."""
    while len(h.positive_buckets) + len(h.negative_buckets) > buckets_max:
        if h.schema <= SCHEMA_MIN:  # custom buckets as well
            return None
        h = reduced(h, h.schema - 1)
    return h


def schema_of_factor(factor: float) -> int:
    """Return the finest schema whose buckets grow by at least this factor each; up to 1 stands for no demand."""
    if not factor > 1:
        return SCHEMA_MAX
    schema = math.floor(-math.log2(math.log2(factor))) if math.isfinite(factor) else SCHEMA_MIN
    return min(max(schema, SCHEMA_MIN), SCHEMA_MAX)


def indexed(spans: Spans, buckets: Sequence[float]) -> Iterator[tuple[int, float]]:
    """Yield (index, count) of each bucket."""
    index = at = 0
    for offset, length in spans:
        index += offset
        for count in buckets[at : at + length]:
            yield index, count
            index += 1
        at += length


def _with_sides(h: Histogram, positive: Side, negative: Side) -> Histogram:
    return evolve(
        h,
        positive_spans=positive[0],
        positive_buckets=positive[1],
        negative_spans=negative[0],
        negative_buckets=negative[1],
    )


def _merged(spans: Spans, buckets: Sequence[float], steps: int) -> Side:
    counts: dict[int, float] = {}
    for index, count in indexed(spans, buckets):
        coarse = ((index - 1) >> steps) + 1
        counts[coarse] = counts.get(coarse, 0) + count
    return _side(counts.items())


def _is_compact(spans: Spans, buckets: Sequence[float]) -> bool:
    return all(buckets) and all(length and (offset or not i) for i, (offset, length) in enumerate(spans))


def _compacted(spans: Spans, buckets: Sequence[float], empty_max: int) -> Side:
    kept: list[tuple[int, float]] = []
    for index, count in indexed(spans, buckets):
        if not count:
            continue
        if kept and index - kept[-1][0] - 1 <= empty_max:
            kept += [(i, 0) for i in range(kept[-1][0] + 1, index)]
        kept.append((index, count))
    return _side(kept)


def _side(counts: Iterable[tuple[int, float]]) -> Side:
    """Return spans and buckets of (index, count) in ascending order."""
    spans: list[list[int]] = []
    values = []
    end = 0
    for index, count in counts:
        if spans and index == end:
            spans[-1][1] += 1
        else:
            spans.append([index - end, 1])
        end = index + 1
        values.append(count)
    return tuple((offset, length) for offset, length in spans), tuple(values)
