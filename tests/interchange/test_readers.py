"""What readers of files accept, what they refuse, and that a bad line costs itself alone."""

from __future__ import annotations

import io
import struct

import cramjam
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from interchange_samples import columns_of, read, written

from tinyobs.errors import TinyObsError, UsageError
from tinyobs.interchange.chunks import Refusals, RefusedInput
from tinyobs.interchange.csv_columns import ColumnChoice, TimeForm
from tinyobs.interchange.formats import Form, form_of, reader_of
from tinyobs.interchange.streams import compressor, decompressed
from tinyobs.model.registry import SeriesRegistry

CPU = (("__name__", "cpu"), ("host", "a"))


def floats(form: Form, text: str | bytes, choice: ColumnChoice | None = None):
    """Return (series -> time -> value, messages)."""
    found, refusals, _ = read(form, text.encode() if isinstance(text, str) else text, choice)
    plain = {s: {t: struct.unpack("<d", struct.pack("<Q", v))[0] for t, v in some.items()} for s, some in found.items()}
    return plain, [str(p) for p in refusals.examples]


# -- CSV -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "choice", "time_ms"),
    [
        ("time,host,value\n1700000000,a,1\n", ColumnChoice(metric="cpu"), 1_700_000_000_000),
        ("Timestamp,host,cpu\n1700000000123,a,1\n", ColumnChoice(), 1_700_000_000_123),
        ("host,__name__,value,ts\na,cpu,1,1700000000123456\n", ColumnChoice(), 1_700_000_000_123),
        ("metric,host,value,ts\ncpu,a,1,1700000000123456789\n", ColumnChoice(), 1_700_000_000_123),
        ("date,host,cpu\r\n2023-11-14T22:13:20.5Z,a,1\r\n", ColumnChoice(), 1_700_000_000_500),
        ("date,host,cpu\n2023-11-14T23:13:20+01:00,a,1\n", ColumnChoice(), 1_700_000_000_000),
        ("date,host,cpu\n2023-11-14T22:13:20.123456Z,a,1\n", ColumnChoice(), 1_700_000_000_123),
        ("host,__name__,time,value\na,x,1,1\n", ColumnChoice(metric="cpu"), 1000),
        ("a,1,1700000000.5\n", ColumnChoice(("host", "cpu", "time")), 1_700_000_000_500),
        ("when,h,host\n17,1,a\n", ColumnChoice((), "when", TimeForm.MS, ("h",), "cpu"), 17),
        ("\ufefftime,host,cpu\n-1,a,1\n", ColumnChoice(), -1000),
    ],
)
def test_csv_columns_are_found_or_named(text, choice, time_ms):
    """Times in four units and RFC 3339, values by name or by looks, the rest labels."""
    assert floats(Form.CSV, text, choice) == ({CPU: {time_ms: 1.0}}, [])


def test_several_value_columns_are_several_metrics():
    """Each with the name of its column, behind the name given; empty fields are no samples and no labels."""
    text = "time,host,user,idle\n1,a,1,2\n2,,3,\n"
    found, problems = floats(Form.CSV, text, ColumnChoice(metric="cpu", values=("user", "idle")))
    assert problems == []
    assert found == {
        (("__name__", "cpu_user"), ("host", "a")): {1000: 1.0},
        (("__name__", "cpu_idle"), ("host", "a")): {1000: 2.0},
        (("__name__", "cpu_user"),): {2000: 3.0},
    }


def test_a_bad_csv_row_costs_itself_alone():
    """Wrong widths, values, times, labels and quotes are refused with line and reason; all others are taken."""
    text = b'time,host,cpu\n1,a,1\n2,a\n3,a,x\n?,a,1\n\n4,\xff,1\n5,"a,1\n6,a,1,1\n7,"b ""q""\nc",2\n8,a,nan\n99999999999999999,a,1\n9,a,9\n'
    found, problems = floats(Form.CSV, text)
    times = {t for some in found.values() for t in some}
    assert times == {1000, 7000, 8000, 9000}
    assert found[(("__name__", "cpu"), ("host", 'b "q"\nc'))] == {7000: 2.0}
    assert [p.split(":")[1] for p in sorted(problems, key=lambda p: int(p.split(":")[1]))] == [
        "3", "4", "5", "7", "8", "9", "13",
    ]  # fmt: skip
    assert any("2 fields, but the header has 3" in p for p in problems)
    assert any('not a number: "x"' in p for p in problems)


@pytest.mark.parametrize(
    ("text", "choice", "message"),
    [
        ("host,value\na,1\n", ColumnChoice(), "no column is the time"),
        ("time,host,value\n1,a,1\n", ColumnChoice(), "what the metric is called"),
        ("time,host\n1,a\n", ColumnChoice(), "no column has values"),
        ("time,a,a,value\n1,a,b,1\n", ColumnChoice(metric="x"), "twice"),
        ("time,value\n1,1\n", ColumnChoice(time="when"), "there is no column when"),
        ("time,value\n1,1\n", ColumnChoice(names=("time",)), "1 columns are named, but the table has 2"),
    ],
)
def test_unclear_columns_stop_the_import_before_it_begins(text, choice, message):
    """Better a question than samples under a wrong name."""
    with pytest.raises(UsageError, match=message):
        floats(Form.CSV, text, choice)


# -- JSON lines ------------------------------------------------------------------------------------------------


def test_a_line_of_victoriametrics_is_read():
    """As its /api/v1/export writes it: null for NaN, texts for infinities, a large integer."""
    line = (
        '{"metric":{"__name__":"cpu","host":"a"},"values":[1,2.5,null,"Infinity","-Infinity",-0,1e+300],'
        '"timestamps":[1,2,3,4,5,6,7]}\n'
    )
    found, problems = floats(Form.JSON_LINES, line)
    assert problems == []
    assert repr(list(found[CPU].values())) == "[1.0, 2.5, nan, inf, -inf, -0.0, 1e+300]"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"metric":{"__name__":"a"},"values":[1,],"timestamps":[1]}', "2:40: not JSON"),
        ("[]", "a line is a JSON object"),
        ('{"metric":{"a":"b"},"values":[1],"timestamps":[1]}', "no metric name"),
        ('{"metric":{"__name__":1},"values":[1],"timestamps":[1]}', '"metric" is an object whose values are texts'),
        ('{"metric":{"__name__":"a"},"values":[1,2],"timestamps":[1]}', "2 values but 1 timestamps"),
        ('{"metric":{"__name__":"a"},"values":[[1]],"timestamps":[1]}', "not a number"),
        ('{"metric":{"__name__":"a"},"values":["x"],"timestamps":[1]}', "not a number"),
        ('{"metric":{"__name__":"a"},"values":[1],"timestamps":[1.5]}', "whole milliseconds"),
        ('{"metric":{"__name__":"a"},"values":[1],"timestamps":[[]]}', "whole milliseconds"),
        ('{"metric":{"__name__":"a"},"values":[1],"timestamps":[[1.0]]}', "whole milliseconds"),
        ('{"metric":{"__name__":"a"},"values":[1],"timestamps":[99999999999999999]}', "whole milliseconds"),
        ('{"metric":{"__name__":"\\ud800"},"values":[1],"timestamps":[1]}', "not valid UTF-8"),
        ('{"metric":{"__name__":"a"},"histograms":[{"schema":99}],"timestamps":[1]}', "schema 99"),
        (
            '{"metric":{"__name__":"a"},"histograms":[{"schema":0,"count":-1,"integer":true}],"timestamps":[1]}',
            "integer",
        ),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_a_bad_json_line_costs_itself_alone(line, message):
    """Refused with line and column where JSON itself is broken; the lines around it are taken."""
    good = '{"metric":{"__name__":"cpu","host":"a"},"values":[%d],"timestamps":[%d]}'
    found, problems = floats(Form.JSON_LINES, f"{good % (1, 1)}\n{line}\n{good % (2, 2)}")
    assert found == {CPU: {1: 1.0, 2: 2.0}}
    assert len(problems) == 1
    assert message in problems[0]
    assert problems[0].startswith("input:2:")


# -- OpenMetrics -----------------------------------------------------------------------------------------------


def test_a_file_for_promtool_is_read():
    """Types, help, escapes, exemplars, UTF-8 names, times with fractions; `le` gets its one spelling in histograms."""
    text = (
        "# HELP cpu seconds\n# TYPE cpu counter\n"
        'cpu_total{host="a"} 1 1600000000.123\ncpu_total{host="a b\\"\\n"} 2e3 1600000000 # {t="x"} 1 2\n'
        '# TYPE h histogram\nh_bucket{le="1"} 1 1\n# TYPE g gauge\ng{le="1"} 1 1\n{"with.dot","a b"="c"} +Inf 2\n# EOF\n'
    )
    found, problems = floats(Form.OPENMETRICS, text)
    assert problems == []
    assert found == {
        (("__name__", "cpu_total"), ("host", "a")): {1_600_000_000_123: 1.0},
        (("__name__", "cpu_total"), ("host", 'a b"\n')): {1_600_000_000_000: 2000.0},
        (("__name__", "h_bucket"), ("le", "1.0")): {1000: 1.0},
        (("__name__", "g"), ("le", "1")): {1000: 1.0},
        (("__name__", "with.dot"), ("a b", "c")): {2000: float("inf")},
    }


def test_bad_openmetrics_lines_cost_themselves_alone():
    """No timestamp, no number, no name, a wrong type; and a missing end is told."""
    text = 'a 1\na{b="x y"} 1\na x 1\na 1 x\n{} 1 1\n# TYPE a wrong\na{b="c} 1 1\na 5 5\n'
    found, problems = floats(Form.OPENMETRICS, text)
    assert found == {(("__name__", "a"),): {5000: 5.0}}
    assert sorted(p.split(":")[1] for p in problems) == ["1", "2", "3", "4", "5", "6", "7", "8"]
    assert "does not end with # EOF" in problems[-1]


def test_nothing_is_read_behind_the_end():
    """Data behind # EOF is refused, not taken."""
    found, problems = floats(Form.OPENMETRICS, "a 1 1\n# EOF\na 2 2\n")
    assert found == {(("__name__", "a"),): {1000: 1.0}}
    assert len(problems) == 1


# -- the remote-write stream ---------------------------------------------------------------------------------------


def test_a_cut_or_foreign_stream_is_told_with_its_place():
    """What came before the cut is taken."""
    data = written(Form.REMOTE_WRITE, columns_of({CPU: {1_700_000_000_000: 1.0}}))
    block = bytes(cramjam.snappy.compress_raw(b"\x0a\x05"))
    bad = struct.pack("<I", len(block)) + block
    found, problems = floats(Form.REMOTE_WRITE, bad + data + data[:-3])
    assert found == {CPU: {1_700_000_000_000: 1.0}}
    assert "malformed" in problems[0]
    assert "ends within a request" in problems[1]
    assert "is no remote-write stream" in floats(Form.REMOTE_WRITE, b"# HELP this is text")[1][0]


# -- all -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [Form.CSV, Form.JSON_LINES, Form.OPENMETRICS, Form.REMOTE_WRITE])
@given(data=st.data())
@settings(max_examples=80, deadline=None)
def test_damaged_input_never_breaks_a_reader(form, data):
    """Bytes changed, cut and put in anywhere: an error of ours, or samples and refusals."""
    base = written(
        form, columns_of({CPU: {1_700_000_000_000 + i: i / 7 for i in range(5)}, (("__name__", "b"),): {1: 2.0}})
    )
    at = data.draw(st.integers(0, len(base)))
    end = data.draw(st.integers(at, min(at + 8, len(base))))
    junk = data.draw(
        st.one_of(st.binary(max_size=6), st.sampled_from([b'"', b"\n", b",", b"{", b" ", b"\xff", b"\r\n"]))
    )
    try:
        read(form, base[:at] + junk + base[end:])
    except UsageError:
        assert form is Form.CSV


def test_strict_reading_stops_at_the_first_fault():
    """The error names file and line."""
    refusals = Refusals("x.jsonl", strict=True)
    reader = reader_of(Form.JSON_LINES, ColumnChoice())
    with pytest.raises(RefusedInput, match=r"x\.jsonl:2:1: a line is a JSON object"):
        list(reader.read(io.BytesIO(b"\n1\n"), SeriesRegistry(), refusals))


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_compressed_inputs_are_read_whole_or_told_to_be_cut(suffix):
    """Also several members one after the other; what came before a cut is taken."""
    line = b'{"metric":{"__name__":"cpu","host":"a"},"values":[1],"timestamps":[%d]}\n'

    def packed(data: bytes) -> bytes:
        out = io.BytesIO()
        stream = compressor("x" + suffix, out)
        stream.write(data)
        if stream is not out:
            stream.close()
        return out.getvalue()

    def read_all(data: bytes):
        refusals, registry = Refusals("x"), SeriesRegistry()
        raw = io.BufferedReader(io.BytesIO(data))
        chunks = reader_of(Form.JSON_LINES, ColumnChoice()).read(decompressed(raw), registry, refusals)
        return [t for c in chunks for t in c.batch.timestamps_ms.tolist()], refusals.count

    assert read_all(packed(line % 1) + packed(line % 2)) == ([1, 2], 0)
    if suffix:
        times, refused = read_all(packed(line % 1) + packed(line % 2)[:-3])
        assert times[:1] == [1]
        assert refused >= 1


def test_a_line_that_is_too_long_is_left_out(monkeypatch):
    """Wherever it lies; memory does not grow with it."""
    from tinyobs.interchange import openmetrics_reader, streams

    monkeypatch.setattr(openmetrics_reader, "LINE_BYTES_MAX", 50)
    monkeypatch.setattr(streams, "BLOCK_BYTES", 16)
    text = b"a 1 1\n" + b"b" * 500 + b" 1 1\n" + b"a 2 2\n# EOF\n"
    found, problems = floats(Form.OPENMETRICS, text)
    assert found == {(("__name__", "a"),): {1000: 1.0, 2000: 2.0}}
    assert problems == ["input:2:1: a line longer than 50 bytes"]


def test_formats_are_told_by_names():
    """With or without the suffix of a compression; an unknown one is a question."""
    assert [form_of(n) for n in ("a.csv", "b.jsonl.gz", "c.om.zst", "d.rw", "e.parquet")] == list(Form)
    with pytest.raises(TinyObsError, match="--format"):
        form_of("data.zst")


def test_rows_with_labels_first_are_read_alike_with_and_without_quotes():
    """Width, empty labels and blank lines count there as anywhere."""
    text = 'host,__name__,ts,value\na,cpu,1,1\n,cpu,2,2\n\na,cpu,3\na,cpu,x,4,4\na,b,cpu,5,5\n"a",cpu,6,6\nb,,7,7\n'
    found, problems = floats(Form.CSV, text)
    assert found == {CPU: {1000: 1.0, 6000: 6.0}, (("__name__", "cpu"),): {2000: 2.0}}
    assert [p.split(":")[1] for p in problems] == ["5", "6", "7", "9"]
    plain, problems = floats(Form.CSV, text.replace('"', ""))
    assert plain == found
    assert [p.split(":")[1] for p in problems] == ["5", "6", "7", "9"]
    assert "5 fields, but the header has 4" in problems[1]
