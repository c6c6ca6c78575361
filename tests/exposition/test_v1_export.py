"""What is exported is imported again as the same samples, whatever the names and values."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyobs.exposition.v1_import import V1Importer, csv_entries, json_entries
from tinyobs.exposition.v1_metrics import V1Fault, V1Limits
from tinyobs.exposition.v1_writer import csv_head, csv_rows, json_rows, range_series, type_of
from tinyobs.model.columns import SeriesColumns
from tinyobs.model.histograms import handles
from tinyobs.model.labels import NAME, from_mapping
from tinyobs.model.metadata import MetricMetadata, MetricType
from tinyobs.model.registry import SeriesRegistry
from tinyobs.model.staleness import STALE_NAN

NOW_MS = 1_700_000_000_000
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5).filter(lambda s: s != NAME)
SERIES = st.dictionaries(NAMES, NAMES, max_size=3)
METADATA = {
    "c_total": MetricMetadata(MetricType.COUNTER),
    "om": MetricMetadata(MetricType.COUNTER),
    "h": MetricMetadata(MetricType.HISTOGRAM),
    "s": MetricMetadata(MetricType.SUMMARY),
}


def columns(rows):
    """Return columns of (labels, [(time, value), ...])."""
    flat = [p for _, points in rows for p in points]
    offsets = np.concatenate(([0], np.cumsum([len(points) for _, points in rows]))).astype(np.int64)
    times = np.array([t for t, _ in flat], np.int64)
    return SeriesColumns([labels for labels, _ in rows], offsets, times, np.array([v for _, v in flat], np.float64))


def samples(importer, entries):
    """Return what an importer makes of entries, as (labels, time, value)."""
    pushed = importer.take(list(entries), 0)
    batch = pushed.batch
    found = zip(batch.refs.tolist(), batch.timestamps_ms.tolist(), batch.values.tolist(), strict=True)
    return [(importer.registry.labels(ref), t, repr(v)) for ref, t, v in found], pushed


def importer():
    """Return an importer."""
    return V1Importer(SeriesRegistry(), V1Limits(), NOW_MS)


def test_types():
    """By the family; what is unknown or has no name here is a gauge."""
    names = ["c_total", "om_total", "h_bucket", "h_sum", "h", "s", "none"]
    assert [type_of(n, METADATA) for n in names] == [
        *("counter", "counter", "histogram", "histogram", "histogram"), "gauge", "gauge"
    ]  # fmt: skip


def test_what_has_no_form_is_left_out():
    """Staleness markers and native histograms."""
    found = columns([(from_mapping({NAME: "a"}), [(1, 1.0), (2, STALE_NAN), (3, handles(0, 1)[0]), (4, np.nan)])])
    assert [json.loads(row)["value"] for row in json_rows(found, {})] == [1.0, "NaN"]
    assert csv_rows(found, {}, []).count("\n") == 2


@given(st.lists(st.tuples(SERIES, st.floats(), st.integers(NOW_MS - 10**9, NOW_MS)), max_size=6))
@settings(derandomize=True, max_examples=150, deadline=None)
def test_a_round_trip(rows):
    """As JSON and as CSV."""
    found = columns([(from_mapping({**labels, NAME: "m"}), [(t, v)]) for labels, v, t in rows])
    expected = [
        (labels, t, repr(v)) for (labels, (t, v)) in ((from_mapping({**x, NAME: "m"}), (t, v)) for x, v, t in rows)
    ]
    assert (
        samples(importer(), json_entries(f'{{"metrics":[{",".join(json_rows(found, {}))}]}}'.encode()))[0] == expected
    )
    names = sorted({label for labels in found.labels for label, _ in labels} - {NAME})
    if not set(names) & {"timestamp", "name", "type", "value"}:
        table = csv_head(names) + csv_rows(found, {}, names)
        assert samples(importer(), csv_entries(table.encode()))[0] == expected


def test_points_of_a_chart():
    """Averages of as many neighbours as are needed; the time is that of the first."""
    found = columns(
        [(from_mapping({NAME: "a", "x": "1"}), [(i, float(i)) for i in range(10)]), (from_mapping({NAME: "b"}), [])]
    )
    [one] = [json.loads(text) for text in range_series(found, 4, "raw")]
    assert one["points"] == [{"t": 0, "v": 1}, {"t": 3, "v": 4}, {"t": 6, "v": 7}, {"t": 9, "v": 9}]
    for points_max in range(1, 12):
        [one] = [json.loads(text) for text in range_series(found, points_max, "raw")]
        assert len(one["points"]) <= points_max


def test_entries_stand_for_themselves():
    """Bad ones are counted and named, ten at most; types are told once."""
    good = {"name": "a", "type": "counter", "value": 1, "timestamp": "2023-11-14T00:00:00Z"}
    bad = {**good, "timestamp": "2001-01-01T00:00:00Z"}
    one = importer()
    found, pushed = samples(one, [good, *[bad] * 20, "2 cells instead of 4", good])
    assert len(found) == 2
    assert pushed.refused == {"skipped": 21}
    assert pushed.problems[0] == "metric 1: timestamp too far in past: 2001-01-01T00:00:00Z"
    assert len(pushed.problems) == 10
    assert pushed.batch.metadata == {"a": MetricMetadata(MetricType.COUNTER)}
    assert one.take([good], 0).batch.metadata == {}


@pytest.mark.parametrize(
    "table",
    [
        b"",
        b"name,type\n",
        b"timestamp,name,type,value,x,x\n",
        b"timestamp,name,type,value,\n",
        b'timestamp,name,type,value\n"a',
        b"\xff",
    ],
)
def test_tables_that_are_none(table):
    """The whole is refused."""
    with pytest.raises(V1Fault):
        list(csv_entries(table))


@given(st.binary(max_size=200), st.booleans())
@settings(derandomize=True, max_examples=300, deadline=None)
def test_any_bytes(noise, as_table):
    """They are entries or a fault, and never another error."""
    try:
        entries = csv_entries(b"timestamp,name,type,value,x\n" + noise) if as_table else json_entries(noise)
        importer().take(list(entries), 0)
    except V1Fault:
        pass
