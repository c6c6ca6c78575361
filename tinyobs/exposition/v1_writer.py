"""Samples as the first TinyObs shows them, one object or row for each: of `/v1/query`, `/v1/export` and `/v1/ws`.

JSON has no number for NaN and the infinities: they are texts, "NaN", "+Inf" and "-Inf", which an import reads again.
Staleness markers and native histograms have no form here and are left out.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import numpy as np
from attrs import evolve

from ..model.columns import SeriesColumns
from ..model.histograms import is_handle
from ..model.labels import NAME, Labels
from ..model.metadata import MetricMetadata, MetricType
from ..model.staleness import is_stale
from .json import LabelWriter, dump, format_floats
from .v1_metrics import family_of
from .v1_times import write_times

CSV_COLUMNS: Final = ("timestamp", "name", "type", "value")
_KNOWN: Final = (MetricType.COUNTER, MetricType.HISTOGRAM)


def type_of(name: str, metadata: Mapping[str, MetricMetadata]) -> str:
    """Return the type of a metric: counter, gauge or histogram; what is unknown, or of another type, is a gauge."""
    for family in (name, name.removesuffix("_total"), family_of(name, "histogram")):
        found = metadata.get(family)
        if found is not None:
            return str(found.type) if found.type in _KNOWN else "gauge"
    return "gauge"


def shown(columns: SeriesColumns) -> SeriesColumns:
    """Return the columns with only the samples that have a form here."""
    hidden = is_stale(columns.values) | is_handle(columns.values)
    if not hidden.any():
        return columns
    before = np.concatenate(([0], np.cumsum(~hidden)))
    return SeriesColumns(
        columns.labels, before[columns.offsets], columns.timestamps_ms[~hidden], columns.values[~hidden]
    )


def json_rows(columns: SeriesColumns, metadata: Mapping[str, MetricMetadata]) -> list[str]:
    """Return an object for each sample, in order; see `shown`."""
    columns, names = shown(columns), LabelWriter()
    out: list[str] = []
    values, times = _value_texts(columns), write_times(columns.timestamps_ms)
    for i, labels in enumerate(columns.labels):
        a, b = int(columns.offsets[i]), int(columns.offsets[i + 1])
        if a == b:
            continue
        name, own = split(labels)
        head = f'{{"name":{dump(name)},"type":"{type_of(name, metadata)}","value":'
        tail = (f',"labels":{names.write(own)}' if own else "") + ',"timestamp":"'
        out += [f'{head}{v}{tail}{t}"}}' for v, t in zip(values[a:b], times[a:b], strict=True)]
    return out


def csv_rows(columns: SeriesColumns, metadata: Mapping[str, MetricMetadata], label_names: Sequence[str]) -> str:
    """Return a row for each sample, with a column for each of the label names."""
    columns, text = shown(columns), io.StringIO()
    write = csv.writer(text).writerows
    values, times = format_floats(columns.values), write_times(columns.timestamps_ms)
    for i, labels in enumerate(columns.labels):
        a, b = int(columns.offsets[i]), int(columns.offsets[i + 1])
        name, own = split(labels)
        pairs, type_ = dict(own), type_of(name, metadata)
        cells = [pairs.get(label, "") for label in label_names]
        write([t, name, type_, v, *cells] for v, t in zip(values[a:b], times[a:b], strict=True))
    return text.getvalue()


def csv_head(label_names: Sequence[str]) -> str:
    """Return the first row."""
    text = io.StringIO()
    csv.writer(text).writerow((*CSV_COLUMNS, *label_names))
    return text.getvalue()


def range_series(columns: SeriesColumns, points_max: int, resolution: str) -> Iterator[str]:
    """Yield an object for each series that has samples: `points` of `{"t":ms,"v":value}`, at most `points_max`."""
    columns, names = shown(columns), LabelWriter()
    for i, labels in enumerate(columns.labels):
        _, times, values = columns.one(i)
        if not len(times):
            continue
        size = -(-len(times) // points_max)
        if size > 1:
            starts = np.arange(0, len(times), size)
            counts = np.diff(np.append(starts, len(times)))
            times, values = times[starts], np.add.reduceat(values, starts) / counts
        name, own = split(labels)
        texts = _value_texts(evolve(columns, values=values))
        points = ",".join([f'{{"t":{t},"v":{v}}}' for t, v in zip(times.tolist(), texts, strict=True)])
        labelled = f',"labels":{names.write(own)}' if own else ""
        yield f'{{"metric":{dump(name)}{labelled},"points":[{points}],"resolution":"{resolution}"}}'


def split(labels: Labels) -> tuple[str, Labels]:
    """Return the name of a metric and its other labels."""
    name = next((value for label, value in labels if label == NAME), "")
    return name, tuple(pair for pair in labels if pair[0] != NAME)


def _value_texts(columns: SeriesColumns) -> list[str]:
    """Return the values as JSON; -0 has a point, for an integer has no sign to lose."""
    texts = format_floats(columns.values)
    for i in np.flatnonzero((columns.values == 0) & np.signbit(columns.values)).tolist():
        texts[i] = "-0.0"
    for i in np.flatnonzero(~np.isfinite(columns.values)).tolist():
        texts[i] = f'"{texts[i]}"'
    return texts
