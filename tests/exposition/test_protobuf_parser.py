"""Tests of the protobuf parser against given bodies."""

import math

import numpy as np
import pytest
from protobuf_bodies import body_of, expected, family_of, samples_of

from tinyobs.errors import WireError
from tinyobs.exposition.client_schema import COUNTER, GAUGE, GAUGE_HISTOGRAM, HISTOGRAM, SUMMARY, UNTYPED, Family
from tinyobs.exposition.formats import Format
from tinyobs.exposition.histogram_rules import HistogramRules
from tinyobs.exposition.protobuf_parser import ProtobufParser
from tinyobs.exposition.scrape_parser import Exemplar, ParserLimits
from tinyobs.model.histograms import CUSTOM_SCHEMA, Histogram, ResetHint
from tinyobs.model.labels import from_mapping
from tinyobs.model.metadata import MetricMetadata, MetricType
from tinyobs.model.staleness import STALE_NAN, is_stale

BUCKETS = [{"upper_bound": 0.5, "cumulative_count": 2}, {"upper_bound": 1.0, "cumulative_count": 5}]
NATIVE = {
    "sample_count": 12,
    "sample_sum": 18.4,
    "schema": 1,
    "zero_threshold": 0.001,
    "zero_count": 2,
    "positive_span": [{"offset": 0, "length": 2}, {"offset": 1, "length": 2}],
    "positive_delta": [1, 1, -1, 0],
    "negative_span": [{"offset": -3, "length": 1}, {"offset": 0, "length": 1}],
    "negative_delta": [2, 1],
}


def read(*families, rules=None):
    """Return the samples of one body of a new parser."""
    return samples_of(ProtobufParser(rules).parse(body_of(*families)), {})


def series(name, **labels):
    return from_mapping({"__name__": name, **labels})


def test_simple_types():
    """Counters, gauges and untyped metrics are one sample each; an empty label is none, zero need not be written."""
    found = read(
        ("a_total", COUNTER, [{"labels": {"x": "1", "y": ""}, "counter": {"value": 3}}]),
        ("b", GAUGE, [{"gauge": {"value": -0.5}}, {"labels": {"z": "ü"}, "gauge": {}}]),
        ("c", UNTYPED, [{"untyped": {"value": math.inf}, "timestamp_ms": 1234}]),
    )
    assert found == [
        (series("a_total", x="1"), 3.0, None, 0),
        (series("b"), -0.5, None, 0),
        (series("b", z="ü"), 0.0, None, 0),
        (series("c"), math.inf, 1234, 0),
    ]


def test_a_summary():
    """A summary is its count, its sum and its quantiles, written as OpenMetrics writes floats."""
    summary = {"sample_count": 3, "sample_sum": 4.5, "quantile": [{"quantile": 1, "value": 7}]}
    assert read(("s", SUMMARY, [{"labels": {"a": "b"}, "summary": summary}])) == [
        (series("s_count", a="b"), 3.0, None, 0),
        (series("s_sum", a="b"), 4.5, None, 0),
        (series("s", a="b", quantile="1.0"), 7.0, None, 0),
    ]


def test_a_classic_histogram_gets_the_bucket_that_is_missing():
    """A histogram without native parts is count, sum and buckets; +Inf is added, and float counts go before integers."""
    floats = {"sample_count_float": 2.5, "bucket": [{"upper_bound": math.inf, "cumulative_count_float": 2.5}]}
    found = read(
        ("h", HISTOGRAM, [{"histogram": {"sample_count": 6, "sample_sum": 2, "bucket": BUCKETS}}]),
        ("f", GAUGE_HISTOGRAM, [{"histogram": floats}]),
    )
    assert [(dict(labels).get("le"), value) for labels, value, _, _ in found] == [
        (None, 6.0), (None, 2.0), ("0.5", 2.0), ("1.0", 5.0), ("+Inf", 6.0),
        (None, 2.5), (None, 0.0), ("+Inf", 2.5),
    ]  # fmt: skip
    assert [labels[0][1] for labels, *_ in found][:3] == ["h_count", "h_sum", "h_bucket"]


def test_what_stands_behind_the_infinite_bucket_is_left_out():
    """Buckets end with +Inf, as they end in Prometheus."""
    buckets = [{"upper_bound": b, "cumulative_count": 1} for b in (1, math.inf, 2)]
    found = read(("h", HISTOGRAM, [{"histogram": {"sample_count": 1, "bucket": buckets}}]))
    assert [dict(labels).get("le") for labels, *_ in found] == [None, None, "1.0", "+Inf"]


def test_native_histograms():
    """Spans and deltas become buckets with absolute counts; a gauge histogram has the hint of a gauge."""
    found = read(("h", GAUGE_HISTOGRAM, [{"histogram": NATIVE, "timestamp_ms": 7}]))
    assert found == [
        (
            series("h"),
            Histogram(
                1, 0.001, 2, 12, 18.4, ((0, 2), (1, 2)), (1, 2, 1, 1), ((-3, 2),), (2, 3),
                reset_hint=ResetHint.GAUGE, is_integer=True,
            ),
            7,
            0,
        )
    ]  # fmt: skip


def test_float_histograms_have_counts():
    """A float count, or a float count of zeros, makes a histogram of floats."""
    h = {
        "sample_count_float": 3.5,
        "sample_sum": 1,
        "zero_threshold": 0.5,
        "positive_span": [{"offset": 4, "length": 3}],
        "positive_count": [1.5, 0, 2],
    }
    (found,) = read(("h", HISTOGRAM, [{"histogram": h}]))
    assert found[1] == Histogram(0, 0.5, 0.0, 3.5, 1.0, ((4, 1), (1, 1)), (1.5, 2.0))


def test_an_empty_span_tells_that_a_histogram_is_native():
    """A histogram without observations is native where an empty span says so, and classic without."""
    empty = {"sample_count": 0, "positive_span": [{"offset": 0, "length": 0}]}
    ((labels, value, _, _),) = read(("h", HISTOGRAM, [{"histogram": empty}]))
    assert labels == series("h")
    assert value == Histogram(0, 0.0, 0, 0, 0.0, is_integer=True)
    assert len(read(("h", HISTOGRAM, [{"histogram": {"sample_count": 0}}]))) == 3


def test_rules_choose_the_forms_of_histograms():
    """Native only, native and classic, classic only: as the settings of a scrape say."""
    both = ("h", HISTOGRAM, [{"histogram": {**NATIVE, "bucket": BUCKETS}}])
    bare = ("n", HISTOGRAM, [{"histogram": NATIVE}])

    def names(**rules):
        return [
            dict(labels)["__name__"]
            for labels, *_ in read(both, bare, rules=HistogramRules(**{"native": True, **rules}))
        ]

    classic = ["h_count", "h_sum", "h_bucket", "h_bucket", "h_bucket"]
    assert names() == ["h", "n"]
    assert names(always_classic=True) == ["h", *classic, "n"]
    assert names(native=False) == [*classic, "n_count", "n_sum", "n_bucket"]
    assert names(native=False, convert=True) == ["h", "n"]
    assert names(native=False, convert=True, always_classic=True) == ["h", *classic, "n"]


def test_a_classic_histogram_becomes_one_of_custom_buckets():
    """With `convert` a classic histogram is a native one; the rule does not touch one that is native already."""
    classic = ("h", HISTOGRAM, [{"histogram": {"sample_count": 6, "sample_sum": 2, "bucket": BUCKETS}}])
    native = ("n", HISTOGRAM, [{"histogram": NATIVE}])
    found = read(classic, native, rules=HistogramRules(native=True, convert=True))
    assert found[0][1] == Histogram(
        CUSTOM_SCHEMA, 0.0, 0, 6, 2.0, ((0, 3),), (2, 3, 1), custom_values=(0.5, 1.0), is_integer=True
    )
    assert found[1][1].schema == 1


def test_a_classic_histogram_that_cannot_be_converted_is_left_out():
    """Counts that do not add up make no native histogram, and the rest of the body is read."""
    wrong = {"sample_count": 1, "bucket": [{"upper_bound": 1, "cumulative_count": 5}]}
    body = body_of(("h", HISTOGRAM, [{"histogram": wrong}]), ("g", GAUGE, [{"gauge": {"value": 1}}]))
    parser = ProtobufParser(HistogramRules(native=True, convert=True))
    for _ in range(2):
        assert [v for _, v, _, _ in samples_of(parser.parse(body), {0: series("g")})] == [1.0]
    right = {"sample_count": 5, "bucket": [{"upper_bound": 1, "cumulative_count": 5}]}
    parsed = parser.parse(body_of(("h", HISTOGRAM, [{"histogram": right}]), ("g", GAUGE, [{"gauge": {"value": 2}}])))
    assert len(parsed) == 2


@pytest.mark.parametrize("schema", [9, 52])
def test_too_fine_histograms_become_coarser(schema):
    """Reserved fine schemas are brought to the finest that is stored."""
    h = {**NATIVE, "schema": schema, "negative_span": [], "negative_delta": [], "sample_count": 7}
    ((_, value, _, _),) = read(("h", HISTOGRAM, [{"histogram": h}]))
    assert value.schema == 8
    assert sum(value.positive_buckets) == 5


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"positive_delta": [1]}, "the spans are of 4 buckets, there are 1"),
        ({"positive_delta": [1, -2, 1, 0]}, "negative count"),
        ({"sample_count": 11}, "observations found in the buckets"),
        ({"schema": 53}, "schema 53"),
        ({"schema": -9}, "schema -9"),
    ],
)
def test_native_histograms_that_contradict_themselves(change, reason):
    """A histogram that cannot be fails the scrape, with the reason."""
    with pytest.raises(WireError, match=f'invalid native histogram "h": .*{reason}'):
        read(("h", HISTOGRAM, [{"histogram": {**NATIVE, **change}}]))


def test_created_timestamps_are_start_times():
    """Counters, summaries and histograms tell since when they count."""
    since = {"created_timestamp": {"seconds": 5, "nanos": 7_000_000}}
    bodies = [
        body_of(
            ("a_total", COUNTER, [{"counter": {"value": v, **since}}, {"labels": {"a": "b"}, "counter": {"value": v}}]),
            ("s", SUMMARY, [{"summary": {"sample_count": v, **since}}]),
            ("h", HISTOGRAM, [{"histogram": {"sample_count": v, **since}}]),
            ("g", GAUGE, [{"gauge": {"value": v}}]),
        )
        for v in (1, 2, 300)
    ]
    parser, labels = ProtobufParser(), {}
    for body in bodies:
        starts = [start for *_, start in samples_of(parser.parse(body), labels)]
        assert starts == [5007, 0, 5007, 5007, 5007, 5007, 5007, 0]


def exemplar(text, value, seconds=None):
    made = {"label": [{"name": "trace", "value": text}], "value": value}
    return made if seconds is None else {**made, "timestamp": {"seconds": seconds, "nanos": 5_000_000}}


def test_exemplars():
    """Exemplars of counters and of classic buckets, with and without a time; too long ones are left out."""
    buckets = [{**BUCKETS[0], "exemplar": exemplar("h0", 0.1)}, {**BUCKETS[1], "exemplar": exemplar("x" * 124, 1)}]
    parsed = ProtobufParser().parse(
        body_of(
            ("c", COUNTER, [{"counter": {"value": 1, "exemplar": exemplar("c", 1, 9)}}]),
            ("h", HISTOGRAM, [{"histogram": {"sample_count": 6, "bucket": buckets}}]),
        )
    )
    assert parsed.exemplars == (
        Exemplar(0, (("trace", "c"),), 1.0, 9005),
        Exemplar(3, (("trace", "h0"),), 0.1, None),
    )


def test_exemplars_of_native_histograms():
    """A native histogram has its own exemplars, else those of its buckets; in order of time, none without a time."""
    own = {**NATIVE, "exemplars": [exemplar("late", 1, 9), exemplar("none", 2), exemplar("early", 3, 4)]}
    bucket = {**NATIVE, "bucket": [{**BUCKETS[0], "exemplar": exemplar("b", 4, 2)}, BUCKETS[1]]}
    rules = HistogramRules(native=True, always_classic=True)
    parsed = ProtobufParser(rules).parse(
        body_of(("h", HISTOGRAM, [{"histogram": own}]), ("b", HISTOGRAM, [{"histogram": bucket}]))
    )
    assert [(e.series, e.labels[0][1], e.timestamp_ms) for e in parsed.exemplars] == [
        (0, "early", 4005), (0, "late", 9005), (1, "b", 2005), (4, "b", 2005),
    ]  # fmt: skip


def test_metadata_is_told_when_it_changes():
    """Type, help and unit of families that have metrics; nothing where it is as in the body before."""
    parser = ProtobufParser()
    family = family_of("a_seconds_total", COUNTER, [{"counter": {"value": 1}}], help="What.", unit="seconds")
    empty = family_of("e", GAUGE, [])
    first = parser.parse(body_of(family, empty))
    assert first.metadata == {"a_seconds_total": MetricMetadata(MetricType.COUNTER, "What.", "seconds")}
    family.metric[0].counter.value = 2
    assert parser.parse(body_of(family, empty)).metadata == {}
    family.help = "Other."
    assert parser.parse(body_of(family, empty)).metadata["a_seconds_total"].help == "Other."


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"\x05\x0a", "the body ends within a metric family at byte 1"),
        (b"\x80", "cut or overlong varint"),
        (b"\x02\x0a\x7f", "malformed metric family at byte 1"),
        (body_of(family_of("", GAUGE, [{"gauge": {}}])), "invalid metric name: b''"),
        (body_of(("g", 9, [{"gauge": {}}])), 'unknown metric type for metric "g": 9'),
        (body_of(family_of("g", GAUGE, [{"gauge": {}}], unit="m")), 'unit "m" not a suffix of metric "g"'),
        (body_of(family_of("m_total", COUNTER, [{}], unit="m")), 'unit "m" not a suffix of counter "m_total"'),
        (b"\x09\x0a\x01\xff\x18\x01\x22\x02\x12\x00", "invalid metric name"),
        (body_of(("g", GAUGE, [{"labels": {"": "x"}}])), 'a label of "g" has no name'),
        (body_of(("h", HISTOGRAM, [{"labels": {"le": "x"}, "histogram": {}}])), 'label name "le" is not unique'),
        (b"\x09\x0a\x01g\x18\x01\x22\x02\x0a\x00", "a label"),
        (b"\x0d\x0a\x01g\x18\x01\x22\x06\x0a\x04\x12\x02\xff\xfe", "a label of \"g\" is not valid UTF-8"),
    ],
)  # fmt: skip
def test_malformed_bodies(body, reason):
    """What is cut short, or has names, types, units or labels that cannot be, is refused with reason and place."""
    with pytest.raises(WireError) as e:
        ProtobufParser().parse(body)
    assert reason in str(e.value)


def test_a_body_of_no_bytes_is_an_empty_scrape():
    """Nothing is found, and the next body finds the numbers as they were."""
    parser = ProtobufParser()
    body = body_of(("g", GAUGE, [{"gauge": {"value": 1}}]))
    parser.parse(body)
    assert len(parser.parse(b"")) == 0
    assert parser.parse(body).new == {}
    assert parser.format is Format.PROTOBUF


def test_a_failed_body_changes_nothing():
    """After a malformed body the parser goes on with the numbers it had."""
    parser = ProtobufParser()
    g, h = ("g", GAUGE, [{"gauge": {"value": 1}}]), ("h", HISTOGRAM, [{"histogram": {**NATIVE, "sample_count": 1}}])
    parser.parse(body_of(g))
    with pytest.raises(WireError):
        parser.parse(body_of(g, ("new", GAUGE, [{}]), h))
    found = parser.parse(body_of(g, ("new", GAUGE, [{}])))
    assert found.new == {1: series("new")}
    assert found.series.tolist() == [0, 1]


def test_series_keep_their_numbers():
    """Families in another order, with more and less metrics: known series keep their numbers, forgotten ones give them back."""
    parser = ProtobufParser(limits=ParserLimits(absent_bodies_max=2))

    def body(*names):
        return body_of(*((n, GAUGE, [{"gauge": {"value": ord(n)}}]) for n in names))

    assert parser.parse(body("a", "b")).series.tolist() == [0, 1]
    assert parser.parse(body("c", "b")).series.tolist() == [2, 1]
    found = parser.parse(body("b", "a"))
    assert found.series.tolist() == [1, 0]
    assert found.new == {}
    assert found.values.tolist() == [98.0, 97.0]
    for _ in range(8):
        parser.parse(body("a"))
    assert parser.parse(body("a", "d")).new.keys() <= {1, 2}


def test_a_body_of_known_structure_shares_its_numbers():
    """Where only values change the array of series is the same object, whatever kinds of metrics there are."""
    parser, labels, earlier = ProtobufParser(), {}, None
    for i in range(4):
        families = [
            family_of("a_total", COUNTER, [{"counter": {"value": i}}, {"labels": {"x": "y"}, "counter": {"value": 7}}]),
            family_of(
                "h",
                HISTOGRAM,
                [{"histogram": {**NATIVE, "sample_sum": i}}, {"labels": {"q": "1"}, "histogram": NATIVE}],
            ),
            family_of("g", GAUGE, [{"gauge": {"value": -i}}]),
            family_of("s", SUMMARY, [{"summary": {"sample_count": 100**i}}]),
            family_of("t", GAUGE, [{"gauge": {"value": 1}, "timestamp_ms": 10**i}]),
        ]
        parsed = parser.parse(body_of(*families))
        assert samples_of(parsed, labels) == expected(families)
        if i:
            assert (parsed.series is earlier, parsed.new, parsed.metadata) == (True, {}, {})
        earlier = parsed.series


def test_staleness_markers_survive_and_handles_do_not():
    """A marker keeps its bits; a NaN that would mean a histogram becomes an ordinary one."""
    handle = np.array([0xFFFD << 48], np.uint64).view(np.float64)[0]
    body = body_of(("g", GAUGE, [{"gauge": {"value": STALE_NAN}}, {"labels": {"a": "b"}, "gauge": {"value": handle}}]))
    parsed = ProtobufParser().parse(body)
    assert is_stale(parsed.values).tolist() == [True, False]
    assert np.isnan(parsed.values).all()
    assert parsed.histograms is None
    assert parsed.values.view(np.uint64)[1] >> np.uint64(48) != 0xFFFD


def test_limits():
    """Series are bounded, and so are the labels of one, and the buckets and quantiles of a metric."""
    many = {"bucket": [{"upper_bound": 1}] * 65536}, {"quantile": [{"quantile": 1}] * 65536}
    for type_, field, message in ((HISTOGRAM, "histogram", many[0]), (SUMMARY, "summary", many[1])):
        with pytest.raises(WireError, match="more than 65535 buckets or quantiles"):
            read(("x", type_, [{field: message}]))
    parser = ProtobufParser(limits=ParserLimits(series_max=2))
    with pytest.raises(WireError, match="more than 2 series"):
        parser.parse(body_of(("g", GAUGE, [{"labels": {"a": str(i)}} for i in range(3)])))
    with pytest.raises(WireError, match="more than 1024 labels"):
        read(("g", GAUGE, [{"labels": {f"a{i}": "x" for i in range(1024)}}]))


def test_fields_that_nobody_knows_are_skipped():
    """A newer format may add fields to families and metrics."""
    family = family_of("g", GAUGE, [{"gauge": {"value": 5}}])
    data = family.SerializeToString() + b"\x9a\x06\x01x"
    parser = ProtobufParser()
    for _ in range(2):
        assert parser.parse(bytes([len(data)]) + data).values.tolist() == [5.0]
    assert isinstance(family, Family)
