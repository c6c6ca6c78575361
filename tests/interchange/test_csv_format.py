"""A text says what the columns of a table without a header are."""

from __future__ import annotations

from io import BytesIO

import pytest

from tinyobs.errors import UsageError
from tinyobs.interchange.chunks import Refusals
from tinyobs.interchange.csv_format import parse_format
from tinyobs.interchange.csv_reader import CsvReader
from tinyobs.model.labels import to_text
from tinyobs.model.registry import SeriesRegistry


def read(text, body, now_ms=7):
    """Return ([(series, ms, value)], [faults]) of a body in a format."""
    registry, refusals = SeriesRegistry(), Refusals("csv")
    found = []
    for chunk in CsvReader(format=parse_format(text), now_ms=now_ms).read(BytesIO(body), registry, refusals):
        b = chunk.batch
        rows = zip(b.refs.tolist(), b.timestamps_ms.tolist(), b.values.tolist(), strict=True)
        found += [(to_text(registry.labels(r)), t, v) for r, t, v in rows]
    return sorted(found), [str(p) for p in refusals.examples]


def test_columns_by_number():
    """Metrics, labels and the time may stand anywhere; other columns are passed over."""
    rows, faults = read("2:metric:ask,3:metric:bid,1:label:ticker,5:time:unix_s", b"GOOG,1.23,4.56,NYSE,100\n")
    assert rows == [('ask{ticker="GOOG"}', 100_000, 1.23), ('bid{ticker="GOOG"}', 100_000, 4.56)]
    assert not faults


def test_without_a_time():
    """All rows are of one."""
    assert read("1:metric:a", b"1\n")[0] == [("a", 7, 1.0)]


@pytest.mark.parametrize(
    ("form", "text", "ms"),
    [
        ("unix_s", "1700000000", 1_700_000_000_000),
        ("unix_ms", "1700000000123", 1_700_000_000_123),
        ("unix_us", "1700000000123999", 1_700_000_000_123),
        ("unix_ns", "1700000000123999999", 1_700_000_000_123),
        ("rfc3339", "2023-11-14T22:13:20Z", 1_700_000_000_000),
    ],
)
def test_forms_of_times(form, text, ms):
    """Each unit, and RFC 3339."""
    assert read(f"1:time:{form},2:metric:a", f"{text},1\n".encode())[0] == [("a", ms, 1.0)]


def test_rows_that_cannot_be_read():
    """They are named by their line; an empty value is no sample; the others stay."""
    rows, faults = read("1:label:x,2:metric:a", b'"q,1",1\nb,bad\nc,\nd\ne,5\n')
    assert rows == [('a{x="e"}', 7, 5.0), ('a{x="q,1"}', 7, 1.0)]
    assert [f.partition(":")[2].partition(":")[0] for f in faults] == ["2", "4"] or len(faults) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a part of the format"),
        ("1:metric", "a part of the format"),
        ("0:metric:a", "a part of the format"),
        ("x:metric:a", "a part of the format"),
        ("9999:metric:a", "a part of the format"),
        ("1:value:a", "metric, label or time"),
        ("1:label:a", "no metric"),
        ("1:metric:a,2:time:local", "form of times"),
        ("1:metric:a,2:time:custom:", "names no part of 2006"),
        ("1:metric:a,2:time:custom:yyyy-mm-dd", "names no part of 2006"),
        ("1:metric:a,2:time:custom:" + "2" * 257, "at most 256 bytes"),
        ("1:metric:a,2:time:unix_s,3:time:unix_s", "two times"),
        ("1:metric:a,2:label:x,3:label:x", "twice"),
        ("1:metric:a,2:label:__name__", "twice, or __name__"),
        (",".join(["1:metric:a"] * 2000), "at most"),
    ],
)
def test_formats_that_cannot_be(text, message):
    """What is wrong is quoted."""
    with pytest.raises(UsageError, match=message):
        parse_format(text)


@pytest.mark.parametrize("quoted", [False, True])
@pytest.mark.parametrize("labels", [1, 2])
def test_rows_of_other_widths(quoted, labels):
    """Further columns are passed over, rows that are too short cost only themselves, wherever they stand."""
    names = "".join(f"{i}:label:l{i}," for i in range(1, labels + 1))
    text = f"{names}{labels + 1}:time:unix_ms,{labels + 2}:metric:m"
    before = ",".join(["x"] * labels)
    widths = [
        "short",
        f"{before},1,1",
        "",
        before + ',2,2,more,"a,b"' if quoted else f"{before},2,2,more",
        f"{before},3",
        f"{before},4,4",
    ]
    series = "m{" + ", ".join(f'l{i}="x"' for i in range(1, labels + 1)) + "}"
    for rows in (widths, widths[1:2], widths[3:4] * 3, widths[::-1], widths[1:2] * 3):
        found, faults = read(text, "\r\n".join(rows).encode())
        good = [row.split(",")[labels] for row in rows if row and row.count(",") > labels]
        assert found == sorted((series, int(n), float(n)) for n in good)
        short = [i for i, row in enumerate(rows, 1) if row and row.count(",") <= labels]
        assert faults == [
            f"csv:{i}:1: {rows[i - 1].count(',') + 1} fields, but the format speaks of column {labels + 2}"
            for i in short
        ]


def test_faults_name_the_column():
    """Of the table, counted from 1; what is wrong with labels is of the row."""
    body = b"a,1,x\nb,y,1\n\xff,1,1\nd,4,4\n"
    rows, faults = read("1:label:l,2:time:unix_ms,3:metric:m", body)
    assert rows == [('m{l="d"}', 4, 4.0)]
    assert [f.split(": ")[0] for f in sorted(faults)] == ["csv:1:3", "csv:2:2", "csv:3:1"]


def test_times_by_a_layout_of_go():
    """They may have commas, in quotes; a time that does not look so is named with the layout."""
    text = "1:time:custom:02/Jan/2006:15:04:05 -0700,2:metric:m"
    rows, faults = read(text, b"14/Nov/2023:23:13:20.5 +0100,1\n2023-11-14,2\n14/nov/2023:22:13:21 +0000,3\n")
    assert rows == [("m", 1_700_000_000_500, 1.0), ("m", 1_700_000_001_000, 3.0)]
    assert faults == ["csv:2:1: not a time like '02/Jan/2006:15:04:05 -0700': \"2023-11-14\""]
