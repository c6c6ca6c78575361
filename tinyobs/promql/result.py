"""What a query yields: columns, annotations and statistics."""

from __future__ import annotations

from attrs import Factory, field, frozen

from ..model.columns import SeriesColumns
from .arrays import Indexes
from .nodes import ValueType


@frozen
class QueryStatistics:
    """What a query cost."""

    samples_read: int = 0
    """Samples loaded from storage."""
    samples_peak: int = 0
    """Most samples held at one time."""
    series: int = 0
    """Series touched."""
    prepare_seconds: float = 0.0
    """Parsing, checking, planning and selecting series."""
    evaluate_seconds: float = 0.0
    """Evaluation."""
    steps: tuple[Indexes, Indexes] | None = field(default=None, eq=False)
    """Moments in ms and the samples looked at by each, where they were counted (`step_counts.py`)."""


@frozen(eq=False)
class Result:
    """The answer to a query.

    type VECTOR: columns with exactly one sample a series, stamped with the evaluation time, in result order.
    type MATRIX: columns sorted by labels, each series with at least one sample.
    type SCALAR: one series without labels, one sample.  type STRING: `text`, no series.
    """

    type: ValueType
    columns: SeriesColumns
    time_ms: int = 0
    """The evaluation time of an instant query; the end of a range query."""
    text: str = ""
    warnings: tuple[str, ...] = ()
    infos: tuple[str, ...] = ()
    statistics: QueryStatistics = Factory(QueryStatistics)
