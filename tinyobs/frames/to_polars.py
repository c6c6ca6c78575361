"""Data frames of Polars: labels are categories, times `Datetime("ms", "UTC")`, histograms structs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..model.columns import SeriesColumns
from .table import HISTOGRAM, NONE, START, TIMESTAMP, VALUE, LongTable, column_names, load, plain, wide_matrix


def polars_long(table: LongTable) -> Any:
    """Return a `polars.DataFrame` with a row for each sample; null where there is nothing."""
    pl = load("polars", "polars")
    columns = [_times(pl, TIMESTAMP, table.timestamps_ms), _values(pl, VALUE, table.values, table.is_histogram)]
    if table.histograms is not None:
        rows = [None if h is None else plain(h) for h in table.histogram_rows()] if table.histograms else [None]
        column = pl.Series(HISTOGRAM, rows, dtype=_histogram(pl))
        columns.append(column if table.histograms else column.new_from_index(0, len(table.values)))
    if table.starts_ms is not None:
        columns.append(_times(pl, START, table.starts_ms, table.starts_ms == 0))
    for name, label in table.labels.items():
        codes = _values(pl, name, label.codes.astype(np.uint32), label.codes == NONE)
        texts = pl.Series(name, label.values, dtype=pl.Categorical)
        columns.append(texts.gather(codes) if label.values else codes.cast(pl.String).cast(pl.Categorical))
    return pl.DataFrame(columns)


def polars_wide(columns: SeriesColumns) -> Any:
    """Return a `polars.DataFrame` with a column for each series, named in PromQL notation; null where it has no sample."""
    pl = load("polars", "polars")
    times, matrix = wide_matrix(columns)
    names = column_names(columns.labels)
    values = [_values(pl, n, np.ascontiguousarray(v), np.isnan(v)) for n, v in zip(names, matrix.T, strict=True)]
    return pl.DataFrame([_times(pl, TIMESTAMP, times), *values])


def _times(pl: Any, name: str, times_ms: NDArray[np.int64], missing: NDArray[np.bool_] | None = None) -> Any:
    column = _values(pl, name, times_ms, np.zeros(len(times_ms), np.bool_) if missing is None else missing)
    return column.cast(pl.Datetime("ms", "UTC"))


def _values(pl: Any, name: str, values: NDArray[Any], missing: NDArray[np.bool_]) -> Any:
    column = pl.Series(name, values)
    if not missing.any():
        return column
    if missing.all():
        return pl.Series(name, [None], dtype=column.dtype).new_from_index(0, len(values))
    return column.set(pl.Series(missing), None)


def _histogram(pl: Any) -> Any:
    """Return the type of histograms: the fields of `model.histograms.Histogram`."""
    number, numbers = pl.Float64, pl.List(pl.Float64)
    spans = pl.List(pl.Struct({"offset": pl.Int32, "length": pl.UInt32}))
    return pl.Struct(
        {
            "schema": pl.Int8,
            "zero_threshold": number,
            "zero_count": number,
            "count": number,
            "sum": number,
            "positive_spans": spans,
            "positive_buckets": numbers,
            "negative_spans": spans,
            "negative_buckets": numbers,
            "custom_values": numbers,
            "reset_hint": pl.String,
            "is_integer": pl.Boolean,
        }
    )
