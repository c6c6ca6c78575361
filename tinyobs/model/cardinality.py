"""What takes the room in a storage: the question and the answer of `/api/v1/status/tsdb` and `/status/cardinality`."""

from __future__ import annotations

from typing import TypeAlias

from attrs import frozen

from .matchers import Matcher

Ranking: TypeAlias = tuple[tuple[str, int], ...]
"""(name, figure), largest first, equal ones by name."""


@frozen
class CardinalityQuery:
    """What to tell.

    top: entries of each list.  matcher_sets: count only the series that fulfil any of them; none for all.  focus: a label whose values are
    counted, "" for none.
    """

    top: int = 10
    matcher_sets: tuple[tuple[Matcher, ...], ...] = ()
    focus: str = ""


@frozen
class MetricSize:
    """What one metric takes up.  samples: stored, in files and in memory.  bytes: of these samples, index left out."""

    name: str
    series: int
    samples: int
    bytes: int


@frozen
class ChurnHour:
    """Series that came and went within an hour.

    start_ms: when the hour began.  created: seen for the first time since the start of the process.  gone: whose newest
    sample is of this hour and which had no other for a while.  The lists are by metric.
    """

    start_ms: int
    created: int
    gone: int
    created_by_metric: Ranking = ()
    gone_by_metric: Ranking = ()


@frozen(kw_only=True)
class Cardinality:
    """What takes the room.  Series are those with recent samples that fulfil the query's matchers."""

    series_count: int = 0
    metric_count: int = 0
    label_name_count: int = 0
    label_pair_count: int = 0
    """Distinct (name, value) pairs on these series."""
    label_bytes: int = 0
    """UTF-8 bytes of these pairs, each counted once."""
    chunk_count: int = 0
    min_time_ms: int = 0
    max_time_ms: int = 0
    """Of the samples in memory."""
    series_by_metric: Ranking = ()
    series_by_label: Ranking = ()
    """Series that carry a label of this name."""
    values_by_label: Ranking = ()
    bytes_by_label: Ranking = ()
    """Bytes of the values, summed over the series."""
    series_by_pair: Ranking = ()
    """Keys are `name=value`."""
    series_by_focus: Ranking = ()
    """Series by value of the label that the query has in focus."""
    metrics: tuple[MetricSize, ...] = ()
    """By bytes, largest first, of all that is stored."""
    churn: tuple[ChurnHour, ...] = ()
    """Hour by hour, the newest first."""


def ranking(figures: dict[str, int], top: int) -> Ranking:
    """Return the `top` largest."""
    return tuple(sorted(figures.items(), key=lambda pair: (-pair[1], pair[0]))[:top])
