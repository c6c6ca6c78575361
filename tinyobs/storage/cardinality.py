"""What takes the room in the engine: counts of live series, sizes of metrics, churn.  Any thread.

The engine's lock is held only while a view is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..model.cardinality import Cardinality, CardinalityQuery, Ranking, ranking
from ..model.labels import NAME
from .census import PairColumns, largest_pairs
from .head import NEVER
from .metric_sizes import largest_metrics

if TYPE_CHECKING:
    from .engine import Engine


def report_cardinality(engine: Engine, query: CardinalityQuery) -> Cardinality:
    """Return what takes the room."""
    census, top, registry = engine.census, query.top, engine.registry
    view, readers = engine.current()
    chosen = view.newest_ms != NEVER
    if query.matcher_sets:
        fulfilled = np.zeros(len(chosen), np.bool_)
        for matchers in query.matcher_sets:
            refs = engine.index.match(matchers)
            fulfilled[refs[refs < len(chosen)]] = True
        chosen &= fulfilled
    columns, counts = census.count(chosen)
    used = np.flatnonzero(counts)
    counts = counts[used]
    ids = columns.name_ids[used]
    metrics = ids == _number(columns, NAME)
    focus = ids == _number(columns, query.focus)
    has_samples = view.max_ms >= view.min_ms
    return Cardinality(
        series_count=int(chosen[: len(registry)].sum()),
        metric_count=int(metrics.sum()),
        label_name_count=int((np.bincount(ids, minlength=1) > 0).sum()),
        label_pair_count=len(used),
        label_bytes=int((columns.widths[used] + columns.name_widths[ids]).sum()),
        chunk_count=len(view.chunks),
        min_time_ms=view.min_ms if has_samples else 0,
        max_time_ms=view.max_ms if has_samples else 0,
        series_by_metric=largest_pairs(registry, used[metrics], counts[metrics], top, value_only=True),
        series_by_label=_by_name(columns, np.bincount(ids, counts), top),
        values_by_label=_by_name(columns, np.bincount(ids), top),
        bytes_by_label=_by_name(columns, np.bincount(ids, counts * columns.widths[used]), top),
        series_by_pair=largest_pairs(registry, used, counts, top),
        series_by_focus=largest_pairs(registry, used[focus], counts[focus], top, value_only=True),
        metrics=largest_metrics(census, view, readers, engine.segments.cache, top),
        churn=engine.churn.hours(census, top),
    )


def _number(columns: PairColumns, name: str) -> int:
    return columns.names.index(name) if name in columns.names else -1


def _by_name(
    columns: PairColumns, figures: np.ndarray[tuple[int], np.dtype[np.float64 | np.int64]], top: int
) -> Ranking:
    return ranking({columns.names[i]: int(figures[i]) for i in np.flatnonzero(figures).tolist()}, top)
