"""Answers and blocks of raw samples as data frames of pandas, Polars and Arrow."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import tinyobs
from tinyobs import library
from tinyobs.errors import QueryParseError, UsageError
from tinyobs.frames.table import long_table
from tinyobs.library import Answer
from tinyobs.model.batch import Batch
from tinyobs.model.columns import SeriesColumns
from tinyobs.model.histograms import CUSTOM_SCHEMA, Histogram, handles, histograms_of, stale_histogram
from tinyobs.model.labels import from_mapping
from tinyobs.model.registry import SeriesRegistry
from tinyobs.model.staleness import STALE_NAN
from tinyobs.promql.nodes import ValueType
from tinyobs.promql.result import Result
from tinyobs.storage.engine import open_directory

T0 = 1_700_000_000
NOW = T0 + 600
CUSTOM = Histogram(CUSTOM_SCHEMA, 0.0, 0, 3, 4.5, ((0, 2),), (1, 2), custom_values=(0.5,), is_integer=True)


def answer(rows, table=None, starts=None):
    """Return an answer with (labels, times, values) of each series."""
    columns = SeriesColumns(
        [from_mapping(labels) for labels, _, _ in rows],
        np.concatenate([[0], np.cumsum([len(t) for _, t, _ in rows])]).astype(np.int64),
        np.array([x for _, t, _ in rows for x in t], np.int64),
        np.array([x for _, _, v in rows for x in v], np.float64),
        table,
        starts,
    )
    return Answer(Result(ValueType.MATRIX, columns))


FLOATS = answer(
    [
        ({"__name__": "up", "job": "a"}, [1000, 3000], [1.0, 2.0]),
        ({"__name__": "up", "host": "x", "job": "b"}, [2000, 3000], [3.0, float("inf")]),
    ]
)
MIXED = answer(
    [({"__name__": "h"}, [1000, 2000], [0.5, float(handles(0, 1)[0])])],
    histograms_of([CUSTOM]),
    np.array([500, 0], np.int64),
)


def test_pandas_long_has_categories_and_times_with_a_zone():
    """A row a sample; labels that a series does not have are missing."""
    pd = pytest.importorskip("pandas", reason="needs pandas")
    frame = FLOATS.to_pandas()
    assert list(frame.columns) == ["timestamp", "value", "__name__", "host", "job"]
    assert str(frame["timestamp"].dtype) == "datetime64[ms, UTC]"
    assert frame["timestamp"].iloc[0] == pd.Timestamp("1970-01-01 00:00:01", tz="UTC")
    assert frame["value"].tolist() == [1.0, 2.0, 3.0, float("inf")]
    assert isinstance(frame["job"].dtype, pd.CategoricalDtype)
    assert frame["job"].tolist() == ["a", "a", "b", "b"]
    assert frame["host"].isna().tolist() == [True, True, False, False]
    assert frame.groupby("job", observed=True)["value"].max().to_dict() == {"a": 2.0, "b": float("inf")}


def test_pandas_wide_has_series_under_their_labels():
    """NaN stands where a series has no sample."""
    pytest.importorskip("pandas", reason="needs pandas")
    frame = FLOATS.to_pandas(wide=True)
    assert frame.index.name == "timestamp"
    assert str(frame.index.dtype) == "datetime64[ms, UTC]"
    assert frame.columns.names == ["__name__", "host", "job"]
    assert frame[("up", "x", "b")].isna().tolist() == [True, False, False]
    assert frame[("up", "", "a")].tolist()[::2] == [1.0, 2.0]


def test_pandas_keeps_histograms_as_objects():
    """Value is NaN there; start times are missing where not known."""
    pytest.importorskip("pandas", reason="needs pandas")
    frame = MIXED.to_pandas()
    assert list(frame.columns) == ["timestamp", "value", "histogram", "start", "__name__"]
    assert frame["histogram"].tolist() == [None, CUSTOM]
    assert frame["value"].isna().tolist() == [False, True]
    assert frame["start"].isna().tolist() == [False, True]


def test_arrow_long_is_dictionary_encoded():
    """Types are those of the documentation; the same rows."""
    pa = pytest.importorskip("pyarrow", reason="needs pyarrow")
    table = FLOATS.to_arrow()
    assert table.schema.field("timestamp").type == pa.timestamp("ms", tz="UTC")
    assert table.schema.field("job").type == pa.dictionary(pa.int32(), pa.string())
    assert table.column("host").to_pylist() == [None, None, "x", "x"]
    assert table.column("value").to_pylist() == [1.0, 2.0, 3.0, float("inf")]
    assert [t.timestamp() for t in table.column("timestamp").to_pylist()] == [1, 3, 2, 3]


def test_arrow_has_histograms_as_structs():
    """Counts are floats; the hint is a word."""
    pytest.importorskip("pyarrow", reason="needs pyarrow")
    table = MIXED.to_arrow()
    assert table.column("value").to_pylist() == [0.5, None]
    first, second = table.column("histogram").to_pylist()
    assert first is None
    assert second == {
        "schema": -53,
        "zero_threshold": 0.0,
        "zero_count": 0.0,
        "count": 3.0,
        "sum": 4.5,
        "positive_spans": [{"offset": 0, "length": 2}],
        "positive_buckets": [1.0, 2.0],
        "negative_spans": [],
        "negative_buckets": [],
        "custom_values": [0.5],
        "reset_hint": "unknown",
        "is_integer": True,
    }
    assert [t and t.timestamp() for t in table.column("start").to_pylist()] == [0.5, None]


def test_arrow_wide_names_series_in_promql():
    """Null where a series has no sample."""
    pytest.importorskip("pyarrow", reason="needs pyarrow")
    table = FLOATS.to_arrow(wide=True)
    assert table.column_names == ["timestamp", 'up{job="a"}', 'up{host="x", job="b"}']
    assert table.column(1).to_pylist() == [1.0, None, 2.0]


def test_polars_long_and_wide():
    """Categories, times with a zone, nulls; histograms are structs."""
    pl = pytest.importorskip("polars", reason="needs polars")
    frame = FLOATS.to_polars()
    assert frame.columns == ["timestamp", "value", "__name__", "host", "job"]
    assert frame.schema["timestamp"] == pl.Datetime("ms", "UTC")
    assert isinstance(frame.schema["job"], pl.Categorical)
    assert frame["host"].to_list() == [None, None, "x", "x"]
    wide = FLOATS.to_polars(wide=True)
    assert wide.columns == ["timestamp", 'up{job="a"}', 'up{host="x", job="b"}']
    assert wide['up{job="a"}'].to_list() == [1.0, None, 2.0]
    mixed = MIXED.to_polars()
    assert mixed["value"].to_list() == [0.5, None]
    assert mixed["histogram"].to_list()[0] is None
    assert mixed["histogram"].to_list()[1]["custom_values"] == [0.5]
    assert mixed["start"].is_null().to_list() == [False, True]


@pytest.mark.parametrize("kind", ["pandas", "polars", "pyarrow"])
def test_an_answer_without_series_is_an_empty_frame(kind):
    """With the columns that do not depend on series."""
    pytest.importorskip(kind, reason=f"needs {kind}")
    empty, method = answer([]), "to_" + kind.removeprefix("py")
    assert len(getattr(empty, method)()) == 0
    assert len(getattr(empty, method)(wide=True)) == 0


def test_labels_that_are_called_like_columns_get_a_prefix():
    """No two columns have one name."""
    rows = [({"value": "1", "label_value": "2", "timestamp": "3"}, [1000], [1.0])]
    table = long_table(answer(rows).columns)
    assert set(table.labels) == {"label_value", "label_label_value", "label_timestamp"}
    assert table.labels["label_value"].values == ["2"]


def test_what_makes_no_frame_is_refused():
    """Strings, and histograms in a wide frame."""
    for method in ("to_pandas", "to_polars", "to_arrow"):
        with pytest.raises(UsageError, match="to_text"):
            getattr(Answer(Result(ValueType.STRING, FLOATS.columns, text="x")), method)()
    pytest.importorskip("pyarrow", reason="needs pyarrow")
    with pytest.raises(UsageError, match="floats only"):
        MIXED.to_arrow(wide=True)


@pytest.mark.parametrize(("module", "extra"), [("pandas", "pandas"), ("polars", "polars"), ("pyarrow", "arrow")])
def test_a_missing_library_is_named_with_its_extra(module, extra, monkeypatch):
    """The message is the command that installs it."""
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UsageError, match=rf"{module} is not installed: pip install 'tinyobs\[{extra}\]'"):
        getattr(FLOATS, f"to_{extra}")()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A directory with 50 series of 11 samples, one of them with a marker, one with a histogram."""
    monkeypatch.setattr(library, "_now_ms", lambda: NOW * 1000)
    registry = SeriesRegistry()
    engine = open_directory(tmp_path / "data", registry, lambda: NOW * 1000)
    refs = registry.intern_many(from_mapping({"__name__": "load", "host": f"h{i:02}"}) for i in range(50))
    for k in range(11):
        engine.append([Batch(refs, np.full(50, (T0 + 60 * k) * 1000), k + np.arange(50) / 100, "test")])
    one = np.array([(NOW - 30) * 1000])
    engine.append([Batch(refs[:1], one, np.array([STALE_NAN]), "test")])
    table = histograms_of([CUSTOM, stale_histogram()])
    engine.append([Batch(refs[[1, 1]], np.append(one, one + 1), handles(0, 2), "test", histograms=table)])
    engine.close()
    return tmp_path / "data"


def test_raw_samples_come_in_blocks(folder):
    """All series in label order, blocks of about the wanted size, markers left out unless wanted."""
    with tinyobs.open(folder) as db:
        (whole,) = db.series("load", start=T0, end=NOW)
        assert (len(whole), whole.columns.samples) == (50, 551)
        blocks = list(db.series("load", start=T0, end=NOW, block_samples=100))
        assert [s for b in blocks for s in b.columns.labels] == list(whole.columns.labels)
        assert max(b.columns.samples for b in blocks[1:]) <= 200
        (kept,) = db.series('load{host=~"h0[01]"}', start=T0, end=NOW, stale=True)
        assert kept.columns.samples == 25
        assert [len(t) for _, t, _ in next(iter(db.series('load{host=~"h0[01]"}', start=T0, end=NOW)))] == [11, 12]
        assert list(db.series("none", start=T0)) == []


def test_blocks_have_one_schema(folder):
    """So that they can be written to one file, histograms or not."""
    pa = pytest.importorskip("pyarrow", reason="needs pyarrow")
    compute = pytest.importorskip("pyarrow.compute", reason="needs pyarrow")
    with tinyobs.open(folder) as db:
        batches = [b.to_arrow() for b in db.series("load", start=T0, end=NOW, block_samples=50)]
    assert len({str(b.schema) for b in batches}) == 1
    table = pa.Table.from_batches(batches)
    assert table.column_names == ["timestamp", "value", "histogram", "start", "__name__", "host"]
    assert table.num_rows == 551
    assert table.column("histogram").null_count == 550
    assert table.filter(compute.equal(table["host"], "h07")).column("value").to_pylist()[3] == 3.07


def test_blocks_become_frames_of_every_kind(folder):
    """The same rows."""
    for module, extra in (("pandas", "pandas"), ("polars", "polars")):
        pytest.importorskip(module, reason=f"needs {module}")
        with tinyobs.open(folder) as db:
            (block,) = db.series("load", start=T0, end=NOW)
            assert len(getattr(block, f"to_{extra}")()) == 551


def test_bad_selectors_and_times_are_refused_at_once(folder):
    """Before the first block is asked for."""
    with tinyobs.open(folder) as db:
        with pytest.raises(QueryParseError):
            db.series("load{", start=T0)
        with pytest.raises(UsageError, match="the end lies before the start"):
            db.series("load", start=T0, end=T0 - 1)
        with pytest.raises(UsageError, match="at least one sample"):
            db.series("load", start=T0, block_samples=0)
