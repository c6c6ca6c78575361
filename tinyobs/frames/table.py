"""Samples as one table, a row a sample: what all kinds of data frames are made of.  NumPy only.

Columns, in this order: `timestamp`, `value`, `histogram` and `start` where there are such, then a column for each
label, `__name__` first.  A label that has the name of one of the others gets `label_` put before it.
Labels are dictionaries: a code for each row, and the values that codes stand for.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from ..errors import UsageError
from ..model.columns import SeriesColumns
from ..model.histograms import Histogram, is_handle, numbers_of
from ..model.labels import NAME, Labels, to_text

TIMESTAMP: Final = "timestamp"
VALUE: Final = "value"
HISTOGRAM: Final = "histogram"
START: Final = "start"
NONE: Final = -1
"""The code of a label that a series does not have."""


@frozen(eq=False)
class LabelColumn:
    """codes: int32[N], positions in `values`, `NONE` where the label is absent."""

    codes: NDArray[np.int32]
    values: list[str]


@frozen(eq=False)
class LongTable:
    """A row a sample, series by series, ascending in time.

    timestamps_ms: int64[N].  values: float64[N], NaN where the sample is a histogram.  histograms: those samples by
    their row; None where the table has no such column.  starts_ms: int64[N], 0 where not known;
    None where the table has no such column.  labels: by column name.
    """

    timestamps_ms: NDArray[np.int64]
    values: NDArray[np.float64]
    histograms: dict[int, Histogram] | None
    starts_ms: NDArray[np.int64] | None
    labels: dict[str, LabelColumn]

    @property
    def is_histogram(self) -> NDArray[np.bool_]:
        """Where the sample is a histogram."""
        found = np.zeros(len(self.values), np.bool_)
        found[list(self.histograms or ())] = True
        return found

    def histogram_rows(self) -> list[Histogram | None]:
        """Return for each row its histogram, None for a float."""
        out: list[Histogram | None] = [None] * len(self.values)
        for row, histogram in (self.histograms or {}).items():
            out[row] = histogram
        return out


def long_table(columns: SeriesColumns, names: Iterable[str] | None = None, *, all_columns: bool = False) -> LongTable:
    """Return samples as a table.

    names: labels to make columns of, all that occur by default.  all_columns: have `histogram` and `start` in any case,
    so that the tables of many blocks have the same columns.
    """
    counts = np.diff(columns.offsets)
    at = is_handle(columns.values)
    histograms: dict[int, Histogram] | None = {} if all_columns or at.any() else None
    values = columns.values
    if columns.histograms is not None and at.any():
        numbers = numbers_of(values[at]).tolist()
        rows = np.flatnonzero(at).tolist()
        histograms = {r: columns.histograms.one(n) for r, n in zip(rows, numbers, strict=True)}
        values = np.where(at, np.nan, values)
    starts = columns.starts_ms
    if all_columns and starts is None:
        starts = np.zeros(len(values), np.int64)
    used = sorted({n for labels in columns.labels for n, _ in labels}) if names is None else list(names)
    labels = {c: LabelColumn(np.repeat(codes, counts), v) for c, (codes, v) in _encode(columns.labels, used).items()}
    return LongTable(columns.timestamps_ms, values, histograms, starts, labels)


def long_tables(columns: SeriesColumns, rows_max: int) -> Iterator[LongTable]:
    """Yield samples as successive tables of at most so many rows: the same columns, and the same values of labels.

    There is one table without rows where there are no samples.  Start times are left out.
    """
    encoded = _encode(columns.labels, label_names(columns.labels))
    native = columns.histograms is not None
    offsets = columns.offsets
    for start in range(0, max(columns.samples, 1), rows_max):
        end = min(start + rows_max, columns.samples)
        first = int(np.searchsorted(offsets, start, side="right")) - 1
        last = int(np.searchsorted(offsets, end, side="left"))
        borders: NDArray[np.int64] = np.clip(offsets[first : last + 1], start, end)
        counts = np.diff(borders)
        part = SeriesColumns(
            (), offsets[:1], columns.timestamps_ms[start:end], columns.values[start:end], columns.histograms
        )
        plain = long_table(part, (), all_columns=native)
        labels = {c: LabelColumn(np.repeat(codes[first:last], counts), v) for c, (codes, v) in encoded.items()}
        yield LongTable(plain.timestamps_ms, plain.values, plain.histograms, None, labels)


def wide_matrix(columns: SeriesColumns) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return (times in ms int64[T], values float64[T, S]); NaN where a series has no sample.

    T are all times at which any series has a sample, ascending.  Raises `UsageError` for histograms.
    """
    if is_handle(columns.values).any():
        raise UsageError("a wide table holds floats only; histograms need the long one")
    times, at = np.unique(columns.timestamps_ms, return_inverse=True)
    matrix = np.full((len(times), len(columns)), np.nan)
    matrix[at, np.repeat(np.arange(len(columns)), np.diff(columns.offsets))] = columns.values
    return times, matrix


def column_names(series: Sequence[Labels]) -> list[str]:
    """Return series in PromQL notation, as the names of wide columns."""
    return [to_text(labels) for labels in series]


def label_names(series: Iterable[Labels]) -> list[str]:
    """Return all names of labels, sorted."""
    return sorted({name for labels in series for name, _ in labels})


def column_labels(series: Iterable[Labels]) -> dict[str, str]:
    """Return the labels that occur, in the order of columns, and what their columns are called."""
    return _shown(label_names(series))


def plain(histogram: Histogram) -> dict[str, Any]:
    """Return a histogram as numbers, texts and lists; counts become floats."""
    h = histogram
    spans = [
        [{"offset": offset, "length": length} for offset, length in s] for s in (h.positive_spans, h.negative_spans)
    ]
    return {
        "schema": h.schema,
        "zero_threshold": h.zero_threshold,
        "zero_count": float(h.zero_count),
        "count": float(h.count),
        "sum": h.sum,
        "positive_spans": spans[0],
        "positive_buckets": [float(n) for n in h.positive_buckets],
        "negative_spans": spans[1],
        "negative_buckets": [float(n) for n in h.negative_buckets],
        "custom_values": list(h.custom_values),
        "reset_hint": h.reset_hint.name.lower(),
        "is_integer": h.is_integer,
    }


def load(module: str, extra: str) -> Any:
    """Import a library of an extra; raises `UsageError` that says how to install it."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise UsageError(f"{module} is not installed: pip install 'tinyobs[{extra}]'") from None


def _encode(series: Sequence[Labels], names: Sequence[str]) -> dict[str, tuple[NDArray[np.int32], list[str]]]:
    """Return for each label (codes int32[S], values), by the name of its column."""
    shown = _shown(names)
    codes = {name: np.full(len(series), NONE, np.int32) for name in shown}
    values: dict[str, dict[str, int]] = {name: {} for name in codes}
    for i, labels in enumerate(series):
        for name, value in labels:
            known = values.get(name)
            if known is not None:
                codes[name][i] = known.setdefault(value, len(known))
    return {shown[name]: (column, list(values[name])) for name, column in codes.items()}


def _shown(names: Iterable[str]) -> dict[str, str]:
    """Return for each label the name of its column, in the order of columns."""
    taken = {TIMESTAMP, VALUE, HISTOGRAM, START}
    out = dict.fromkeys(sorted(names, key=lambda n: (n != NAME, n)), "")
    for name in out:
        column = name
        while column in taken or (column != name and column in out):
            column = f"label_{column}"
        out[name] = column
    return out
