"""Tests of the scrape parser against given bodies."""

import math

import numpy as np
import pytest

from tinyobs.errors import ExpositionError
from tinyobs.exposition.formats import Format
from tinyobs.exposition.scrape_parser import NO_TIMESTAMP, Exemplar, ParserLimits, ScrapeParser
from tinyobs.model.metadata import MetricMetadata, MetricType
from tinyobs.model.staleness import NORMAL_NAN_BITS

TEXT, OM = Format.TEXT_0_0_4, Format.OPENMETRICS_1_0_0


def samples(body, format=TEXT):
    """Return [(labels as dict, value, timestamp)] of one body."""
    parser = ScrapeParser(format)
    parsed = parser.parse(body)
    times = [None] * len(parsed) if parsed.timestamps_ms is None else parsed.timestamps_ms.tolist()
    return [
        (dict(parsed.new[n]), v, t)
        for n, v, t in zip(parsed.series.tolist(), parsed.values.tolist(), times, strict=True)
    ]


@pytest.mark.parametrize(
    ("line", "labels", "value"),
    [
        (b'go_gc{quantile="0.25",} 7.424100000000001e-05', {"quantile": "0.25"}, 7.424100000000001e-05),
        (b'go_gc{quantile="0.8", a="b"} 1', {"quantile": "0.8", "a": "b"}, 1),
        (b'go_gc{ quantile="0.9", a="b"} 1', {"quantile": "0.9", "a": "b"}, 1),
        (b'go_gc { quantile = "1.0", a = "b" } 8.3835e-05', {"quantile": "1.0", "a": "b"}, 8.3835e-05),
        (b'go_gc { quantile= "1.0", a= "b", } 1', {"quantile": "1.0", "a": "b"}, 1),
        (b'go_gc { quantile = "2.0" a = "b" } 1', {"quantile": "2.0", "a": "b"}, 1),
        (b"go_gc\t1", {}, 1),
        (b"  go_gc  \t 1  ", {}, 1),
        (b'go_gc{a="b"}1', {"a": "b"}, 1),
        (b"go_gc+1", {}, 1),
        (b'go_gc{l="\\"bar\\""} 1', {"l": '"bar"'}, 1),
        (b'go_gc{l="a\\\\n\\n\\x"} 1', {"l": "a\\n\n\\x"}, 1),
        (b'go_gc{a="abc\x00"} 1', {"a": "abc\x00"}, 1),
        (b'go_gc{a="two\nlines"} 1', {"a": "two\nlines"}, 1),
        (b'go_gc{a="",b="x"} 1', {"b": "x"}, 1),
        (b'go_gc{b="x",b="",c="y"} 1', {"c": "y"}, 1),
        (b'go_gc{b="",b="x"} 1', {}, 1),
        (b'{"go_gc","x.y"="z"} 1', {"x.y": "z"}, 1),
        (b'{ "go_gc", a = "b" } 1', {"a": "b"}, 1),
        (b'{a="b","go_gc"} 1', {"a": "b"}, 1),
        (b"go_gc +Inf", {}, math.inf),
        (b"go_gc -inf", {}, -math.inf),
        (b"go_gc .5E1", {}, 5),
        (b"go_gc 1e-400", {}, 0),
        (b"go_gc 0.1000000000000000055511151231257827021181583404541015626", {}, 0.1),
    ],
)
def test_text_line(line, labels, value):
    """Blanks, commas, escapes and quoted names are accepted as Prometheus accepts them."""
    assert samples(line) == [({"__name__": "go_gc", **labels}, value, None)]
    assert samples(b"x 1\n" + line + b"\ny 2\n")[1] == ({"__name__": "go_gc", **labels}, value, None)


def test_utf8_names_with_escapes():
    """A quoted metric name and label name may hold anything, with the three escapes."""
    line = '{"Heiz\u00f6l 10\u20ac \\"q\\" {a\\nb}","strange\u2122\\n\'x\' \\"n\\""="6"} 10.0'
    assert samples(line.encode()) == [
        ({"__name__": 'Heiz\u00f6l 10\u20ac "q" {a\nb}', "strange\u2122\n'x' \"n\"": "6"}, 10, None)
    ]


@pytest.mark.parametrize(
    ("body", "reason", "line", "column"),
    [
        (b"a", "expected value after metric", 1, 2),
        (b"a{b='c'} 1\n", "expected label value", 1, 5),
        (b"a{b=\n", "expected label value", 1, 5),
        (b'a{\xff="foo"} 1\n', "expected label name", 1, 3),
        (b'a{b="\xff"} 1\n', "invalid UTF-8 label value", 1, 5),
        (b'{"a", "b = "c"}', "expected equal", 1, 13),
        (b'{"a",b\\nc="d"} 1', "expected equal", 1, 7),
        (b"ok 1\na true\n", "not a number", 2, 3),
        (b'something_weird{problem="', "expected label value", 1, 25),
        (b'empty_label_name{=""} 0', "expected label name", 1, 18),
        (b'a{""="x"} 1', "invalid label name", 1, 3),
        (b'{""} 1', "invalid metric name", 1, 1),
        (b"foo 1_2\n", "not a number", 1, 5),
        (b"foo 0x1p-3\n", "not a number", 1, 5),
        (b"foo +nan\n", "not a number", 1, 5),
        (b"foo 1e999\n", "value out of range", 1, 5),
        (b"foo 1\r\n", "not a number", 1, 5),
        (b"foo 0 1_2\n", "expected next entry after timestamp", 1, 8),
        (b"foo 0 -12\n", "expected timestamp or new record", 1, 7),
        (b"foo 0 9223372036854775808\n", "timestamp out of range", 1, 7),
        (b"foo 1 2 3\n", "expected next entry after timestamp", 1, 9),
        (b'{a="ok"} 1', "metric name not set", 1, 1),
        (b'a{"b"} 1', "metric name already set", 1, 3),
        (b'a{b="1",b="2"} 1', 'label name "b" is not unique', 1, 1),
        (b'a{__name__=""} 1', "missing metric name", 1, 1),
        (b'a{__name__="b"} 1', 'label name "__name__" is not unique', 1, 1),
        (b"# TYPE #\n", "expected metric name after TYPE", 1, 8),
        (b"# HELP #\n", "expected metric name after HELP", 1, 8),
        (b"# TYPE a counter \n", "invalid metric type", 1, 8),
        (b"# TYPE a gaugehistogram\n", "invalid metric type", 1, 8),
        (b"# HELP a \xff\n", "invalid UTF-8 help text", 1, 1),
        (b"\x01", "expected a valid start token", 1, 1),
        (b'a{b="x\ny"} 1\nb\n', "expected value after metric", 3, 2),
        (b'a{b="x\ny"} z\n', "not a number", 2, 5),
        (b"a 1\nb x\nc{ 1\n", "not a number", 2, 3),
    ],
)
def test_text_errors(body, reason, line, column):
    """A malformed body is refused with the reason, the line and the column of the first fault."""
    with pytest.raises(ExpositionError) as e:
        ScrapeParser(TEXT).parse(body)
    assert reason in e.value.reason
    assert (e.value.line, e.value.column) == (line, column)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"\n", "expected a valid start token"),
        (b"metric", "expected value after metric"),
        (b"metric 1", "data does not end with # EOF"),
        (b"metric 1\n", "data does not end with # EOF"),
        (b'metric_total 1 # {aa="bb"} 4', "data does not end with # EOF"),
        (b" a 1\n# EOF\n", "expected a valid start token"),
        (b"9\n# EOF\n", "expected a valid start token"),
        (b"# TYPE u untyped\n# EOF\n", "invalid metric type"),
        (b"# TYPE c counter \n# EOF\n", "invalid metric type"),
        (b"#  TYPE c counter\n# EOF\n", "expected a valid start token"),
        (b"# TYPE \n# EOF\n", "expected metric name after TYPE"),
        (b"# TYPE m\n# EOF\n", "expected text in TYPE"),
        (b"# UNIT metric suffix\n# EOF\n", "not a suffix of metric"),
        (b"# UNIT metricsuffix suffix\n# EOF\n", "not a suffix of metric"),
        (b"# HELP m\n# EOF\n", "expected text in HELP"),
        (b"a\t1\n# EOF\n", "expected value after metric"),
        (b"a 1\t2\n# EOF\n", "not a number"),
        (b"a 1 2 \n# EOF\n", "expected next entry after timestamp"),
        (b"a 1 2 #\n# EOF\n", "expected next entry after timestamp"),
        (b"a 1 1z\n# EOF\n", "not a number"),
        (b" # EOF\n", "expected a valid start token"),
        (b"# EOF\na 1", "unexpected data after # EOF"),
        (b"# EOF\n\n", "unexpected data after # EOF"),
        (b"# EOFa 1", "unexpected data after # EOF"),
        (b"# comment\n# EOF\n", "expected a valid start token"),
        (b"# TYPE c  counter\n# EOF\n", "invalid metric type"),
        (b"a 1 1 1\n# EOF\n", "expected next entry after timestamp"),
        (b"a{b='c'} 1\n# EOF\n", "expected label value"),
        (b'a{,b="c"} 1\n# EOF\n', "expected label name"),
        (b'a{b="c"d="e"} 1\n# EOF\n', "expected comma or brace close"),
        (b'a{b="c",,d="e"} 1\n# EOF\n', "expected label name"),
        (b'a{b="\xff"} 1\n# EOF\n', "invalid UTF-8 label value"),
        (b"foo 1_2\n# EOF\n", "not a number"),
        (b"m_total 1 # {aa=bb}\n# EOF\n", "expected label value"),
        (b'm_total 1 # {aa="bb"}\n# EOF\n', "expected value after exemplar labels"),
        (b"m_total 1 # {bb}\n# EOF\n", "expected equal"),
        (b'm_total 1 # {aa="bb",,cc="dd"} 1\n# EOF\n', "expected label name"),
        (b'm_total 1 # {aa="bb"} 0x1p-3\n# EOF\n', "not a number"),
        (b'{b="c",} 1\n# EOF\n', "metric name not set"),
        (b"a 1 NaN\n# EOF\n", "invalid timestamp"),
        (b"a 1 -Inf\n# EOF\n", "invalid timestamp"),
        (b'h_bucket{le="+Inf"} 1 # {aa="bb"} 4 NaN\n# EOF\n', "invalid exemplar timestamp"),
        (b"a 1\r\n# EOF\r\n", "not a number"),
    ],
)
def test_openmetrics_errors(body, reason):
    """OpenMetrics is read as strictly as Prometheus reads it, and must end with its EOF line."""
    with pytest.raises(ExpositionError) as e:
        ScrapeParser(OM).parse(body)
    assert reason in e.value.reason


def test_openmetrics_body():
    """Timestamps in seconds, exemplars, created lines, quoted names and metadata of an OpenMetrics body are read."""
    body = b"""# HELP foo A \\"counter\\" \\\\ \\n
# TYPE foo counter
foo_total 17.0 1520879607.789 # {id="counter-test"} 5
foo_created 1520872607.123
# TYPE baz_seconds histogram
# UNIT baz_seconds seconds
baz_seconds_bucket{le="1"} 1 # {id="a",trace="b"} 0.5 123.123
{"go.gc_duration",quantile="0"} 4.9351e-05 -1.5
# TYPE ii info
ii{foo="bar"} 1
# EOF
"""
    parser = ScrapeParser(OM)
    parsed = parser.parse(body)
    assert parsed.values.tolist() == [17, 1520872607.123, 1, 4.9351e-05, 1]
    assert parsed.timestamps_ms.tolist() == [1520879607789, NO_TIMESTAMP, NO_TIMESTAMP, -1500, NO_TIMESTAMP]
    assert parsed.new[2] == (("__name__", "baz_seconds_bucket"), ("le", "1.0"))
    assert parsed.exemplars == (
        Exemplar(0, (("id", "counter-test"),), 5, None),
        Exemplar(2, (("id", "a"), ("trace", "b")), 0.5, 123123),
    )
    assert parsed.metadata == {
        "foo": MetricMetadata(MetricType.COUNTER, 'A "counter" \\ \n'),
        "baz_seconds": MetricMetadata(MetricType.HISTOGRAM, unit="seconds"),
        "ii": MetricMetadata(MetricType.INFO),
    }
    again = parser.parse(body.replace(b"17.0", b"18.0").replace(b'"a",trace', b'"c",trace'))
    assert again.values.tolist()[0] == 18
    assert again.exemplars[1].labels == (("id", "c"), ("trace", "b"))
    assert not again.new
    assert not again.metadata


def test_exemplar_longer_than_the_limit_is_left_out():
    """An exemplar with more than 128 characters of labels does not fail the scrape, it is dropped."""
    body = b'a_total 1 # {x="%s"} 1\n# EOF\n' % (b"y" * 128)
    assert ScrapeParser(OM).parse(body).exemplars == ()


def test_metadata_of_text():
    """HELP, TYPE and comments are told apart, escapes in HELP are resolved, names may be quoted."""
    body = b"""# HELP go_gc A summary.
# \tTYPE go_gc summary
# Hrandom comment starting with prefix of HELP
#
#HELP no metadata
# HELP nohelp1
# HELP nohelp2\x20
# HELP esc a\\\\b\\nc\\"d
# TYPE "my.name" untyped
"""
    assert ScrapeParser(TEXT).parse(body).metadata == {
        "go_gc": MetricMetadata(MetricType.SUMMARY, "A summary."),
        "nohelp1": MetricMetadata(),
        "nohelp2": MetricMetadata(),
        "esc": MetricMetadata(help='a\\b\nc\\"d'),
        "my.name": MetricMetadata(),
    }


def test_bound_labels_get_one_spelling():
    """`le` in histograms and `quantile` in summaries are written as OpenMetrics floats, elsewhere left alone."""
    body = b"""# TYPE h histogram
h_bucket{le="1"} 1
h_bucket{le="1e6"} 1
h_bucket{le="+Inf"} 1
h_bucket{le="-0"} 1
h_bucket{le="x",quantile="1"} 1
# TYPE s summary
s{quantile="0",le="1"} 1
# TYPE g gauge
g{le="1"} 1
"""
    found = [tuple(v for k, v in labels.items() if k != "__name__") for labels, _, _ in samples(body)]
    assert found == [("1.0",), ("1e+06",), ("+Inf",), ("0.0",), ("x", "1"), ("1", "0.0"), ("1",)]


def test_the_same_key_under_another_type_is_another_series():
    """A changed TYPE line changes the spelling of bounds also for keys that are known."""
    parser = ScrapeParser(TEXT)
    line = b'h_bucket{le="1"} 1\n'
    assert dict(parser.parse(b"# TYPE h histogram\n" + line).new[0])["le"] == "1.0"
    assert dict(parser.parse(b"# TYPE h untyped\n" + line).new[1])["le"] == "1"
    assert parser.parse(b"# TYPE h histogram\n" + line).series.tolist() == [0]


def test_numbers_are_remembered_across_bodies():
    """A series keeps its number whatever the order of lines, and only new series are reported as new."""
    parser = ScrapeParser(TEXT)
    assert parser.parse(b"a 1\nb 2\n").series.tolist() == [0, 1]
    same = parser.parse(b"a 3\nb 4\n")
    assert (same.series.tolist(), same.values.tolist(), dict(same.new)) == ([0, 1], [3, 4], {})
    mixed = parser.parse(b"c 1\nb 2\na 3\n")
    assert mixed.series.tolist() == [2, 1, 0]
    assert set(mixed.new) == {2}
    assert parser.labels(1) == (("__name__", "b"),)
    with pytest.raises(KeyError):
        parser.labels(3)


def test_a_series_may_come_back_before_it_is_forgotten():
    """A series that is gone keeps its number for some bodies; then the number is given to another one."""
    parser = ScrapeParser(TEXT, limits=ParserLimits(absent_bodies_max=3))
    parser.parse(b"a 1\nb 1\n")
    parser.parse(b"b 1\n")
    assert parser.parse(b"a 1\nb 1\n").series.tolist() == [0, 1]
    for _ in range(9):
        parser.parse(b"b 1\n")
    late = parser.parse(b"b 1\nz 1\n")
    assert late.series.tolist() == [1, 0]
    assert late.new == {0: (("__name__", "z"),)}


def test_a_failed_body_changes_nothing():
    """After a malformed body the parser goes on with the numbers it had."""
    parser = ScrapeParser(TEXT)
    parser.parse(b"a 1\n")
    for bad in (b"new 1\nb{ 1\n", b"a x\n", b"a 1 x\n"):
        with pytest.raises(ExpositionError):
            parser.parse(bad)
    parsed = parser.parse(b"c 1\na 2\n")
    assert parsed.series.tolist() == [1, 0]
    assert parser.parse(b"c 1\na 2\n").series.tolist() == [1, 0]


@pytest.mark.parametrize(
    "second", [b"a 5\na5\n", b"a5\nb 1\n", b"5\nb 1\n", b"a 5\nNaN\n", b"a 1\nb \n", b"a 1\nb  1\rx"]
)
def test_a_known_layout_hides_no_error(second):
    """A line that lost its series or its value is malformed, also where the layout is known."""
    parser = ScrapeParser(TEXT)
    parser.parse(b"a 1\nb 1\n")
    parser.parse(b"a 2\nb 2\n")
    with pytest.raises(ExpositionError):
        parser.parse(second)


@pytest.mark.parametrize("line", [b"a  1\n", b"a \t1\n", b"a  1 5\n", b"a 1  \n", b"\ta 1\n"])
def test_a_known_series_with_other_blanks(line):
    """More blanks than last time are read as the first time, known series or not."""
    parser = ScrapeParser(TEXT)
    parser.parse(b"a 0\nb 0\n")
    for tail in (b"b 0\n", b"b 0\nc 0\n", b""):
        assert parser.parse(line + tail).values.tolist()[0] == 1


def test_glued_names_are_not_confused_with_longer_ones():
    """`a+1` is a sample of `a`; a later `a5` in its place is no sample."""
    parser = ScrapeParser(TEXT)
    assert parser.parse(b"a+1\n").values.tolist() == [1]
    with pytest.raises(ExpositionError):
        parser.parse(b"a5\n")


def test_timestamps_in_every_line_and_in_some():
    """Timestamps are read in bulk where all samples have one and one by one where some have."""
    parser = ScrapeParser(TEXT)
    assert parser.parse(b"a 1 10\nb 2 20\n").timestamps_ms.tolist() == [10, 20]
    assert parser.parse(b"a 1 11\nb 2 21\n").timestamps_ms.tolist() == [11, 21]
    assert parser.parse(b"a 1\nb 2 22\n").timestamps_ms.tolist() == [NO_TIMESTAMP, 22]
    assert parser.parse(b"a 1\nb 2\n").timestamps_ms is None
    with pytest.raises(ExpositionError):
        parser.parse(b"a 1\nb 2 3 4\n")


def test_timestamps_with_leading_zeros():
    """Leading zeros do not count against the length of a timestamp."""
    body = b"a 1 00000000000000000000000000001\n"
    assert ScrapeParser(TEXT).parse(body).timestamps_ms.tolist() == [1]


def test_an_exemplar_with_a_name_twice():
    """A repeated name in an exemplar does not fail the scrape."""
    parsed = ScrapeParser(OM).parse(b'a_total 1 # {x="1",x="2"} 1\n# EOF\n')
    assert parsed.exemplars[0].labels == (("x", "2"),)


def test_nan_is_the_normal_nan():
    """Every NaN of a body has the payload of Prometheus' normal NaN, so that none looks like a staleness marker."""
    for body in (b"a NaN\n", b"a nan 1\nb 1\n"):
        values = ScrapeParser(TEXT).parse(body).values
        assert values[:1].view(np.uint64)[0] == NORMAL_NAN_BITS


def test_a_value_of_a_folded_label_is_read_every_time():
    """A label value with a line end in it works although such bodies have no layout."""
    parser = ScrapeParser(TEXT)
    for value in (1.0, 2.0):
        parsed = parser.parse(b'a{b="x\ny"} %d\nc 1\n' % value)
        assert parsed.values.tolist() == [value, 1]
        assert parsed.series.tolist() == [0, 1]


def test_limits():
    """Lines, series and labels are bounded, and the error says by what."""
    for body, reason in ((b"a" * 100 + b" 1\n", "longer than 50"), (b"a 1\nb 1\nc 1\n", "more than 2 series")):
        with pytest.raises(ExpositionError, match=reason):
            ScrapeParser(TEXT, limits=ParserLimits(line_bytes_max=50, series_max=2)).parse(body)
    many = b",".join(b'l%d="x"' % i for i in range(1025))
    with pytest.raises(ExpositionError, match="more than 1024 labels"):
        ScrapeParser(TEXT).parse(b"a{" + many + b"} 1\n")


def test_empty_bodies():
    """No bytes are an empty scrape; text may be blank, OpenMetrics has its last line, with or without line end."""
    for body, format in ((b"", TEXT), (b"", OM), (b"\n \n", TEXT), (b"# EOF", OM), (b"# EOF\n", OM)):
        parser = ScrapeParser(format)
        for _ in range(2):
            assert len(parser.parse(body)) == 0


def test_protobuf_is_not_text():
    """The parser of text formats refuses to be made for protobuf."""
    with pytest.raises(ValueError, match="text formats"):
        ScrapeParser(Format.PROTOBUF)
