"""What a data directory holds, as plain values that JSON keeps exactly: floats as their 16 hexadecimal digits."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from tinyobs.model.columns import SeriesColumns
from tinyobs.model.histograms import Histogram, numbers_of
from tinyobs.storage.engine import Engine

EVER = 2**62


def bits(value: float) -> str:
    """Return the digits of a float, NaN payloads and the sign of zero included."""
    return struct.pack(">d", value).hex()


def plain_histogram(h: Histogram) -> list[Any]:
    """Return a native histogram as JSON has it: its fields in their order."""
    return [
        h.schema,
        *map(bits, (h.zero_threshold, h.zero_count, h.count, h.sum)),
        [list(s) for s in h.positive_spans],
        " ".join(map(bits, h.positive_buckets)),
        [list(s) for s in h.negative_spans],
        " ".join(map(bits, h.negative_buckets)),
        " ".join(map(bits, h.custom_values)),
        int(h.reset_hint),
        int(h.is_integer),
    ]


def plain_series(columns: SeriesColumns) -> list[dict[str, Any]]:
    """Return each series with its samples [time, value, start time]."""
    values: list[Any] = [bits(v) for v in columns.values.tolist()]
    numbers = numbers_of(columns.values)
    for at in np.flatnonzero(numbers >= 0).tolist():
        assert columns.histograms is not None
        values[at] = plain_histogram(columns.histograms.one(int(numbers[at])))
    starts = [0] * len(values) if columns.starts_ms is None else columns.starts_ms.tolist()
    rows = [list(row) for row in zip(columns.timestamps_ms.tolist(), values, starts, strict=True)]
    bounds = columns.offsets.tolist()
    return [
        {"labels": dict(labels), "samples": rows[a:b]}
        for labels, a, b in zip(columns.labels, bounds[:-1], bounds[1:], strict=True)
        if b > a
    ]


def plain_content(engine: Engine) -> dict[str, Any]:
    """Return all samples, tiers, exemplars, metadata and deletes of an engine."""
    with engine.querier(-EVER, EVER) as q:
        selection = q.select((), -EVER, EVER)
        series = plain_series(selection.read(0, len(selection.labels)))
    tiers: dict[str, list[dict[str, Any]]] = {}
    for entry, reader in engine.segments.tiers:
        rows = tiers.setdefault(f"{entry.tier_ms}/{entry.level}", [])
        rows += [one for columns in reader.iterate() for one in plain_series(columns)]
    return {
        "series": series,
        "tiers": tiers,
        "exemplars": [
            [dict(s.series), [[dict(e.labels), bits(e.value), e.timestamp_ms, e.has_time] for e in s.exemplars]]
            for s in engine.exemplars([()], -EVER, EVER)
        ],
        "metadata": {k: [str(m.type), m.help, m.unit] for k, m in sorted(engine.metadata().items())},
    }
