"""Answers as CSV and Arrow: what is asked for, what is sent, and what other programs read of it."""

from __future__ import annotations

import csv
import io
import json
import sys
from typing import Any

import numpy as np
import pytest
from web_fakes import SERIES, FakeEngine, columns, scalar, vector

from tinyobs.model.columns import SeriesColumns
from tinyobs.model.histograms import CUSTOM_SCHEMA, Histogram, handles, histograms_of
from tinyobs.promql.nodes import ValueType
from tinyobs.promql.result import Result
from tinyobs.web.api_v1 import formats
from tinyobs.web.api_v1.formats import Format

QUERY, RANGE = "/api/v1/query", "/api/v1/query_range"
ARROW = "application/vnd.apache.arrow.stream"
CUSTOM = Histogram(CUSTOM_SCHEMA, 0.0, 0, 3, 4.5, ((0, 2),), (1, 2), custom_values=(0.5,), is_integer=True)


def matrix(series: int = 3, points: int = 50_000) -> Result:
    """Return a matrix in which series reach over the borders of batches."""
    labels = [(("__name__", "m"), ("i", str(i))) for i in range(series)]
    offsets = np.arange(series + 1, dtype=np.int64) * points
    times = np.tile(np.arange(points) * 1000 + 500, series)
    return Result(ValueType.MATRIX, SeriesColumns(labels, offsets, times, np.arange(series * points) / 4))


def mixed() -> Result:
    """Return a matrix of a float and a histogram."""
    found = SeriesColumns(
        [(("__name__", "h"),)],
        np.array([0, 2]),
        np.array([1000, 2000]),
        np.array([0.5, float(handles(0, 1)[0])]),
        histograms_of([CUSTOM]),
    )
    return Result(ValueType.MATRIX, found)


@pytest.fixture
def engine() -> FakeEngine:
    """Return an engine that knows a few queries."""
    engine = FakeEngine()
    engine.answers.update(
        {
            "1": scalar(1.5),
            "up": vector({SERIES[0]: 1.0, SERIES[2]: float("inf")}, warnings=("w é",), infos=("i",)),
            '"a"': Result(ValueType.STRING, columns([]), 1000, text='a,"b"'),
            "m": matrix(),
            "h": mixed(),
            "none": Result(ValueType.MATRIX, columns([])),
        }
    )
    return engine


async def ask(make_client: Any, engine: FakeEngine, text: str, kind: str, **more: str) -> Any:
    """Return the answer in a form."""
    return await make_client(promql=engine).get(QUERY, params={"query": text, **more}, headers={"accept": kind})


async def test_csv_has_a_row_for_each_sample(make_client: Any, engine: FakeEngine) -> None:
    """Unix seconds, values as Prometheus writes them, a column for each label; what JSON notes stands in headers."""
    answer = await ask(make_client, engine, "up", "text/csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert list(csv.reader(io.StringIO(answer.text))) == [
        ["timestamp", "value", "__name__", "instance", "job", "my.label"],
        ["1435781451.781", "1", "up", "x:1", "a", ""],
        ["1435781451.781", "+Inf", "http_total", "", "a", 'q"\\'],
    ]
    assert json.loads(answer.headers["tinyobs-warnings"]) == ["w é"]
    assert json.loads(answer.headers["tinyobs-infos"]) == ["i"]


@pytest.mark.parametrize(
    ("text", "body"),
    [
        ("1", "timestamp,value\r\n1435781451.781,1.5\r\n"),
        ('"a"', 'timestamp,value\r\n1,"a,""b"""\r\n'),
        ("none", "timestamp,value\r\n"),
        (
            "h",
            "timestamp,value,histogram,__name__\r\n1,0.5,,h\r\n"
            '2,,"{""count"":""3"",""sum"":""4.5"",""buckets"":[[3,""-Inf"",""0.5"",""1""],[0,""0.5"",""+Inf"",""2""]]}",h\r\n',
        ),
    ],
)
async def test_csv_of_other_results(make_client: Any, engine: FakeEngine, text: str, body: str) -> None:
    """Scalars and strings are one row; nothing is a header; a histogram is its JSON beside an empty value."""
    assert (await ask(make_client, engine, text, "*/*", format="csv")).text == body


async def test_pandas_reads_the_csv(make_client: Any, engine: FakeEngine) -> None:
    """Every sample, also of series that reach over pieces."""
    pd = pytest.importorskip("pandas", reason="needs pandas")
    answer = await ask(make_client, engine, "m", "text/csv")
    frame = pd.read_csv(io.StringIO(answer.text))
    assert len(frame) == 150_000
    assert frame["value"].tolist() == (np.arange(150_000) / 4).tolist()
    assert frame.groupby("i")["timestamp"].max().tolist() == [49_999.5] * 3


async def test_arrow_is_read_back(make_client: Any, engine: FakeEngine) -> None:
    """Batches of one schema; labels are dictionaries, times have a zone, notes are metadata of the schema."""
    pa = pytest.importorskip("pyarrow", reason="needs pyarrow")
    answer = await ask(make_client, engine, "m", ARROW)
    assert answer.headers["content-type"] == ARROW
    table = pa.ipc.open_stream(answer.content).read_all()
    assert table.column_names == ["timestamp", "value", "__name__", "i"]
    assert str(table.schema.field("timestamp").type) == "timestamp[ms, tz=UTC]"
    assert pa.types.is_dictionary(table.schema.field("i").type)
    assert table.num_rows == 150_000
    assert table["value"].to_pylist() == (np.arange(150_000) / 4).tolist()
    frame = table.to_pandas()
    assert frame.groupby("i", observed=True)["value"].count().to_dict() == {"0": 50_000, "1": 50_000, "2": 50_000}
    table = pa.ipc.open_stream((await ask(make_client, engine, "up", ARROW)).content).read_all()
    assert table.schema.metadata == {b"resultType": b"vector", b"warnings": '["w é"]'.encode(), b"infos": b'["i"]'}
    assert table["my.label"].to_pylist() == [None, 'q"\\']


async def test_arrow_of_other_results(make_client: Any, engine: FakeEngine) -> None:
    """A string is a column of texts, a histogram a struct, nothing a table without rows."""
    pa = pytest.importorskip("pyarrow", reason="needs pyarrow")

    async def table(text: str) -> Any:
        return pa.ipc.open_stream((await ask(make_client, engine, text, "", format="arrow")).content).read_all()

    assert (await table('"a"'))["value"].to_pylist() == ['a,"b"']
    assert (await table("1"))["value"].to_pylist() == [1.5]
    assert (await table("none")).num_rows == 0
    found = await table("h")
    assert found["value"].to_pylist() == [0.5, None]
    assert [h and h["count"] for h in found["histogram"].to_pylist()] == [None, 3.0]


async def test_arrow_without_its_library_is_not_acceptable(
    make_client: Any, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """406, and the text says what to install; nothing is evaluated."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    answer = await ask(make_client, engine, "1", ARROW)
    assert (answer.status_code, answer.json()["errorType"]) == (406, "not_acceptable")
    assert "pip install 'tinyobs[arrow]'" in answer.json()["error"]
    assert engine.calls == []


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", Format.JSON),
        ("*/*", Format.JSON),
        ("text/html,application/xhtml+xml,*/*;q=0.8", Format.JSON),
        ("text/csv", Format.CSV),
        ("application/json, text/csv", Format.JSON),
        ("application/json;q=0.5, text/csv", Format.CSV),
        ("text/csv;q=0", Format.JSON),
        ("text/csv;q=x", Format.JSON),
        ("text/csv; charset=utf-8; q=0.9, */*;q=0.1", Format.CSV),
        (f"{ARROW}, text/csv", Format.ARROW),
    ],
)
def test_the_header_decides(accept: str, form: Format) -> None:
    """The highest weight, of equal ones the first; JSON for what is not known."""
    assert formats.wanted_by("", {"headers": [(b"host", b"x"), (b"accept", accept.encode())]}) is form


async def test_another_form_is_refused(make_client: Any, engine: FakeEngine) -> None:
    """`format` has three values."""
    answer = await ask(make_client, engine, "1", "", format="xml")
    assert (answer.status_code, answer.json()["error"]) == (
        400,
        'invalid parameter "format": must be one of json, csv, arrow',
    )


async def test_errors_stay_json(make_client: Any, engine: FakeEngine) -> None:
    """Whatever form the answer would have had."""
    answer = await ask(make_client, engine, "unknown", "text/csv")
    assert (answer.status_code, answer.json()["errorType"]) == (400, "bad_data")


async def test_a_limit_holds_in_every_form(make_client: Any, engine: FakeEngine) -> None:
    """And the note about it comes with the answer."""
    answer = await ask(make_client, engine, "up", "text/csv", limit="1")
    assert len(answer.text.splitlines()) == 2
    assert json.loads(answer.headers["tinyobs-warnings"])[-1] == "results truncated due to limit"


async def test_range_queries_have_the_same_forms(make_client: Any, engine: FakeEngine) -> None:
    """With the same columns."""
    parameters = {"query": "none", "start": "0", "end": "1", "step": "1", "format": "csv"}
    assert (await make_client(promql=engine).get(RANGE, params=parameters)).text == "timestamp,value\r\n"
