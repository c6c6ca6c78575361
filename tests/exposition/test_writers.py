"""Tests of the writers: exact bodies, what other parsers make of them, and the way back through our own."""

import math
import shutil
import struct
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from tinyobs.exposition.client_schema import Family
from tinyobs.exposition.floats import format_float, format_openmetrics_float, parse_float
from tinyobs.exposition.formats import Format
from tinyobs.exposition.names import Escaping, label_name, metric_name
from tinyobs.exposition.negotiate import Answer
from tinyobs.exposition.scrape_parser import ScrapeParser
from tinyobs.exposition.writer import write
from tinyobs.model.families import MetricFamily, Point, counter, gauge
from tinyobs.model.labels import from_mapping
from tinyobs.model.metadata import MetricType
from tinyobs.model.registry import read_varint

PROMTOOL = shutil.which("promtool")


def bucket(le, value, **labels):
    """Return a bucket point."""
    return Point(value, from_mapping({"le": le, **labels}), "_bucket")


FAMILIES = [
    counter("requests_total", 'Requests "served" \\ in\nall.', 1027, method="post", path='a\\b"c\nd'),
    gauge("temperature_celsius", "Temperature.", -2.5),
    MetricFamily(
        "latency_seconds",
        MetricType.HISTOGRAM,
        "Latency.",
        (
            bucket("0.5", 3),
            bucket("1", 5),
            bucket("+Inf", 7),
            Point(7, (), "_count"),
            Point(4.25, (), "_sum"),
        ),
        "seconds",
    ),
    MetricFamily(
        "rpc_seconds",
        MetricType.SUMMARY,
        "RPC.",
        (
            Point(0.1, from_mapping({"quantile": "0.5"})),
            Point(math.nan, from_mapping({"quantile": "1"})),
            Point(2, (), "_count"),
            Point(0.3, (), "_sum"),
        ),
    ),
]

TEXT = b"""# HELP requests_total Requests "served" \\\\ in\\nall.
# TYPE requests_total counter
requests_total{method="post",path="a\\\\b\\"c\\nd"} 1027
# HELP temperature_celsius Temperature.
# TYPE temperature_celsius gauge
temperature_celsius -2.5
# HELP latency_seconds Latency.
# TYPE latency_seconds histogram
latency_seconds_bucket{le="0.5"} 3
latency_seconds_bucket{le="1"} 5
latency_seconds_bucket{le="+Inf"} 7
latency_seconds_count 7
latency_seconds_sum 4.25
# HELP rpc_seconds RPC.
# TYPE rpc_seconds summary
rpc_seconds{quantile="0.5"} 0.1
rpc_seconds{quantile="1"} NaN
rpc_seconds_count 2
rpc_seconds_sum 0.3
"""

OPENMETRICS = b"""# TYPE requests counter
# HELP requests Requests \\"served\\" \\\\ in\\nall.
requests_total{method="post",path="a\\\\b\\"c\\nd"} 1027.0
# TYPE temperature_celsius gauge
# HELP temperature_celsius Temperature.
temperature_celsius -2.5
# TYPE latency_seconds histogram
# UNIT latency_seconds seconds
# HELP latency_seconds Latency.
latency_seconds_bucket{le="0.5"} 3
latency_seconds_bucket{le="1.0"} 5
latency_seconds_bucket{le="+Inf"} 7
latency_seconds_count 7
latency_seconds_sum 4.25
# TYPE rpc_seconds summary
# HELP rpc_seconds RPC.
rpc_seconds{quantile="0.5"} 0.1
rpc_seconds{quantile="1.0"} NaN
rpc_seconds_count 2
rpc_seconds_sum 0.3
# EOF
"""


def test_text():
    """Families are written in the text format with escapes in help and label values."""
    assert write(FAMILIES, Answer(Format.TEXT_0_0_4)) == TEXT
    assert write(FAMILIES, Answer(Format.TEXT_1_0_0, Escaping.ALLOW_UTF8)) == TEXT


def test_openmetrics():
    """OpenMetrics takes `_total` off a counter's family, adds units and ends with EOF."""
    assert write(FAMILIES, Answer(Format.OPENMETRICS_1_0_0)) == OPENMETRICS
    assert write(FAMILIES, Answer(Format.OPENMETRICS_0_0_1)) == OPENMETRICS
    assert write([], Answer(Format.OPENMETRICS_1_0_0)) == b"# EOF\n"


def test_other_parsers_read_the_same_samples():
    """The official Python client reads every sample of both formats."""
    for families in (parse_text(TEXT.decode()), parse_openmetrics(OPENMETRICS.decode())):
        found = {(s.name, s.labels.get("le"), s.labels.get("quantile")): s.value for f in families for s in f.samples}
        assert len(found) == 11
        assert found["requests_total", None, None] == 1027
        assert found["latency_seconds_bucket", "+Inf", None] == 7


@pytest.mark.peer
@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed")
def test_promtool_accepts_the_text_format():
    """`promtool check metrics` finds nothing wrong."""
    done = subprocess.run([PROMTOOL, "check", "metrics"], input=TEXT, capture_output=True, timeout=100)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


def test_counters_without_total():
    """A counter that is not called `_total` is unknown to OpenMetrics and a counter in text."""
    family = [counter("jobs", "", 3)]
    assert write(family, Answer(Format.OPENMETRICS_1_0_0)) == b"# TYPE jobs unknown\njobs 3.0\n# EOF\n"
    assert write(family, Answer()) == b"# TYPE jobs counter\njobs 3\n"


def test_info_stateset_and_created():
    """Types that the text format lacks become gauges; creation times are for OpenMetrics only."""
    families = [
        MetricFamily("build_info", MetricType.INFO, "", (Point(1, from_mapping({"version": "1"})),)),
        MetricFamily("state", MetricType.STATESET, "", (Point(0, from_mapping({"state": "up"})),)),
        MetricFamily("a_total", MetricType.COUNTER, "", (Point(1), Point(1.5e9, (), "_created"))),
    ]
    assert write(families, Answer()) == (
        b'# TYPE build_info gauge\nbuild_info{version="1"} 1\n# TYPE state gauge\nstate{state="up"} 0\n'
        b"# TYPE a_total counter\na_total 1\n"
    )
    body = write(families, Answer(Format.OPENMETRICS_1_0_0))
    assert body == (
        b'# TYPE build info\nbuild_info{version="1"} 1.0\n# TYPE state stateset\nstate{state="up"} 0.0\n'
        b"# TYPE a counter\na_total 1.0\na_created 1.5e+09\n# EOF\n"
    )
    assert len(list(parse_openmetrics(body.decode()))) == 3


@pytest.mark.parametrize("time", [0, 1, 999, 1700000000123, -1, -1500])
def test_timestamps(time):
    """Timestamps are milliseconds in text and exact seconds in OpenMetrics."""
    family = [MetricFamily("a", MetricType.GAUGE, "", (Point(1, (), "", time),))]
    parsed = ScrapeParser(Format.OPENMETRICS_1_0_0).parse(write(family, Answer(Format.OPENMETRICS_1_0_0)))
    assert abs(parsed.timestamps_ms.tolist()[0] - time) <= (time % 1000 != 0)  # Prometheus cuts the float
    assert write(family, Answer()).endswith(b"a 1 %d\n" % time)


def test_utf8_names():
    """A name outside the legacy characters is quoted where the format allows it and escaped elsewhere."""
    family = [MetricFamily("my.m\u00e9tric", MetricType.GAUGE, "H", (Point(1, from_mapping({"l.x": "\u00e9"})),))]
    quoted = '# HELP "my.m\u00e9tric" H\n# TYPE "my.m\u00e9tric" gauge\n{"my.m\u00e9tric","l.x"="\u00e9"} 1\n'
    escaped = '# HELP my_m_tric H\n# TYPE my_m_tric gauge\nmy_m_tric{l_x="\u00e9"} 1\n'
    assert write(family, Answer(Format.TEXT_1_0_0, Escaping.ALLOW_UTF8)).decode() == quoted
    assert write(family, Answer(Format.TEXT_0_0_4)).decode() == escaped
    parsed = ScrapeParser(Format.TEXT_1_0_0).parse(quoted.encode())
    assert parsed.new[0] == (("__name__", "my.m\u00e9tric"), ("l.x", "\u00e9"))


@pytest.mark.parametrize(
    ("name", "underscores", "dots", "values"),
    [
        ("plain_name", "plain_name", "plain__name", "plain_name"),
        ("http.status:sum", "http_status:sum", "http_dot_status:sum", "U__http_2e_status:sum"),
        ("1x-y", "_x_y", "__x__y", "U___31_x_2d_y"),
        ("a.b_c", "a_b_c", "a_dot_b__c", "U__a_2e_b__c"),
    ],
)
def test_escaping_schemes(name, underscores, dots, values):
    """Names are escaped as Prometheus' common library does."""
    assert metric_name(name, Escaping.UNDERSCORES) == underscores
    assert metric_name(name, Escaping.DOTS) == dots
    assert metric_name(name, Escaping.VALUES) == values
    assert metric_name(name, Escaping.ALLOW_UTF8) == name
    assert label_name("a:b", Escaping.UNDERSCORES) == "a_b"


def messages(data):
    """Return the delimited messages of a body."""
    at, out = 0, []
    while at < len(data):
        size, at = read_varint(data, at)
        out.append(Family.FromString(data[at : at + size]))
        at += size
    return out


def test_protobuf():
    """Points of a histogram or summary are grouped into one metric, and zero values are present."""
    found = messages(write([*FAMILIES, gauge("zero", "", 0)], Answer(Format.PROTOBUF)))
    assert [(f.name, f.type) for f in found] == [
        ("requests_total", 0),
        ("temperature_celsius", 1),
        ("latency_seconds", 4),
        ("rpc_seconds", 2),
        ("zero", 1),
    ]
    assert found[0].HasField("type")
    assert found[0].metric[0].counter.value == 1027
    assert [p.name for p in found[0].metric[0].label] == ["method", "path"]
    assert len(found[2].metric) == 1
    histogram = found[2].metric[0].histogram
    assert [(b.upper_bound, b.cumulative_count) for b in histogram.bucket] == [(0.5, 3), (1, 5), (math.inf, 7)]
    assert (histogram.sample_count, histogram.sample_sum, found[2].unit) == (7, 4.25, "seconds")
    summary = found[3].metric[0].summary
    assert (summary.sample_count, summary.sample_sum, summary.quantile[0].value) == (2, 0.3, 0.1)
    assert found[4].metric[0].gauge.HasField("value")


def test_protobuf_bytes():
    """A gauge is encoded as the schema says."""
    body = write([gauge("a", "h", 1.0, x="y")], Answer(Format.PROTOBUF))
    label = b"\x0a\x06\x0a\x01x\x12\x01y"
    metric = label + b"\x12\x09\x09" + struct.pack("<d", 1.0)
    message = b"\x0a\x01a\x12\x01h\x18\x01\x22" + bytes([len(metric)]) + metric
    assert body == bytes([len(message)]) + message


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "-0"),
        (1.0, "1"),
        (123456.0, "123456"),
        (1234567.0, "1.234567e+06"),
        (1e6, "1e+06"),
        (0.0001, "0.0001"),
        (0.00001, "1e-05"),
        (1.5e-7, "1.5e-07"),
        (1e21, "1e+21"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
        (5e-324, "5e-324"),
        (-123456.789, "-123456.789"),
        (0.1, "0.1"),
        (math.inf, "+Inf"),
        (-math.inf, "-Inf"),
        (math.nan, "NaN"),
    ],
)
def test_floats_as_go_writes_them(value, text):
    """Values have the spelling of Go's shortest 'g' format."""
    assert format_float(value) == text


@given(st.floats())
def test_floats_read_back(value):
    """A written value reads back as the same bits, NaN as the normal NaN."""
    for text in (format_float(value), format_openmetrics_float(value)):
        back = parse_float(text.encode())
        assert math.isnan(back) if math.isnan(value) else struct.pack("<d", back) == struct.pack("<d", value)


NAMES = st.sampled_from(["a", "b_total", "c.d", "\u00fc", "e:f"])
LABELS = st.dictionaries(
    st.sampled_from(["x", "y.z", "l"]),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5),
    max_size=3,
)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(NAMES, LABELS, st.floats()), max_size=6, unique_by=lambda t: t[0]),
    st.sampled_from([Format.TEXT_1_0_0, Format.OPENMETRICS_1_0_0]),
)
def test_what_is_written_is_read(points, format):
    """Our own parser reads back every label and value."""
    families = [MetricFamily(n, MetricType.UNKNOWN, "h", (Point(v, from_mapping(ls)),)) for n, ls, v in points]
    parsed = ScrapeParser(format).parse(write(families, Answer(format, Escaping.ALLOW_UTF8)))
    ours = [(dict(parsed.new[n]), repr(v)) for n, v in zip(parsed.series.tolist(), parsed.values.tolist(), strict=True)]
    assert ours == [({"__name__": n, **ls}, repr(v)) for n, ls, v in points]
