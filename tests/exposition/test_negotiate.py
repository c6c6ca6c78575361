"""Tests of choosing a format, as a scraper and as a server."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyobs.errors import WireError
from tinyobs.exposition.formats import Format
from tinyobs.exposition.names import Escaping
from tinyobs.exposition.negotiate import Answer, accept_header, choose, format_of


def test_accept_header_of_the_default_protocols():
    """The weights fall from 0.6 and the header ends with anything at all."""
    assert accept_header() == (
        "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
        "application/openmetrics-text;version=0.0.1;q=0.5,"
        "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
        "text/plain;version=0.0.4;q=0.3,"
        "*/*;q=0.2"
    )


def test_accept_header_in_configured_order():
    """The configured order decides the weights, and legacy names ask for underscores."""
    assert accept_header([Format.TEXT_0_0_4, Format.TEXT_1_0_0], Escaping.UNDERSCORES) == (
        "text/plain;version=0.0.4;q=0.6,text/plain;version=1.0.0;escaping=underscores;q=0.5,*/*;q=0.4"
    )


def test_protobuf_is_asked_for_where_it_is_configured():
    """Protobuf has its place in the order, without a scheme of names; and it may be the fallback."""
    assert accept_header([Format.PROTOBUF, Format.TEXT_0_0_4]) == (
        "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,"
        "text/plain;version=0.0.4;q=0.5,*/*;q=0.4"
    )
    assert format_of("", Format.PROTOBUF) is Format.PROTOBUF


@pytest.mark.parametrize(
    ("content_type", "format"),
    [
        ("text/plain; version=0.0.4; charset=utf-8", Format.TEXT_0_0_4),
        ("text/plain", Format.TEXT_0_0_4),
        ("TEXT/Plain;Version=1.0.0;escaping=allow-utf-8", Format.TEXT_1_0_0),
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", Format.OPENMETRICS_1_0_0),
        ('application/openmetrics-text; version="0.0.1"', Format.OPENMETRICS_0_0_1),
        ("application/openmetrics-text;", Format.OPENMETRICS_0_0_1),
        (
            "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
            Format.PROTOBUF,
        ),
    ],
)
def test_format_of_a_content_type(content_type, format):
    """The media type decides, and the version where there are two."""
    assert format_of(content_type) is format


@pytest.mark.parametrize(
    ("content_type", "reason"),
    [
        (None, "blank Content-Type"),
        ("", "blank Content-Type"),
        ("text/html", "unsupported Content-Type"),
        ("text", "cannot parse"),
        ("text/plain; =1", "cannot parse"),
    ],
)
def test_a_content_type_that_does_not_tell(content_type, reason):
    """Without a usable content type the scrape fails, unless a fallback is configured."""
    with pytest.raises(WireError, match=reason):
        format_of(content_type)
    assert format_of(content_type, Format.TEXT_0_0_4) is Format.TEXT_0_0_4


@pytest.mark.parametrize(
    ("accept", "answer"),
    [
        (None, Answer()),
        ("*/*", Answer()),
        ("text/html,application/xhtml+xml,*/*;q=0.8", Answer()),
        (accept_header(), Answer(Format.OPENMETRICS_1_0_0, Escaping.ALLOW_UTF8)),
        ("application/openmetrics-text;q=0.5,text/plain;q=0.9", Answer(Format.TEXT_0_0_4)),
        ("application/openmetrics-text", Answer(Format.OPENMETRICS_0_0_1)),
        ("application/openmetrics-text;version=9.9,text/plain;version=1.0.0", Answer(Format.TEXT_1_0_0)),
        ("text/plain;version=0.0.4;escaping=allow-utf-8", Answer(Format.TEXT_0_0_4, Escaping.UNDERSCORES)),
        ("text/plain;version=0.0.4;escaping=values", Answer(Format.TEXT_0_0_4, Escaping.VALUES)),
        ("text/plain;q=0", Answer()),
        ("application/openmetrics-text;q=0,text/plain;version=1.0.0;q=0.1", Answer(Format.TEXT_1_0_0)),
        (
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7,*/*;q=0.1",
            Answer(Format.PROTOBUF),
        ),
        ("application/vnd.google.protobuf;proto=x;encoding=delimited", Answer()),
    ],
)
def test_choose(accept, answer):
    """The clause of highest weight that can be served wins, the first of equals."""
    assert choose(accept) == answer


def test_content_types():
    """An answer names its version, charset and escaping."""
    assert Answer().content_type == "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"
    assert Answer(Format.OPENMETRICS_1_0_0, Escaping.ALLOW_UTF8).content_type == (
        "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=allow-utf-8"
    )
    for format in Format:
        if format is not Format.PROTOBUF:
            assert format_of(Answer(format).content_type) is format
    assert choose(Answer(Format.PROTOBUF).content_type).format is Format.PROTOBUF


@given(st.text(st.sampled_from('text/plain;,=q01."\\ *a'), max_size=40))
def test_any_header_is_answered(header):
    """No Accept header makes the choice fail."""
    assert isinstance(choose(header), Answer)
    assert format_of(header, Format.TEXT_0_0_4) in Format
