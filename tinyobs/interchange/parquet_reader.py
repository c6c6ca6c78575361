"""Parquet -> samples; what columns mean says `csv_columns.py`, what our own look like `parquet_writer.py`.

Times may be timestamps of any unit and zone, or integers; values any numbers; labels texts, dictionaries of text,
integers or booleans.  Read a row group at a time; a place in the input is the number of row groups before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, Final

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from ..errors import UsageError
from ..model.batch import Batch
from ..model.histogram_checks import fault_of
from ..model.histograms import Histogram, handles, histograms_of, unpack, without_handles
from ..model.labels import NAME
from ..model.registry import SeriesRegistry
from .chunks import START, Chunk, Position, Refusals
from .csv_columns import ColumnChoice, ColumnMap, TimeForm, map_columns
from .label_sets import labels_of
from .numbers import time_faults
from .parquet_writer import arrow

ROW_GROUP_ROWS_MAX: Final = 1 << 26
"""Rows in a row group that is read."""
HISTOGRAM_COLUMN: Final = "histogram"
_NUMBERS_PER_S: Final = {TimeForm.S: 1, TimeForm.MS: 1000, TimeForm.US: 1_000_000, TimeForm.NS: 1_000_000_000}

Times = NDArray[np.int64]


@frozen
class ParquetReader:
    """Reads Parquet."""

    choice: ColumnChoice = field(factory=ColumnChoice)

    def read(
        self, stream: BinaryIO, registry: SeriesRegistry, refusals: Refusals, start: Position = START
    ) -> Iterator[Chunk]:
        """Yield the samples of the row groups; raises `UsageError` where the file cannot be read as a whole."""
        pa, pq = arrow()
        if not stream.seekable():
            raise UsageError("a Parquet file cannot be read from a pipe")
        try:
            file = pq.ParquetFile(stream)
        except (pa.ArrowException, OSError) as e:
            raise UsageError(f"{refusals.file} is no Parquet file: {e}") from None
        names = file.schema_arrow.names
        columns = _map(pa, file.schema_arrow, self.choice)
        has_histograms = HISTOGRAM_COLUMN in names and pa.types.is_binary(
            file.schema_arrow.field(HISTOGRAM_COLUMN).type
        )
        row = start.line
        for i in range(start.offset, file.num_row_groups):
            rows = file.metadata.row_group(i).num_rows
            end = Position(i + 1, row + rows)
            try:
                if rows > ROW_GROUP_ROWS_MAX:
                    raise UsageError(f"row group {i} has more than {ROW_GROUP_ROWS_MAX} rows")
                table = file.read_row_group(i)
                batch = _batch(pa, table, columns, has_histograms, registry, refusals, row)
            except (pa.ArrowException, OSError) as e:
                refusals.refuse(row + 1, 0, f"row group {i} cannot be read: {e}")
                batch = Batch(np.empty(0, np.uint32), np.empty(0, np.int64), np.empty(0))
            row += rows
            yield Chunk(batch, end)


def _map(pa: Any, schema: Any, choice: ColumnChoice) -> ColumnMap:
    """Return what the columns are; numbers show themselves by their types."""
    names = [n for n in schema.names if not (n == HISTOGRAM_COLUMN and pa.types.is_binary(schema.field(n).type))]
    kinds = [schema.field(n).type for n in names]
    example = ["0" if pa.types.is_floating(k) else "x" for k in kinds]
    if choice.time_form is None:
        for i, k in enumerate(kinds):
            if pa.types.is_integer(k):
                example[i] = "1" * 13  # milliseconds, where nothing else is said
    found = map_columns(names, example, choice)
    where = [schema.names.index(n) for n in names]
    return ColumnMap(
        len(schema.names),
        where[found.time],
        found.time_form,
        tuple((where[i], n) for i, n in found.values),
        tuple((where[i], n) for i, n in found.labels),
    )


def _batch(
    pa: Any,
    table: Any,
    columns: ColumnMap,
    has_histograms: bool,
    registry: SeriesRegistry,
    refusals: Refusals,
    row: int,
) -> Batch:
    """Return the samples of a table whose first row is number `row`, from 0."""
    assert isinstance(columns.time_form, TimeForm)  # layouts are for texts that say so (`csv_format.py`)
    times, known = _times(pa, table.column(columns.time), columns.time_form)
    codes, keys = _series(pa, table, columns)
    bad = np.ones(len(times), np.bool_)
    bad[known] = False
    bad[time_faults(times)] = True
    for at in np.flatnonzero(bad).tolist():
        refusals.refuse(row + at + 1, 0, "a time that cannot be")
    histograms: list[Histogram] = []
    packed = table.column(HISTOGRAM_COLUMN) if has_histograms else None
    parts = []
    for v, (i, metric) in enumerate(columns.values):
        refs = _intern(keys, columns, metric, registry, refusals, row, codes)[codes]
        column = table.column(i).combine_chunks().cast(pa.float64())
        values = without_handles(column.to_numpy(zero_copy_only=False).astype(np.float64))
        present = np.asarray(column.is_valid())
        if packed is not None and v == 0 and packed.null_count < len(packed):
            values, more = _with_histograms(values.copy(), packed, histograms, refusals, row)
            present |= more
        good = np.flatnonzero(present & ~bad & (refs >= 0))
        parts.append((refs[good].astype(np.uint32), times[good], values[good]))
    refs_, times_, values_ = (np.concatenate(c) for c in zip(*parts, strict=True))
    return Batch(refs_, times_, values_, "import", histograms=histograms_of(histograms) if histograms else None)


def _with_histograms(
    values: NDArray[np.float64], packed: Any, histograms: list[Histogram], refusals: Refusals, row: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the values with handles where there are histograms, and where those are."""
    present = np.zeros(len(values), np.bool_)
    valid = np.asarray(packed.combine_chunks().is_valid())
    for at in np.flatnonzero(valid).tolist():
        try:
            h = unpack(packed[at].as_py())
            fault = fault_of(h)
        except ValueError as e:
            fault = str(e)
        if fault:
            refusals.refuse(row + at + 1, 0, f"no histogram: {fault}")
            continue
        present[at] = True
        histograms.append(h)
    values[present] = handles(0, len(histograms))
    return values, present


def _times(pa: Any, column: Any, form: TimeForm) -> tuple[Times, NDArray[np.bool_]]:
    """Return times in ms rounded down, int64[n], and where there is one."""
    column = column.combine_chunks()
    kind = column.type
    known = np.asarray(column.is_valid())
    if pa.types.is_timestamp(kind):
        per_second = {"s": 1, "ms": 1000, "us": 1_000_000, "ns": 1_000_000_000}[kind.unit]
        numbers = column.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
    elif pa.types.is_integer(kind) and form is not TimeForm.RFC3339:
        per_second = _NUMBERS_PER_S[form]
        numbers = column.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
    elif pa.types.is_floating(kind) and form is not TimeForm.RFC3339:
        scaled = column.fill_null(np.nan).to_numpy(zero_copy_only=False).astype(np.float64)
        with np.errstate(invalid="ignore", over="ignore"):
            scaled = np.rint(scaled * (1000 / _NUMBERS_PER_S[form]))
            fine = np.abs(scaled) < 1 << 60
        return np.where(fine, scaled, 0).astype(np.int64), known & fine
    else:
        raise UsageError(f"the column of times has type {kind}; it should be a timestamp or a number")
    if per_second >= 1000:
        return numbers // (per_second // 1000), known
    fine = np.abs(numbers) < 1 << 50
    return np.where(fine, numbers, 0) * 1000, known & fine


def _series(pa: Any, table: Any, columns: ColumnMap) -> tuple[Times, list[tuple[str, ...]]]:
    """Return the series of each row as a number, and the label values of each such series, "" for none."""
    codes = np.zeros(table.num_rows, np.int64)
    keys: list[tuple[str, ...]] = [()]
    for i, _ in columns.labels:
        column = table.column(i).combine_chunks()
        if not pa.types.is_dictionary(column.type):
            column = column.cast(pa.string()).dictionary_encode()
        words = [w or "" for w in column.dictionary.cast(pa.string()).to_pylist()] + [""]
        own = column.indices.fill_null(len(words) - 1).to_numpy(zero_copy_only=False).astype(np.int64)
        both, codes = np.unique(codes * len(words) + own, return_inverse=True)
        keys = [(*keys[c // len(words)], words[c % len(words)]) for c in both.tolist()]
    return codes, keys


def _intern(
    keys: Sequence[tuple[str, ...]],
    columns: ColumnMap,
    metric: str,
    registry: SeriesRegistry,
    refusals: Refusals,
    row: int,
    codes: Times,
) -> Times:
    """Return int64 refs of the series, -1 where one is refused; every row of it is counted."""
    refs = np.full(len(keys), -1, np.int64)
    names = [n for _, n in columns.labels]
    for i, key in enumerate(keys):
        labels = dict(zip(names, key, strict=True))
        try:
            refs[i] = registry.intern(labels_of(labels | {NAME: metric} if metric else labels))
        except ValueError as e:
            for at in np.flatnonzero(codes == i).tolist():
                refusals.refuse(row + at + 1, 0, str(e))
    return refs
