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
from typing import Final, TypeAlias

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from .errors import StorageError, UsageError
from .model.columns import SeriesColumns
from .model.durations import parse_duration
from .model.metadata import MetricMetadata
from .model.registry import SeriesRegistry
from .promql.engine import PromqlEngine
from .promql.limits import EngineOptions as QueryOptions
from .promql.nodes import ValueType
from .promql.result import Result
from .storage.engine import Engine, open_directory
from .storage.layout import MANIFEST
from .storage.options import EngineOptions

Time: TypeAlias = float | int | datetime | None
"""Unix seconds, a datetime, seconds before now where negative, or None for now."""

YEARS_1000_MS: Final = 1000 * 365 * 86_400_000

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

    def to_text(self) -> str:
        """Return the text of a string result."""
        if self.result.type is not ValueType.STRING:
            raise UsageError(f"the result is a {self.result.type}, not a string")
        return self.result.text


class Database:
    """An open data directory.  A context manager; methods may be called from any thread."""

    def __init__(self, engine: Engine, options: QueryOptions) -> None:
        self._engine = engine
        self._promql = PromqlEngine(options)
        self._closed = False

    def query(self, expression: str, at: Time = None) -> Answer:
        """Evaluate PromQL at one time; raises `QueryError`."""
        return Answer(self._promql.instant(self._open_engine(), expression, _to_ms(at)))

    def query_range(self, expression: str, start: Time, end: Time = None, step: float | str = 15) -> Answer:
        """Evaluate PromQL from `start` to `end` at every `step` (seconds, or text such as "5m").

        Raises `QueryError`, and `UsageError` for times that make no sense.
        """
        now_ms = _now_ms()
        step_ms, start_ms, end_ms = _step_ms(step), _to_ms(start, now_ms), _to_ms(end, now_ms)
        if step_ms <= 0:
            raise UsageError("the step must be longer than 0")
        if end_ms < start_ms:
            raise UsageError("the end lies before the start")
        return Answer(self._promql.range(self._open_engine(), expression, start_ms, end_ms, step_ms))

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


def open_database(path: str | os.PathLike[str], *, features: Sequence[str] = ()) -> Database:
    """Open a data directory that exists; see `tinyobs.open`.

    features: feature flags of PromQL.  Raises `StorageError` when there is no data directory, `LockedError` while a
    daemon or another program uses it, `CorruptionError` when it is damaged.
    """
    folder = Path(path)
    if not (folder / MANIFEST).is_file():
        raise StorageError(f"there is no data directory {folder}; `tinyobs run` creates one")
    engine = open_directory(folder, SeriesRegistry(), _now_ms, EngineOptions(retention_ms=YEARS_1000_MS))
    delayed = "promql-delayed-name-removal" in features
    return Database(engine, QueryOptions(features=frozenset(features), delayed_name_removal=delayed))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _step_ms(step: float | str) -> int:
    try:
        return int(parse_duration(step)) if isinstance(step, str) else round(step * 1000)
    except (ValueError, OverflowError) as e:
        raise UsageError(f"the step {step!r} is no duration: {e}") from None


def _to_ms(at: Time, now_ms: int | None = None) -> int:
    now_ms = _now_ms() if now_ms is None else now_ms
    if at is None:
        return now_ms
    if isinstance(at, datetime):
        return round(at.timestamp() * 1000)
    try:
        return round(at * 1000) + (now_ms if at < 0 else 0)
    except (ValueError, OverflowError):
        raise UsageError(f"{at!r} is no time") from None
