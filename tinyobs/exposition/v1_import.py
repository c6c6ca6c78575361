"""What an export of the first TinyObs says, JSON or CSV: samples, and sentences about entries that are passed over.

Unlike a push, each entry stands for itself.  Values of counters and histograms are taken as they are.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from attrs import Factory, define

from ..model.batch import Batch
from ..model.labels import Labels
from ..model.metadata import MetricMetadata
from ..model.registry import SeriesRegistry
from .pushed import Faults, Pushed
from .v1_metrics import TYPES, V1Fault, V1Limits, family_of, labels_of, load_metrics
from .v1_times import TimeReader
from .v1_writer import CSV_COLUMNS

BATCH_SAMPLES: Final = 5000
"""Samples that are stored at once."""
PAST_MS: Final = 10 * 365 * 86_400_000
FUTURE_MS: Final = 86_400_000
"""How old a sample may be, and how far ahead."""
SKIPPED: Final = "skipped"
"""The reason that entries which are passed over are counted under."""
ORIGIN: Final = "v1"

_TEXT_VALUES: Final = {"NaN", "+Inf", "-Inf", "Inf"}


def json_entries(body: bytes) -> list[Any]:
    """Return the entries of an export as JSON; raises `V1Fault`."""
    return load_metrics(body, 0)


def csv_entries(body: bytes) -> Iterator[Any]:
    """Yield the entries of an export as CSV; raises `V1Fault` for a head that is none, and where the table is broken."""
    try:
        text = body.decode()
    except UnicodeDecodeError as e:
        raise V1Fault(f"the table is not UTF-8: byte {e.start}") from None
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        head = next(rows, [])
        if tuple(head[:4]) != CSV_COLUMNS or len(set(head)) != len(head) or "" in head:
            raise V1Fault(f"the first row of the table must begin with {','.join(CSV_COLUMNS)}")
        for row in rows:
            if not row:
                continue
            if len(row) != len(head):
                yield f"{len(row)} cells instead of {len(head)}"
                continue
            labels = {name: value for name, value in zip(head[4:], row[4:], strict=True) if value}
            yield {"timestamp": row[0], "name": row[1], "type": row[2], "value": _number(row[3]), "labels": labels}
    except csv.Error as e:
        raise V1Fault(f"line {rows.line_num} of the table: {e}") from None


@define
class V1Importer:
    """Makes batches of entries.  One import, one importer."""

    registry: SeriesRegistry
    limits: V1Limits
    now_ms: int
    extra: Labels = ()
    metadata: dict[str, MetricMetadata] = Factory(dict)
    _times: TimeReader = Factory(TimeReader)

    def take(self, entries: list[Any], first: int) -> Pushed:
        """Return what some entries say; `first` is the number of the first of them, for messages."""
        faults = Faults()
        series: list[Labels] = []
        times: list[int] = []
        values: list[float] = []
        metadata: dict[str, MetricMetadata] = {}
        for index, entry in enumerate(entries, first):
            try:
                labels, time_ms, value = self._entry(entry, metadata)
            except ValueError as e:
                faults.add(SKIPPED, f"metric {index}: {e}")
                continue
            series.append(labels)
            times.append(time_ms)
            values.append(value)
        batch = Batch(
            self.registry.intern_many(series),
            np.array(times, np.int64),
            np.array(values, np.float64),
            ORIGIN,
            metadata,
        )
        return faults.pushed(batch)

    def _entry(self, entry: Any, metadata: dict[str, MetricMetadata]) -> tuple[Labels, int, float]:
        if isinstance(entry, str):
            raise ValueError(entry)
        labels = labels_of(entry, self.limits, self.extra)
        type_, stamp = entry.get("type"), entry.get("timestamp")
        if type_ not in TYPES:
            raise ValueError(f"invalid metric type: {str(type_ or '')[:40]!r}")
        if not isinstance(stamp, str) or stamp.startswith("0001-01-01T00:00:00"):
            raise ValueError("metric timestamp cannot be zero")
        time_ms = self._times.read(stamp)
        if time_ms < self.now_ms - PAST_MS:
            raise ValueError(f"timestamp too far in past: {stamp}")
        if time_ms > self.now_ms + FUTURE_MS:
            raise ValueError(f"timestamp too far in future: {stamp}")
        value = entry.get("value", 0.0)
        if isinstance(value, str) and value in _TEXT_VALUES:
            value = float(value)
        if type(value) is not float and type(value) is not int:
            raise ValueError(f"value must be a number, not {str(value)[:40]!r}")
        self._note(entry["name"], type_, metadata)
        return labels, time_ms, float(value)

    def _note(self, name: str, type_: str, metadata: dict[str, MetricMetadata]) -> None:
        family = family_of(name, type_)
        one = MetricMetadata(TYPES[type_])
        if self.metadata.get(family) != one:
            self.metadata[family] = metadata[family] = one


def _number(text: str) -> float | str:
    try:
        return text if text in _TEXT_VALUES else float(text)
    except ValueError:
        return text
