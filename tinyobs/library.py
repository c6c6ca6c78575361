"""TinyObs as a library: open a data directory and ask it in PromQL, with NumPy arrays for an answer.

    with tinyobs.open("data") as db:
        labels, times_ms, values = db.query_range("rate(up[5m])", start=-3600, step=15).to_numpy()

The directory is locked while it is open; one that a daemon uses is refused with `LockedError`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
from attrs import evolve, frozen
from numpy.typing import NDArray

from .errors import StorageError, UsageError
from .frames.table import LongTable, label_names, long_table
from .frames.to_arrow import arrow_batch, arrow_table, arrow_wide
from .frames.to_pandas import pandas_long, pandas_wide
from .frames.to_polars import polars_long, polars_wide
from .model.columns import SeriesColumns
from .model.durations import parse_duration
from .model.functions import PromqlFunction
from .model.histograms import is_handle, numbers_of
from .model.matchers import Matcher
from .model.metadata import MetricMetadata
from .model.registry import SeriesRegistry
from .model.staleness import STALE_BITS, is_stale
from .promql.engine import PromqlEngine
from .promql.functions.registry import BUILT_IN, FunctionSet
from .promql.limits import EngineOptions as QueryOptions
from .promql.nodes import ValueType
from .promql.parser import parse_selector
from .promql.plugin_functions import function_set
from .promql.result import Result
from .storage.engine import Engine, open_directory
from .storage.layout import MANIFEST
from .storage.options import EngineOptions

Time: TypeAlias = float | int | datetime | None
"""Unix seconds, a datetime, seconds before now where negative, or None for now."""

YEARS_1000_MS: Final = 1000 * 365 * 86_400_000

TIME_MS_MAX: Final = 1 << 52
"""Farthest time in ms from 1970 that is taken, 142 000 years: what is beyond was meant in another unit."""

STEPS_MAX: Final = 10_000_000
"""Steps of a range query; each takes 8 bytes a series and more while it is evaluated."""
BLOCK_SAMPLES: Final = 1 << 20
"""Samples in a block of `Database.series`, about: 16 MB of times and values."""
SUM_WORD: Final = 4
"""Where the sum of a histogram is among its words (`model/histograms.py`)."""
FIRST_BLOCK_SERIES: Final = 64
"""Series in the first block, fewer where blocks are small; how many there are in the next follows from what these had."""

Series: TypeAlias = tuple[dict[str, str], NDArray[np.int64], NDArray[np.float64]]


@frozen
class Answer:
    """What a query found.  Iterating yields (labels, timestamps in ms as int64[n], values as float64[n]) of each series.

    An instant query has one sample a series; a scalar is one series without labels.
    """

    result: Result

    @property
    def columns(self) -> SeriesColumns:
        """The samples of all series as columns."""
        return self.result.columns

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings and infos of the evaluation."""
        return self.result.warnings + self.result.infos

    def __len__(self) -> int:
        return len(self.columns)

    def __iter__(self) -> Iterator[Series]:
        for i in range(len(self.columns)):
            labels, times, values = self.columns.one(i)
            yield dict(labels), times, values

    def to_numpy(self) -> tuple[list[dict[str, str]], NDArray[np.int64], NDArray[np.float64]]:
        """Return (labels of S series, timestamps in ms int64[T], values float64[S, T]).

        T are all times at which any series has a sample, ascending; NaN stands where a series has none.
        """
        columns = self.columns
        times, at = np.unique(columns.timestamps_ms, return_inverse=True)
        matrix = np.full((len(columns), len(times)), np.nan)
        rows = np.repeat(np.arange(len(columns)), np.diff(columns.offsets))
        matrix[rows, at] = columns.values
        return [dict(labels) for labels in columns.labels], times, matrix

    def to_pandas(self, *, wide: bool = False) -> Any:
        """Return a `pandas.DataFrame`: a row for each sample, or `wide` for each time with a column for each series.

        Raises `UsageError` when pandas is not installed, for a string, and for a wide frame of histograms.
        """
        return pandas_wide(self._frame()) if wide else pandas_long(long_table(self._frame()))

    def to_polars(self, *, wide: bool = False) -> Any:
        """Return a `polars.DataFrame`; as `to_pandas`."""
        return polars_wide(self._frame()) if wide else polars_long(long_table(self._frame()))

    def to_arrow(self, *, wide: bool = False) -> Any:
        """Return a `pyarrow.Table`; as `to_pandas`."""
        return arrow_wide(self._frame()) if wide else arrow_table(long_table(self._frame()))

    def _frame(self) -> SeriesColumns:
        if self.result.type is ValueType.STRING:
            raise UsageError("the result is a string; to_text() gives it")
        return self.result.columns

    def to_text(self) -> str:
        """Return the text of a string result."""
        if self.result.type is not ValueType.STRING:
            raise UsageError(f"the result is a {self.result.type}, not a string")
        return self.result.text


@frozen(eq=False)
class Block:
    """Some series of a selection with all their samples.  Iterating yields (labels, timestamps in ms, values)."""

    columns: SeriesColumns
    label_names: Sequence[str]
    """The labels of all series of the selection: every block has the same columns."""

    def __len__(self) -> int:
        return len(self.columns)

    def __iter__(self) -> Iterator[Series]:
        for i in range(len(self.columns)):
            labels, times, values = self.columns.one(i)
            yield dict(labels), times, values

    def to_pandas(self) -> Any:
        """Return a `pandas.DataFrame` with a row for each sample."""
        return pandas_long(self._table())

    def to_polars(self) -> Any:
        """Return a `polars.DataFrame` with a row for each sample."""
        return polars_long(self._table())

    def to_arrow(self) -> Any:
        """Return a `pyarrow.RecordBatch`; those of all blocks have the same schema."""
        return arrow_batch(self._table())

    def _table(self) -> LongTable:
        return long_table(self.columns, self.label_names, all_columns=True)


class Database:
    """An open data directory.  A context manager; methods may be called from any thread."""

    def __init__(self, engine: Engine, options: QueryOptions, functions: FunctionSet = BUILT_IN) -> None:
        self._engine = engine
        self._promql = PromqlEngine(options, functions)
        self._closed = False

    def query(self, expression: str, at: Time = None, *, resolution: float | str | None = None) -> Answer:
        """Evaluate PromQL at one time; raises `QueryError`.

        resolution: the downsampling tier to read, "raw" for none; by default the storage chooses.
        """
        tier_ms = _resolution_ms(resolution)
        return Answer(self._promql.instant(self._open_engine(), expression, _to_ms(at), resolution_ms=tier_ms))

    def query_range(
        self,
        expression: str,
        start: Time,
        end: Time = None,
        step: float | str = 15,
        *,
        resolution: float | str | None = None,
    ) -> Answer:
        """Evaluate PromQL from `start` to `end` at every `step` (seconds, or text such as "5m").

        resolution: as for `query`.  Raises `QueryError`, and `UsageError` for times that make no sense.
        """
        now_ms = _now_ms()
        step_ms, start_ms, end_ms = _step_ms(step), _to_ms(start, now_ms), _to_ms(end, now_ms)
        if step_ms <= 0:
            raise UsageError("the step must be longer than 0")
        if end_ms < start_ms:
            raise UsageError("the end lies before the start")
        steps = (end_ms - start_ms) // step_ms + 1
        if steps > STEPS_MAX:
            raise UsageError(f"{steps} steps from start to end, more than {STEPS_MAX}: make the step longer")
        tier_ms = _resolution_ms(resolution)
        found = self._promql.range(self._open_engine(), expression, start_ms, end_ms, step_ms, resolution_ms=tier_ms)
        return Answer(found)

    def series(
        self, match: str, start: Time, end: Time = None, *, block_samples: int = BLOCK_SAMPLES, stale: bool = False
    ) -> Iterator[Block]:
        """Yield the stored samples of all series that fulfil a selector, in blocks of series, sorted by labels.

        Only one block is held at a time, of about `block_samples` samples; a single series is never cut.  stale: keep
        staleness markers (they are NaN).  Raises `QueryParseError` for the selector, `UsageError` for the times.
        """
        now_ms = _now_ms()
        start_ms, end_ms = _to_ms(start, now_ms), _to_ms(end, now_ms)
        if end_ms < start_ms:
            raise UsageError("the end lies before the start")
        if block_samples < 1:
            raise UsageError("a block has at least one sample")
        return _blocks(self._open_engine(), parse_selector(match), start_ms, end_ms, block_samples, stale)

    def metadata(self) -> Mapping[str, MetricMetadata]:
        """Return type, help and unit of metric families, by name."""
        return self._open_engine().metadata()

    def close(self) -> None:
        """Give the directory back; idempotent.  No query may be running."""
        self._closed = True
        self._engine.close()

    def _open_engine(self) -> Engine:
        if self._closed:
            raise StorageError("the database is closed")
        return self._engine

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def open_database(
    path: str | os.PathLike[str], *, features: Sequence[str] = (), functions: Sequence[PromqlFunction] = ()
) -> Database:
    """Open a data directory that exists; see `tinyobs.open`.

    features: feature flags of PromQL.  functions: further functions of PromQL.  Raises `StorageError` when there is no data directory, `LockedError` while a
    daemon or another program uses it, `CorruptionError` when it is damaged.
    """
    folder = Path(path)
    if not (folder / MANIFEST).is_file():
        raise StorageError(f"there is no data directory {folder}; `tinyobs run` creates one")
    engine = open_directory(folder, SeriesRegistry(), _now_ms, EngineOptions(retention_ms=YEARS_1000_MS))
    known = function_set(("tinyobs.open", f) for f in functions)
    return Database(engine, QueryOptions().with_features(features), known)


def _blocks(
    engine: Engine, matchers: Sequence[Matcher], start_ms: int, end_ms: int, block_samples: int, stale: bool
) -> Iterator[Block]:
    with engine.querier(start_ms, end_ms) as querier:
        selection = querier.select(matchers, start_ms, end_ms)
        names = label_names(selection.labels)
        at, total = 0, len(selection.labels)
        size = min(FIRST_BLOCK_SERIES, max(1, block_samples // 16))
        while at < total:
            columns = selection.read(at, min(at + size, total))
            at += size
            size = min(max(1, size * block_samples // max(columns.samples, 1)), 4 * size)
            if not stale:
                columns = _without_markers(columns)
            if columns.samples:
                yield Block(columns, names)


def _without_markers(columns: SeriesColumns) -> SeriesColumns:
    """Return columns less the staleness markers."""
    gone = is_stale(columns.values)
    if columns.histograms is not None:
        at = np.flatnonzero(is_handle(columns.values))
        numbers = numbers_of(columns.values[at])
        gone[at] = columns.histograms.words[columns.histograms.offsets[numbers] + SUM_WORD] == STALE_BITS
    if not gone.any():
        return columns
    kept, starts = ~gone, columns.starts_ms
    return evolve(
        columns,
        offsets=np.concatenate(([0], np.cumsum(kept)))[columns.offsets],
        timestamps_ms=columns.timestamps_ms[kept],
        values=columns.values[kept],
        starts_ms=None if starts is None else starts[kept],
    )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _step_ms(step: float | str) -> int:
    try:
        return int(parse_duration(step)) if isinstance(step, str) else round(step * 1000)
    except (ValueError, OverflowError) as e:
        raise UsageError(f"the step {step!r} is no duration: {e}") from None


def _resolution_ms(resolution: float | str | None) -> int | None:
    if resolution is None or resolution == "raw":
        return 0 if resolution else None
    try:
        found = int(parse_duration(resolution)) if isinstance(resolution, str) else round(resolution * 1000)
    except (ValueError, OverflowError) as e:
        raise UsageError(f"the resolution {resolution!r} is no duration: {e}") from None
    if found < 0:
        raise UsageError("the resolution must not be below 0")
    return found


def _to_ms(at: Time, now_ms: int | None = None) -> int:
    now_ms = _now_ms() if now_ms is None else now_ms
    if at is None:
        return now_ms
    if isinstance(at, datetime):
        return round(at.timestamp() * 1000)
    try:
        time_ms = round(at * 1000) + (now_ms if at < 0 else 0)
    except (ValueError, OverflowError, TypeError):
        raise UsageError(f"{at!r} is no time: give Unix seconds or a datetime") from None
    if abs(time_ms) > TIME_MS_MAX:
        raise UsageError(f"{at!r} is no time: it is in seconds since 1970")
    return time_ms
