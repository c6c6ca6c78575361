"""What is written in any format is what is read."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from interchange_samples import columns_of, float_histogram, histogram, plain_of_columns, read, series, written

from tinyobs.interchange import remote_write_stream, streams
from tinyobs.interchange.formats import Form
from tinyobs.model.histograms import Histogram
from tinyobs.model.staleness import NORMAL_NAN, STALE_BITS, STALE_NAN

FORMS = list(Form)
WITH_HISTOGRAMS = [Form.JSON_LINES, Form.REMOTE_WRITE, Form.PARQUET]
UP = (("__name__", "up"), ("job", "a"))


@pytest.fixture(autouse=True)
def _needs_pyarrow(request):
    if "parquet" in request.node.name:
        pytest.importorskip("pyarrow")


@pytest.mark.parametrize("form", FORMS)
@given(plain=series)
@settings(max_examples=60, deadline=None)
def test_floats_of_any_labels_and_times_come_back_exactly(form, plain):
    """Labels of any text, times in ms, and every float to the bit; OpenMetrics leaves the staleness marker out."""
    columns = columns_of(plain)
    found, refusals, _ = read(form, written(form, columns))
    expected = plain_of_columns(columns)
    if form is Form.OPENMETRICS:
        expected = {s: {t: v for t, v in some.items() if v != STALE_BITS} for s, some in expected.items()}
        expected = {s: some for s, some in expected.items() if some}
    assert refusals.examples == []
    assert found == expected


@pytest.mark.parametrize("form", FORMS)
def test_the_staleness_marker_and_nan_are_told_apart(form):
    """NaN is the ordinary one; the marker is itself, or left out and counted where the format has no word for it."""
    columns = columns_of({UP: {1000: NORMAL_NAN, 2000: STALE_NAN, 3000: 1.0}})
    found, refusals, _ = read(form, written(form, columns))
    expected = plain_of_columns(columns)
    if form is Form.OPENMETRICS:
        del expected[UP][2000]
    assert (found, refusals.count) == (expected, 0)


@pytest.mark.parametrize("form", WITH_HISTOGRAMS)
def test_native_histograms_come_back_beside_floats(form):
    """Integer and float histograms, custom buckets and reset hints, in one series with floats."""
    columns = columns_of({UP: {1000: 1.5, 1_700_000_000_000: histogram(), 1_700_000_000_001: float_histogram()}})
    found, refusals, _ = read(form, written(form, columns))
    assert refusals.examples == []
    assert found == plain_of_columns(columns)
    assert isinstance(found[UP][1_700_000_000_000], Histogram)


@pytest.mark.parametrize("form", [Form.CSV, Form.OPENMETRICS])
def test_formats_without_histograms_leave_them_out(form):
    """The floats beside them are written all the same."""
    columns = columns_of({UP: {1000: 1.5, 2000: histogram()}})
    found, refusals, _ = read(form, written(form, columns))
    assert list(found[UP]) == [1000]
    assert not refusals.count


@pytest.mark.parametrize("form", FORMS)
def test_reading_goes_on_where_a_chunk_ended(form, monkeypatch):
    """Whatever chunk an import stopped behind: the rest is what had not been read."""
    monkeypatch.setattr(streams, "BLOCK_BYTES", 100)
    monkeypatch.setattr(remote_write_stream, "CHUNK_SAMPLES", 3)
    plain = {(("__name__", "m"), ("i", f'{i},"\n')): {1000 * t: float(t) for t in range(5)} for i in range(20)}
    data = written(form, columns_of(plain))
    whole, _, chunks = read(form, data)
    assert sum(len(c.batch) for c in chunks) == 100
    for i, chunk in enumerate(chunks):
        rest, refusals, _ = read(form, data, start=chunk.end)
        assert refusals.count == 0
        assert sum(map(len, rest.values())) == sum(len(c.batch) for c in chunks[i + 1 :])
        assert all(whole[s][t] == v for s, some in rest.items() for t, v in some.items())


def test_an_empty_input_has_no_samples():
    """Nothing comes of nothing, without a complaint but that of OpenMetrics, which wants its end."""
    for form in (Form.CSV, Form.JSON_LINES, Form.REMOTE_WRITE):
        assert read(form, b"")[:1] == ({},)
        assert read(form, b"")[1].count == 0
    assert read(Form.OPENMETRICS, b"")[1].count == 1
