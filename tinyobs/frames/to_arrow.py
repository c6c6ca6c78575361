"""Tables of Arrow: labels are dictionaries of strings, times `timestamp[ms, UTC]`, histograms structs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..model.columns import SeriesColumns
from .table import HISTOGRAM, NONE, START, TIMESTAMP, VALUE, LongTable, column_names, load, plain, wide_matrix


def arrow_batch(table: LongTable) -> Any:
    """Return a table as a `pyarrow.RecordBatch`."""
    pa = load("pyarrow", "arrow")
    ms = pa.timestamp("ms", tz="UTC")
    columns = {
        TIMESTAMP: pa.array(table.timestamps_ms, ms),
        VALUE: pa.array(table.values, mask=_mask(table.is_histogram)),
    }
    if table.histograms is not None:
        columns[HISTOGRAM] = _histograms(pa, table)
    if table.starts_ms is not None:
        unknown = table.starts_ms == 0
        columns[START] = pa.nulls(len(unknown), ms) if unknown.all() else pa.array(table.starts_ms, ms, mask=unknown)
    for name, label in table.labels.items():
        codes = pa.array(label.codes, pa.int32(), mask=_mask(label.codes == NONE))
        columns[name] = pa.DictionaryArray.from_arrays(codes, pa.array(label.values, pa.string()))
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def arrow_table(table: LongTable) -> Any:
    """Return a table as a `pyarrow.Table`."""
    return load("pyarrow", "arrow").Table.from_batches([arrow_batch(table)])


def arrow_wide(columns: SeriesColumns) -> Any:
    """Return a `pyarrow.Table` with a column for each series, named in PromQL notation; null where it has no sample."""
    pa = load("pyarrow", "arrow")
    times, matrix = wide_matrix(columns)
    arrays = [pa.array(times, pa.timestamp("ms", tz="UTC"))]
    arrays += [pa.array(column, mask=np.isnan(column)) for column in matrix.T]
    return pa.Table.from_arrays(arrays, names=[TIMESTAMP, *column_names(columns.labels)])


def _mask(missing: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    return missing if missing.any() else None


def _histograms(pa: Any, table: LongTable) -> Any:
    if not table.histograms:
        return pa.nulls(len(table.values), _histogram(pa))
    return pa.array([None if h is None else plain(h) for h in table.histogram_rows()], _histogram(pa))


def _histogram(pa: Any) -> Any:
    """Return the type of histograms: the fields of `model.histograms.Histogram`."""
    number, numbers = pa.float64(), pa.list_(pa.float64())
    spans = pa.list_(pa.struct([("offset", pa.int32()), ("length", pa.uint32())]))
    return pa.struct(
        [
            ("schema", pa.int8()),
            ("zero_threshold", number),
            ("zero_count", number),
            ("count", number),
            ("sum", number),
            ("positive_spans", spans),
            ("positive_buckets", numbers),
            ("negative_spans", spans),
            ("negative_buckets", numbers),
            ("custom_values", numbers),
            ("reset_hint", pa.string()),
            ("is_integer", pa.bool_()),
        ]
    )
