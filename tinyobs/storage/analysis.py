"""What segments consist of: which metrics, labels and pairs have most series, samples and bytes, and what churns.

Read from the indexes and the table of pages; no page is decoded.  Bytes of a page are shared out evenly among its
series, which lie next to each other in label order, so what a metric is said to take is close, not exact.

A series *churns* when it is in some of the segments looked at but not in all of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from attrs import define, field, frozen

from ..model.labels import NAME, Labels
from .segment_reader import SegmentReader

BLOCK: Final = 1024
"""Series whose labels are read at a time."""

Top = list[tuple[str, int]]


@frozen
class Analysis:
    """Figures; lists are (name, figure), largest first.  Bytes and samples are those of the segments looked at."""

    segments: int
    mint_ms: int
    maxt_ms: int
    series: int
    samples: int
    bytes: int
    index_bytes: int
    label_names: int
    label_pairs: int
    churning_series: int
    series_by_metric: Top
    samples_by_metric: Top
    bytes_by_metric: Top
    values_by_label: Top
    bytes_by_label: Top
    series_by_pair: Top
    churn_by_metric: Top
    churn_by_label: Top


@define
class _Count:
    seen: dict[Labels, int] = field(factory=dict)
    """Series -> in how many segments it is."""
    samples: Counter[str] = field(factory=Counter)
    bytes: Counter[str] = field(factory=Counter)
    page_bytes: int = 0


def analyze(
    readers: Sequence[SegmentReader], top: int, progress: Callable[[float], None] = lambda share: None
) -> Analysis:
    """Look at some segments; `top` entries a list.  Raises `CorruptionError`."""
    count = _Count()
    total = max(1, sum(r.info.series_count for r in readers))
    done = 0
    for reader in readers:
        per_series, samples = _shares(reader)
        count.page_bytes += int(reader.pages.lengths.sum())
        for first in range(0, reader.info.series_count, BLOCK):
            last = min(first + BLOCK, reader.info.series_count)
            for n, series in enumerate(reader.labels(np.arange(first, last, dtype=np.uint32)), first):
                metric = _metric(series)
                count.seen[series] = count.seen.get(series, 0) + 1
                count.bytes[metric] += int(per_series[n])
                count.samples[metric] += int(samples[n])
            progress((done + last) / total)
        done += reader.info.series_count
    return _report(readers, count, top)


def _shares(reader: SegmentReader) -> tuple[np.ndarray[tuple[int], np.dtype[np.float64]], ...]:
    """Return bytes and samples of each series, as shares of its pages."""
    table, out = reader.pages, []
    for column in (table.lengths, table.samples):
        steps = np.zeros(reader.info.series_count + 1)
        each = column / np.maximum(table.counts, 1)
        np.add.at(steps, table.firsts, each)
        np.add.at(steps, table.firsts + table.counts, -each)
        out.append(np.rint(np.cumsum(steps)[:-1]))
    return tuple(out)


def _report(readers: Sequence[SegmentReader], count: _Count, top: int) -> Analysis:
    metrics: Counter[str] = Counter()
    pairs: Counter[tuple[str, str]] = Counter()
    churn_metrics: Counter[str] = Counter()
    churn_labels: Counter[str] = Counter()
    for series, present in count.seen.items():
        metrics[_metric(series)] += 1
        pairs.update(series)
        if present < len(readers):
            churn_metrics[_metric(series)] += 1
            churn_labels.update(n for n, _ in series)
    values: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for name, value in pairs:
        values[name] += 1
        sizes[name] += len(value.encode("utf-8", "surrogatepass"))
    size = sum(r.info.bytes for r in readers)
    return Analysis(
        segments=len(readers),
        mint_ms=min((r.info.mint_ms for r in readers), default=0),
        maxt_ms=max((r.info.maxt_ms for r in readers), default=0),
        series=len(count.seen),
        samples=sum(r.info.sample_count for r in readers),
        bytes=size,
        index_bytes=size - count.page_bytes,
        label_names=len(values),
        label_pairs=len(pairs),
        churning_series=sum(churn_metrics.values()),
        series_by_metric=metrics.most_common(top),
        samples_by_metric=count.samples.most_common(top),
        bytes_by_metric=count.bytes.most_common(top),
        values_by_label=values.most_common(top),
        bytes_by_label=sizes.most_common(top),
        series_by_pair=[(f"{n}={v}", figure) for (n, v), figure in pairs.most_common(top)],
        churn_by_metric=churn_metrics.most_common(top),
        churn_by_label=churn_labels.most_common(top),
    )


def _metric(series: Labels) -> str:
    for name, value in series:
        if name == NAME:
            return value
    return ""
