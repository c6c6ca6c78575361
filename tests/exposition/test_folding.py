"""Text bodies folded: classic histograms into native ones, `_created` series into start times."""

import math

import pytest
from protobuf_bodies import samples_of

from tinyobs.exposition.custom_buckets import custom_histogram
from tinyobs.exposition.formats import Format
from tinyobs.exposition.histogram_rules import HistogramRules
from tinyobs.exposition.parsers import parser_of
from tinyobs.exposition.scrape_parser import ScrapeParser
from tinyobs.model.histograms import CUSTOM_SCHEMA, Histogram
from tinyobs.model.labels import from_mapping

TEXT, OM = Format.TEXT_0_0_4, Format.OPENMETRICS_1_0_0
CONVERT = HistogramRules(convert=True)
H = b"""# TYPE h histogram
h_bucket{a="1",le="0.5"} 1
h_bucket{a="1",le="+Inf"} 3
h_sum{a="1"} 4.5
h_count{a="1"} 3
"""


def series(name, **labels):
    return from_mapping({"__name__": name, **labels})


def custom(counts, bounds, count, total):
    """Return a histogram of whole counts, without empty buckets."""
    return Histogram(
        CUSTOM_SCHEMA, 0.0, 0, count, total, ((0, len(counts)),), counts, custom_values=bounds, is_integer=True
    )


def folded(body, format=TEXT, rules=CONVERT, created=False):
    return samples_of(parser_of(format, rules, created=created).parse(body), {})


def test_a_plain_parser_where_nothing_is_to_fold():
    """Without conversion, and for `_created` in formats that have none, bodies are read as ever."""
    assert isinstance(parser_of(TEXT), ScrapeParser)
    assert isinstance(parser_of(TEXT, created=True), ScrapeParser)
    assert parser_of(OM, created=True).format is OM


def test_a_classic_histogram_becomes_native():
    """Buckets, sum and count are one sample of the base name; series beside them stay."""
    assert folded(b"x 1\n" + H) == [
        (series("x"), 1.0, None, 0),
        (series("h", a="1"), custom((1, 2), (0.5,), 3, 4.5), None, 0),
    ]


def test_classic_series_may_be_kept():
    """With `always_classic` there are both."""
    found = folded(H, rules=HistogramRules(convert=True, always_classic=True))
    assert [dict(labels)["__name__"] for labels, *_ in found] == ["h_bucket", "h_bucket", "h_sum", "h_count", "h"]


@pytest.mark.parametrize(
    "body",
    [
        b"# TYPE h gauge\n" + H[19:],
        H[19:],
        b"# TYPE h summary\n" + H[19:],
        b'# TYPE h histogram\nh_bucket{le="x"} 1\nh_bucket 2\nh_other 1\nh{le="1"} 2\n',
    ],
)
def test_only_histograms_are_converted(body):
    """Families of other types, and series that only look like buckets, stay as they are."""
    assert all(isinstance(value, float) for _, value, *_ in folded(body))


def test_histograms_of_one_family_are_told_apart_by_their_labels():
    """Each label set but `le` is a histogram of its own, wherever its lines stand."""
    other = H[19:].replace(b'a="1"', b'b="2"')
    lines = (H[19:] + other).splitlines(keepends=True)
    found = folded(H[:19] + b"".join(sorted(lines)))
    assert {labels for labels, *_ in found} == {series("h", a="1"), series("h", b="2")}
    assert all(value == custom((1, 2), (0.5,), 3, 4.5) for _, value, *_ in found)


def test_a_histogram_that_cannot_be_is_left_out():
    """Its series are gone all the same, and it comes when it can be."""
    parser, labels = parser_of(TEXT, CONVERT), {}
    assert samples_of(parser.parse(H.replace(b'h_count{a="1"} 3', b'h_count{a="1"} 4')), labels) == []
    assert len(samples_of(parser.parse(H), labels)) == 1


def test_bodies_of_known_structure():
    """Values change from body to body; the numbers of series do not."""
    parser, labels = parser_of(TEXT, CONVERT), {}
    first = parser.parse(b"x 1\n" + H)
    labels.update(first.new)
    second = parser.parse(b"x 2\n" + H.replace(b"4.5", b"5.5"))
    assert second.series.tolist() == first.series.tolist()
    assert second.new == {}
    assert [value for _, value, *_ in samples_of(second, labels)] == [2.0, custom((1, 2), (0.5,), 3, 5.5)]
    third = parser.parse(H + H[19:].replace(b'"1"', b'"2"'))
    assert [series for series, *_ in samples_of(third, labels)] == [series("h", a="1"), series("h", a="2")]
    fourth = parser.parse(b"x 3\n")
    assert samples_of(fourth, labels) == [(series("x"), 3.0, None, 0)]
    fifth = parser.parse(H.replace(b'"1"', b'"3"'))
    assert [series for series, *_ in samples_of(fifth, labels)] == [series("h", a="3")]


def test_a_type_that_changes():
    """A family that is no histogram any more is not converted."""
    parser, labels = parser_of(TEXT, CONVERT), {}
    assert len(samples_of(parser.parse(H), labels)) == 1
    assert len(samples_of(parser.parse(H.replace(b"histogram", b"untyped")), labels)) == 4


def test_timestamps_and_exemplars_move_to_the_histogram():
    """The histogram has the time of its series, and those of their exemplars that have a time, in order."""
    body = b"""# TYPE h histogram
h_bucket{le="0.5"} 1 7 # {t="late"} 0.3 9
h_bucket{le="1.0"} 1 7 # {t="none"} 0.3
h_bucket{le="+Inf"} 3 7 # {t="early"} 5 8
h_sum 4.5 7
h_count 3 7
# TYPE c counter
c_total 1 # {t="c"} 1
# EOF
"""
    parsed = parser_of(OM, CONVERT).parse(body)
    found = samples_of(parsed, {})
    assert [(labels, time) for labels, _, time, _ in found] == [(series("c_total"), None), (series("h"), 7000)]
    assert [(e.series, e.labels[0][1], e.timestamp_ms) for e in parsed.exemplars] == [
        (10, "c", None), (1, "early", 8000), (1, "late", 9000),
    ]  # fmt: skip


CREATED = b"""# TYPE c counter
c_total{a="1"} 5
c_created{a="1"} 1.5
c_total{a="2"} 6
# TYPE h histogram
h_bucket{le="+Inf"} 3
h_sum 4.5
h_count 3
h_created 2
# TYPE s summary
s{quantile="0.5"} 1
s_sum 1
s_created 3
# TYPE g gauge
g_created 4
# EOF
"""


def test_created_series_are_start_times():
    """`_created` of counters, histograms and summaries is the start of the series beside it; that of a gauge is a gauge."""
    found = folded(CREATED, OM, HistogramRules(), created=True)
    assert [(labels[0][1], start) for labels, _, _, start in found] == [
        ("c_total", 1500), ("c_total", 0), ("h_bucket", 2000), ("h_sum", 2000), ("h_count", 2000),
        ("s", 3000), ("s_sum", 3000), ("g_created", 0),
    ]  # fmt: skip


def test_a_converted_histogram_starts_too():
    """Both foldings at once."""
    found = folded(CREATED, OM, CONVERT, created=True)
    assert found[-1][0] == series("h")
    assert found[-1][3] == 2000
    assert all(not dict(labels)["__name__"].startswith("h_") for labels, *_ in found)


def test_created_series_stay_where_they_are_not_wanted():
    """Without the option they are series like others, without start times."""
    found = folded(CREATED, OM)
    assert sum(dict(labels)["__name__"].endswith("_created") for labels, *_ in found) == 4
    assert all(not start for *_, start in found)


@pytest.mark.parametrize("text", [b"NaN", b"+Inf", b"1e300", b"1e306"])
def test_created_values_that_are_no_time(text):
    """They are as none."""
    body = b"# TYPE c counter\nc_total 1\nc_created " + text + b"\n# EOF\n"
    assert folded(body, OM, HistogramRules(), created=True) == [(series("c_total"), 1.0, None, 0)]


# -- the conversion alone ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("buckets", "count", "expected"),
    [
        ([(1.0, 2), (2.0, 5)], 6, ((2, 3, 1), (1.0, 2.0))),
        ([(2.0, 5), (math.inf, 6), (1.0, 2)], 6, ((2, 3, 1), (1.0, 2.0))),
        ([(1.0, 2), (1.0, 9), (2.0, 5)], 5, ((2, 3), (1.0, 2.0))),
        ([(1.0, 2), (math.inf, 4)], None, ((2, 2), (1.0,))),
        ([(1.0, 2)], None, ((2,), (1.0,))),
        ([], 4, ((4,), ())),
        ([(-1.0, 1)], 1, ((1,), (-1.0,))),
    ],
)
def test_conversions(buckets, count, expected):
    """Order does not matter, the first of repeated bounds counts, +Inf and count may be missing."""
    made = custom_histogram(buckets, count, 1.5)
    assert (made.positive_buckets, made.custom_values) == expected
    assert made.count == sum(made.positive_buckets)


@pytest.mark.parametrize(
    ("buckets", "count"),
    [
        ([], None),
        ([(1.0, -1)], 1),
        ([(1.0, 1)], -1),
        ([(1.0, 3), (2.0, 2)], 3),
        ([(1.0, 3), (math.inf, 4)], 5),
        ([(1.0, 6)], 5),
        ([(math.nan, 1)], 1),
        ([(1.0, math.nan)], 1),
        ([(1.0, 1)], math.nan),
        ([(-math.inf, 1)], 1),
    ],
)
def test_what_cannot_be_converted(buckets, count):
    """Counts that fall, are negative or do not agree, and bounds that are none, make no histogram."""
    assert custom_histogram(buckets, count, 0.0) is None


def test_floats_are_converted_as_floats():
    """One count that is not whole makes a float histogram, without empty buckets; a whole one keeps up to two of them."""
    made = custom_histogram([(1.0, 0.5), (2.0, 0.5), (3.0, 1.0)], 1.0, 1.0)
    assert not made.is_integer
    assert (made.positive_spans, made.positive_buckets) == (((0, 1), (1, 1)), (0.5, 0.5))
    whole = custom_histogram([(b, c) for b, c in zip(range(1, 8), (1, 1, 1, 2, 2, 2, 2), strict=True)], 3, 1.0)
    assert whole.positive_spans == ((0, 4), (3, 1))
    assert whole.positive_buckets == (1, 0, 0, 1, 1)
