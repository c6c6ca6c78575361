"""Cardinality of the storage in memory: plain loops over the index; slow with very many series."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ..model.cardinality import Cardinality, CardinalityQuery, MetricSize, ranking
from ..model.labels import NAME, metric_name
from ..model.registry import SeriesRegistry
from .block import U32, Block


def count_series(registry: SeriesRegistry, refs: U32, blocks: Sequence[Block], query: CardinalityQuery) -> Cardinality:
    """Return what takes the room.  refs: the series that fulfil the matchers and have samples."""
    pairs: Counter[tuple[str, str]] = Counter()
    for ref in refs.tolist():
        pairs.update(registry.labels(ref))
    widths = {pair: len(pair[1].encode("utf-8", "surrogatepass")) for pair in pairs}
    series, values, weights = Counter[str](), Counter[str](), Counter[str]()
    for (name, value), count in pairs.items():
        series[name] += count
        values[name] += 1
        weights[name] += count * widths[name, value]
    metrics = {value: count for (name, value), count in pairs.items() if name == NAME}
    top = query.top
    return Cardinality(
        series_count=len(refs),
        metric_count=len(metrics),
        label_name_count=len(values),
        label_pair_count=len(pairs),
        label_bytes=sum(len(name.encode("utf-8", "surrogatepass")) + widths[name, v] for name, v in pairs),
        chunk_count=len(blocks),
        min_time_ms=min((b.min_ms for b in blocks), default=0),
        max_time_ms=max((b.max_ms for b in blocks), default=0),
        series_by_metric=ranking(metrics, top),
        series_by_label=ranking(series, top),
        values_by_label=ranking(values, top),
        bytes_by_label=ranking(weights, top),
        series_by_pair=ranking({f"{name}={value}": count for (name, value), count in pairs.items()}, top),
        series_by_focus=ranking({v: count for (name, v), count in pairs.items() if name == query.focus}, top),
        metrics=_sizes(registry, blocks, top),
    )


def _sizes(registry: SeriesRegistry, blocks: Sequence[Block], top: int) -> tuple[MetricSize, ...]:
    series: dict[str, set[int]] = {}
    samples, sizes = Counter[str](), Counter[str]()
    for block in blocks:
        each = block.nbytes / max(len(block), 1)
        counts = (block.offsets[1:] - block.offsets[:-1]).tolist()
        for ref, count in zip(block.refs.tolist(), counts, strict=True):
            name = metric_name(registry.labels(ref))
            series.setdefault(name, set()).add(ref)
            samples[name] += count
            sizes[name] += round(count * each)
    return tuple(MetricSize(name, len(series[name]), samples[name], size) for name, size in ranking(sizes, top))
