"""Lines of StatsD: what they say, in which style their tags are written, and what is wrong with bad ones."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyobs.exposition.statsd import (
    Kind,
    LineError,
    TagStyles,
    escape_name,
    meaning_of,
    pieces_of,
    service_check_of,
)

STYLES = TagStyles()
NONE = TagStyles(dogstatsd=False, influxdb=False, librato=False, signalfx=False, container_id=False)


def read(line, styles=STYLES):
    """Return (values, meaning) of a line of one kind."""
    name, _, rest = line.partition(b":")
    value, _, tail = rest.partition(b"|")
    pieces = pieces_of(value, tail)
    (tail,) = {tail for _, tail in pieces}
    return [value for value, _ in pieces], meaning_of(name, tail, styles)


@pytest.mark.parametrize(
    ("line", "kind", "values", "rate"),
    [
        (b"foo:2|c", Kind.COUNTER, [b"2"], 1.0),
        (b"foo:3|g", Kind.GAUGE, [b"3"], 1.0),
        (b"foo:+10|g", Kind.GAUGE, [b"+10"], 1.0),
        (b"foo:-10|g", Kind.GAUGE, [b"-10"], 1.0),
        (b"foo:200|ms", Kind.TIMER, [b"200"], 1.0),
        (b"foo:200|h", Kind.HISTOGRAM, [b"200"], 1.0),
        (b"foo:0.01|d|@0.2", Kind.DISTRIBUTION, [b"0.01"], 0.2),
        (b"foo:1|c|@0", Kind.COUNTER, [b"1"], 1.0),
        (b"foo:a:b|s", Kind.SET, [b"a:b"], 1.0),
        (b"foo:1:2:3|c", Kind.COUNTER, [b"1", b"2", b"3"], 1.0),
        (b"foo:0.5:120:3000|ms|@0.5", Kind.TIMER, [b"0.5", b"120", b"3000"], 0.5),
    ],
)
def test_types_values_and_rates(line, kind, values, rate):
    """A line has one value or several, a type, and a rate."""
    found, meaning = read(line)
    assert (found, meaning.kind, meaning.rate, meaning.tags) == (values, kind, rate, {})
    assert meaning.name == "foo"


def test_several_samples():
    """A line without tags may have samples of different types and rates."""
    assert pieces_of(b"200", b"ms:300|ms:5|c|@0.1:6|g") == [
        (b"200", b"ms"),
        (b"300", b"ms"),
        (b"5", b"c|@0.1"),
        (b"6", b"g"),
    ]
    assert pieces_of(b"1", b"c|c:abc|T1656581400") == [(b"1", b"c|c:abc|T1656581400")]


@pytest.mark.parametrize(
    ("line", "tags"),
    [
        (b"foo:1|c|#env:prod,host:h-1", {"env": "prod", "host": "h-1"}),
        (b"foo:1|c|@0.1|#env:prod", {"env": "prod"}),
        (b"foo:1|c|#env:prod|@0.1", {"env": "prod"}),
        (b"foo:1|c|#a:b:c,#d:e", {"a": "b:c", "d": "e"}),
        (b"foo:1|c|#09-1:x", {"_09_1": "x"}),
        (b"foo:1|c|#a:1,a:2", {"a": "2"}),
        (b"foo:1|c|#a:1,", {"a": "1"}),
        (b"foo#a=1,b=2:1|c", {"a": "1", "b": "2"}),
        (b"foo,a=1,b=2:1|c", {"a": "1", "b": "2"}),
        (b"foo[a=1,b=2]:1|c", {"a": "1", "b": "2"}),
        (b"[a=1]foo:1|c", {"a": "1"}),
        (b"foo:1|c|#a:b|c:in-123|T1656581400", {"a": "b", "container_id": "in-123"}),
        (b"foo:1|c|c:in-123|e:it-false,cn-x|card:low", {"container_id": "in-123"}),
        ("foo:1|c|#ort:Köln".encode(), {"ort": "Köln"}),
    ],
)
def test_tags(line, tags):
    """Tags are read in each style, their names escaped, the last of a name counts."""
    meaning = read(line)[1]
    assert (meaning.name, meaning.tags, meaning.bad_tags) == ("foo", tags, 0)


@pytest.mark.parametrize(
    ("line", "tags", "bad"),
    [
        (b"foo:1|c|#a,b:1", {"b": "1"}, 1),
        (b"foo:1|c|#:1,a:,,b:1", {"b": "1"}, 3),
        (b"foo:1|c|#__name__:x", {}, 1),
        (b"foo,a,b=1:1|c", {"b": "1"}, 1),
    ],
)
def test_tags_that_are_none(line, tags, bad):
    """Tags without name or value are left out and counted; the line stays."""
    meaning = read(line)[1]
    assert (meaning.name, meaning.tags, meaning.bad_tags) == ("foo", tags, bad)


def test_a_tag_without_value_may_get_one():
    """The setting says which."""
    assert read(b"foo:1|c|#a,b:1", TagStyles(without_value="true"))[1].tags == {"a": "true", "b": "1"}


@pytest.mark.parametrize("name", [b"foo#a=1", b"foo,a=1", b"foo[a=1]"])
def test_styles_can_be_switched_off(name):
    """What would be tags then belongs to the name, or is passed over."""
    meaning = read(name + b":1|c|#b:2|c:x", NONE)[1]
    assert (meaning.name, meaning.tags) == (name.decode(), {})


def test_half_a_bracket_is_no_tag():
    """The name stays as it is."""
    assert read(b"foo[a=1:1|c")[1].name == "foo[a=1"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"foo", "not_enough_parts_after_colon"),
        (b":1|c", "malformed_line"),
        (b"#a=1:1|c", "malformed_line"),
        (b"foo:1", "not_enough_parts_after_colon"),
        (b"foo:1|q", "unknown_type"),
        (b"foo:1|c|", "malformed_component"),
        (b"foo:1|c|x", "malformed_component"),
        (b"foo:1|c|@0.1|#a:1|c:x|T1|e:1|e:2|e:3", "malformed_component"),
        (b"foo:1|c|@x", "invalid_sample_factor"),
        (b"foo:1|c|@-1", "invalid_sample_factor"),
        (b"foo:1|c|@1e-320", "invalid_sample_factor"),
        (b"foo:1|c|c:", "malformed_container_id"),
        (b"foo:1|c|Tx", "malformed_timestamp"),
        (b"foo,a=1:1|c|#b:2", "mixed_tagging_styles"),
        (b"fo\xff:1|c", "malformed_line"),
        (b"x" * 9000 + b":1|c", "line_too_long"),
    ],
)
def test_what_is_wrong_has_a_reason(line, reason):
    """One of a few fixed words."""
    with pytest.raises(LineError) as e:
        read(line)
    assert e.value.reason == reason


@pytest.mark.parametrize(
    ("name", "escaped"),
    [
        ("a.b-c:d", "a_b_c_d"),
        ("a--b", "a_b"),
        ("a-.-b", "a___b"),
        ("9lives", "_9lives"),
        ("größe", "gr__e"),
        ("clean_1", "clean_1"),
        ("", ""),
    ],
)
def test_names_are_escaped_as_by_the_exporter(name, escaped):
    """Dashes together are one, a digit in front gets a line before it."""
    assert escape_name(name) == escaped


def test_service_checks():
    """A service check has a name, a status, and tags."""
    check = service_check_of(b"_sc|Redis up|2|d:1|h:web1|#env:prod|m:broken: yes", STYLES)
    assert (check.name, check.status, check.tags) == ("Redis up", 2, {"host": "web1", "env": "prod"})
    for line in (b"_sc|x", b"_sc||1", b"_sc|x|9", b"_sc|\xff|1"):
        with pytest.raises(LineError):
            service_check_of(line, STYLES)


PARTS = st.lists(
    st.sampled_from(
        [b"a", b":", b"|", b"#", b",", b"=", b"[", b"]", b"@", b"1", b"c", b"ms", b"T", b"\xff", b"-", b"s"]
    ),
    max_size=30,
).map(b"".join)


@settings(derandomize=True, max_examples=500)
@given(PARTS | st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(line):
    """Nothing but `LineError` comes of any bytes, and what is read has a name and labels that may be stored."""
    name, _, rest = line.partition(b":")
    value, _, tail = rest.partition(b"|")
    with suppress(LineError):
        pieces = pieces_of(value, tail)
        assert pieces
        for _, piece_tail in pieces:
            meaning = meaning_of(name, piece_tail, STYLES)
            assert meaning.name
            assert meaning.rate > 0
            assert all(k == escape_name(k) and k and v for k, v in meaning.tags.items())
