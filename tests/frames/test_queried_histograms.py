"""Queries of the library whose results have histograms: from the storage through the evaluator to frames."""

from __future__ import annotations

import numpy as np
import pytest

import tinyobs
from tinyobs import library
from tinyobs.model.batch import Batch
from tinyobs.model.histograms import CUSTOM_SCHEMA, Histogram, handles, histograms_of, stale_histogram
from tinyobs.model.labels import from_mapping
from tinyobs.model.registry import SeriesRegistry
from tinyobs.storage.engine import open_directory

T0 = 1_700_000_000
NOW = T0 + 600


def counted(n: int) -> Histogram:
    """Return the n-th histogram of a growing series, with integer counts."""
    return Histogram(0, 1e-6, 0, 3 * n, 4.5 * n, ((1, 2),), (n, 2 * n), is_integer=True)


def custom(n: int) -> Histogram:
    """Return the n-th histogram with custom bounds."""
    return Histogram(CUSTOM_SCHEMA, 0.0, 0, 2 * n, 1.0 * n, ((0, 2),), (n, n), custom_values=(0.5,), is_integer=True)


@pytest.fixture
def db(tmp_path, monkeypatch):
    """A directory with ten minutes of two series of histograms, one of which ends with a marker, and one of floats."""
    monkeypatch.setattr(library, "_now_ms", lambda: NOW * 1000)
    registry = SeriesRegistry()
    engine = open_directory(tmp_path / "data", registry, lambda: NOW * 1000)
    refs = registry.intern_many(from_mapping({"__name__": "h", "kind": k}) for k in ("a", "b", "f"))
    for k in range(1, 11):
        values = np.append(handles(0, 2), float(k))
        table = histograms_of([counted(k), custom(k)])
        engine.append([Batch(refs, np.full(3, (T0 + 60 * k - 30) * 1000), values, "test", histograms=table)])
    end = np.array([(NOW - 10) * 1000])
    engine.append([Batch(refs[[1]], end, handles(0, 1), "test", histograms=histograms_of([stale_histogram()]))])
    engine.close()
    with tinyobs.open(tmp_path / "data") as opened:
        yield opened


def test_instant_query(db) -> None:
    """Floats and histograms stand in one answer; a series that ended is not there."""
    answer = db.query("h")
    assert [dict(labels)["kind"] for labels in answer.columns.labels] == ["a", "f"]
    table = answer.columns.histograms
    assert table is not None
    found = table.one(0)
    assert (found.count, found.positive_spans, found.positive_buckets) == (30.0, ((1, 2),), (10.0, 20.0))
    labels, times, matrix = answer.to_numpy()
    assert (len(labels), times.tolist()) == (2, [NOW * 1000])
    assert np.isnan(matrix[0, 0])
    assert matrix[1, 0] == 10


def test_range_query_of_what_is_computed(db) -> None:
    """Rates are histograms as well, quantiles of them numbers."""
    answer = db.query_range('increase(h{kind="a"}[5m])', start=T0 + 330, end=T0 + 570, step=60)
    assert answer.warnings == ()
    counts = [h.count for h in map(answer.columns.histograms.one, range(len(answer.columns.histograms)))]
    assert np.allclose(counts, 15)
    quantile = db.query('histogram_quantile(0.5, rate(h{kind="a"}[5m]))')
    assert np.allclose(quantile.columns.values, 2 * 2**0.25)
    shares = db.query('histogram_fraction(0, 0.5, h{kind="b"} @ 1700000500)')
    assert shares.columns.values.tolist() == [0.5]


def test_frames(db) -> None:
    """A long frame has a column of histograms, for each row that is none a gap."""
    pytest.importorskip("pandas", reason="needs pandas")
    frame = db.query("h offset 1m").to_pandas()
    assert list(frame["kind"]) == ["a", "b", "f"]
    assert [None if h is None else h.count for h in frame["histogram"]] == [27.0, 18.0, None]
    with pytest.raises(tinyobs.errors.UsageError):
        db.query("h").to_pandas(wide=True)
