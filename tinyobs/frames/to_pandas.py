"""Data frames of pandas: labels are categories, times `datetime64[ms, UTC]`, histograms objects."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..model.columns import SeriesColumns
from .table import HISTOGRAM, START, TIMESTAMP, VALUE, LongTable, label_names, load, wide_matrix


def pandas_long(table: LongTable) -> Any:
    """Return a `pandas.DataFrame` with a row for each sample; histograms are `model.histograms.Histogram`."""
    pd = load("pandas", "pandas")
    columns = {TIMESTAMP: _times(pd, table.timestamps_ms), VALUE: table.values}
    if table.histograms is not None:
        column = np.full(len(table.values), None, object)
        column[list(table.histograms)] = list(table.histograms.values())
        columns[HISTOGRAM] = column
    if table.starts_ms is not None:
        columns[START] = _times(pd, table.starts_ms, table.starts_ms == 0)
    for name, label in table.labels.items():
        columns[name] = pd.Categorical.from_codes(label.codes, categories=pd.Index(label.values, dtype="str"))
    return pd.DataFrame(columns)


def pandas_wide(columns: SeriesColumns) -> Any:
    """Return a `pandas.DataFrame` with a row for each time and a column for each series, under its labels."""
    pd = load("pandas", "pandas")
    times, matrix = wide_matrix(columns)
    names = label_names(columns.labels) or ["__name__"]
    found = [dict(labels) for labels in columns.labels]
    series = pd.MultiIndex.from_arrays([[labels.get(n, "") for labels in found] for n in names], names=names)
    return pd.DataFrame(matrix, index=_times(pd, times).rename(TIMESTAMP), columns=series)


def _times(pd: Any, times_ms: NDArray[np.int64], missing: NDArray[np.bool_] | None = None) -> Any:
    found = times_ms.astype("datetime64[ms]")
    if missing is not None:
        found[missing] = np.datetime64("NaT")
    return pd.DatetimeIndex(found).tz_localize("UTC")
