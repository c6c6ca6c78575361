"""`tinyobs.open`: a data directory as a Python object, PromQL in, NumPy out."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

import tinyobs
from tinyobs import library
from tinyobs.errors import LockedError, QueryParseError, StorageError, UsageError
from tinyobs.model.batch import Batch
from tinyobs.model.labels import from_mapping
from tinyobs.model.metadata import MetricMetadata, MetricType
from tinyobs.model.registry import SeriesRegistry
from tinyobs.storage.engine import open_directory

T0 = 1_700_000_000
"""The time of the first sample, in seconds."""
NOW = T0 + 600


@pytest.fixture
def now(monkeypatch):
    """Let the library's clock stand still."""
    monkeypatch.setattr(library, "_now_ms", lambda: NOW * 1000)


@pytest.fixture
def folder(tmp_path, now):
    """A directory with ten minutes of two series, one of them with a gap, and metadata."""
    path = tmp_path / "data"
    registry = SeriesRegistry()
    engine = open_directory(path, registry, lambda: NOW * 1000)
    times = (T0 + np.arange(0, 601, 60)) * 1000
    for host, there in (("a", np.ones(11, bool)), ("b", np.arange(11) % 10 < 2)):
        ref = registry.intern(from_mapping({"__name__": "load", "host": host}))
        metadata = {"load": MetricMetadata(MetricType.GAUGE, "How much.", "")}
        refs = np.full(int(there.sum()), ref, np.uint32)
        engine.append([Batch(refs, times[there], np.arange(11.0)[there], "test", metadata)])
    engine.close()
    return path


def test_an_instant_query_gives_one_sample_a_series(folder):
    """Iterating yields labels as a dictionary, timestamps in ms and values; the default time is now."""
    with tinyobs.open(folder) as db:
        answer = db.query('load{host="a"}')
        assert len(answer) == 1
        ((labels, times, values),) = answer
        assert labels == {"__name__": "load", "host": "a"}
        assert times.tolist() == [NOW * 1000]
        assert values.tolist() == [10.0]
        assert db.query("1 + 1").columns.values.tolist() == [2.0]


@pytest.mark.parametrize(
    "at",
    [T0 + 120, float(T0 + 120), -480, -480.0, datetime.fromtimestamp(T0 + 120, UTC)],
    ids=["seconds", "float", "relative", "relative float", "datetime"],
)
def test_times_can_be_given_in_many_ways(folder, at):
    """Unix seconds, seconds before now where negative, or a datetime."""
    with tinyobs.open(folder) as db:
        assert [v.tolist() for _, _, v in db.query('load{host="a"}', at=at)] == [[2.0]]


def test_a_range_becomes_a_matrix_with_nan_in_the_gaps(folder):
    """Rows are series in order of their labels, columns all times at which any has a sample."""
    with tinyobs.open(folder) as db:
        labels, times, matrix = db.query_range("last_over_time(load[30s])", start=T0, end=NOW, step="1m").to_numpy()
    assert [series["host"] for series in labels] == ["a", "b"]
    assert times.tolist() == [(T0 + 60 * i) * 1000 for i in range(11)]
    assert matrix.dtype == np.float64
    assert matrix[0].tolist() == list(range(11))
    assert np.isnan(matrix[1]).tolist() == [False, False, *[True] * 8, False]
    assert matrix[1][[0, 1, 10]].tolist() == [0.0, 1.0, 10.0]


def test_a_relative_range_ends_now(folder):
    """A negative start counts from now, and so does a missing end: both from the same moment."""
    with tinyobs.open(folder) as db:
        _, times, matrix = db.query_range('load{host="a"}', start=-120, step=60).to_numpy()
    assert times.tolist() == [(NOW - 120) * 1000, (NOW - 60) * 1000, NOW * 1000]
    assert matrix.tolist() == [[8.0, 9.0, 10.0]]


def test_nothing_found_is_an_empty_matrix(folder):
    """No series, no times."""
    with tinyobs.open(folder) as db:
        labels, times, matrix = db.query_range("nothing", start=-60, step=60).to_numpy()
    assert (labels, len(times), matrix.shape) == ([], 0, (0, 0))


def test_text_comes_as_text(folder):
    """A string result has a text, others have none."""
    with tinyobs.open(folder) as db:
        assert db.query('"hello"').to_text() == "hello"
        with pytest.raises(UsageError, match="not a string"):
            db.query("load").to_text()


def test_warnings_come_with_the_answer(folder):
    """What Prometheus would annotate is there, too."""
    with tinyobs.open(folder) as db:
        assert any("quantile value should be between 0 and 1" in w for w in db.query("quantile(2, load)").warnings)
        assert db.query("load").warnings == ()


def test_metadata_is_there(folder):
    """Type and help by the name of the family."""
    with tinyobs.open(folder) as db:
        assert db.metadata()["load"] == MetricMetadata(MetricType.GAUGE, "How much.", "")


def test_features_open_gates(folder):
    """Experimental syntax needs its feature flag, as with the daemon."""
    with tinyobs.open(folder) as db, pytest.raises(QueryParseError):
        db.query('sort_by_label(load, "host")')
    with tinyobs.open(folder, features=["promql-experimental-functions"]) as db:
        assert [labels["host"] for labels, _, _ in db.query('sort_by_label_desc(load, "host")')] == ["b", "a"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"start": -60, "step": 0}, "the step must be longer than 0"),
        ({"start": -60, "step": "x"}, "the step 'x' is no duration"),
        ({"start": -60, "step": float("nan")}, "the step nan is no duration"),
        ({"start": float("inf")}, "inf is no time"),
        ({"start": "yesterday"}, "'yesterday' is no time"),
        ({"start": 1.7e18}, r"1.7e\+18 is no time"),
        ({"start": 100, "end": 50}, "the end lies before the start"),
        ({"start": 0, "end": 1e9, "step": 1}, "1000000001 steps from start to end, more than 10000000"),
    ],
)
def test_times_that_make_no_sense_are_refused(folder, arguments, message):
    """With an error of ours that says which."""
    with tinyobs.open(folder) as db, pytest.raises(UsageError, match=message):
        db.query_range("load", **arguments)


def test_a_query_that_cannot_be_read_has_a_position(folder):
    """The error knows where."""
    with tinyobs.open(folder) as db, pytest.raises(QueryParseError) as caught:
        db.query("sum(")
    assert (caught.value.line, caught.value.column) == (1, 5)


def test_only_a_data_directory_is_opened(tmp_path):
    """A folder that is none is left as it is."""
    for path in (tmp_path, tmp_path / "gone"):
        with pytest.raises(StorageError, match="there is no data directory"):
            tinyobs.open(path)
    assert list(tmp_path.iterdir()) == []


def test_a_directory_is_opened_once_at_a_time(folder):
    """The second is told who has it; after closing it is free."""
    with tinyobs.open(folder), pytest.raises(LockedError):
        tinyobs.open(folder)
    tinyobs.open(str(folder)).close()


def test_after_closing_nothing_is_answered(folder):
    """Closing twice is fine; asking is an error of ours."""
    db = tinyobs.open(folder)
    db.close()
    db.close()
    for ask in (lambda: db.query("load"), lambda: db.query_range("load", start=-60), db.metadata):
        with pytest.raises(StorageError, match="the database is closed"):
            ask()


def test_reading_loses_nothing(folder):
    """Opening with the library keeps old samples, whatever retention a daemon would have."""
    with tinyobs.open(folder) as db:
        first = db.query_range("load", start=T0, end=NOW, step=60).to_numpy()[2]
    with tinyobs.open(folder) as db:
        again = db.query_range("load", start=T0, end=NOW, step=60).to_numpy()[2]
    np.testing.assert_array_equal(first, again)


def test_a_resolution_may_be_asked_for(folder):
    """Tiers are named by their distance; without any, raw samples answer."""
    with tinyobs.open(folder) as db:
        for resolution in ("raw", "5m", 300, None):
            assert len(db.query("load", T0, resolution=resolution)) == 2
            assert len(db.query_range("load", T0, T0 + 60, resolution=resolution)) == 2
        for wrong in ("fine", -1, float("nan")):
            with pytest.raises(UsageError):
                db.query("load", resolution=wrong)
