"""The fast scrape parser against slow ones: a reference in this folder and the parsers of prometheus_client."""

import math
import os
import random
import sys
from pathlib import Path

import pytest
from exposition_reference import Refused, bits
from exposition_reference import parse as slow_parse
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from tinyobs.errors import ExpositionError
from tinyobs.exposition.formats import Format
from tinyobs.exposition.scrape_parser import NO_TIMESTAMP, ScrapeParser

FORMAT = {False: Format.TEXT_0_0_4, True: Format.OPENMETRICS_1_0_0}
SHARED = Path(os.environ.get("TINYOBS_SHARED", Path(__file__).resolve().parents[3] / "shared"))

NAMES = st.sampled_from(["a", "b_total", "h_bucket", "up", "x:y", "A", "_"])
VALUES = st.sampled_from(
    ["0", "1", "2.5", "-1e-05", "1.7976931348623157e+308", "NaN", "+Inf", "-Inf", "123456789012", "0.1"]
)
TEXTS = st.sampled_from(["", "x", "a b", '\\"', "\\\\", "\\n", "}", "{", ",", "# ", "\u20ac", "le=", "1 2"])
TIMES = {
    False: st.sampled_from(["", "", "", " 0", " 1700000000000"]),
    True: st.sampled_from(["", "", "", " 0", " 1700000000.123", ' # {t="x"} 1', ' 5 # {t="x y"} 1 2.5']),
}
JUNK = st.sampled_from(
    [
        b" ",
        b"\n",
        b"\t",
        b'"',
        b"{",
        b"}",
        b"=",
        b",",
        b"#",
        b"1",
        b"a",
        b"\\",
        b"\r",
        b"\x00",
        b"\xff",
        b".",
        b"_",
        b"-",
        b"e",
        b"# EOF\n",
    ]
)


@st.composite
def lines(draw, openmetrics):
    """One valid line."""
    kind = draw(st.integers(0, 9))
    name = draw(NAMES)
    if kind == 0:
        return f"# TYPE {name} {draw(st.sampled_from(['counter', 'gauge', 'histogram', 'summary']))}"
    if kind == 1:
        return f"# HELP {name} {draw(TEXTS)}"
    labels = draw(
        st.lists(
            st.tuples(st.sampled_from(["a", "le", "quantile", '"q.r"']), TEXTS), max_size=3, unique_by=lambda p: p[0]
        )
    )
    inside = ",".join(f'{k}="{v}"' for k, v in labels)
    if kind == 2:
        series = f'{{"{name}.u"{"," + inside if inside else ""}}}'
    else:
        series = name + (f"{{{inside}}}" if inside else "")
    return f"{series} {draw(VALUES)}{draw(TIMES[openmetrics])}"


@st.composite
def bodies(draw, openmetrics, count=6):
    """A valid body."""
    text = "".join(line + "\n" for line in draw(st.lists(lines(openmetrics), max_size=count)))
    return (text + ("# EOF\n" if openmetrics else "")).encode()


@st.composite
def mutations(draw, body):
    """The body with a few bytes changed."""
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(body)))
        cut = draw(st.integers(0, 2))
        body = body[:at] + draw(JUNK) + body[at + cut :]
    return body


def fast_result(parser, body, openmetrics):
    """Return what the fast parser makes of a body in the reference's terms, None where it refuses it."""
    try:
        parsed = parser.parse(body)
    except ExpositionError as e:
        return None if 1 <= e.line <= body.count(b"\n") + 1 and e.column >= 1 else "wrong position"
    exemplars = {}
    times = [None] * len(parsed)
    if parsed.timestamps_ms is not None:
        times = [None if t == NO_TIMESTAMP else t for t in parsed.timestamps_ms.tolist()]
    for e in parsed.exemplars:
        exemplars.setdefault(e.series, []).append((e.labels, bits(e.value), e.timestamp_ms))
    out = []
    for number, value, time in zip(parsed.series.tolist(), parsed.values.tolist(), times, strict=True):
        out.append((parser.labels(number), bits(value), time))
    return out, sorted(e for es in exemplars.values() for e in es)


def slow_result(body, openmetrics):
    """Return what the reference makes of a body, in the same terms."""
    try:
        found = slow_parse(body, openmetrics)
    except Refused:
        return None
    return [f[:3] for f in found], sorted(f[3] for f in found if f[3] is not None)


def sortable(result):
    """Return a result whose NaNs compare."""
    return result if result is None else (result[0], [repr(e) for e in result[1]])


@pytest.mark.parametrize("openmetrics", [False, True])
@settings(max_examples=250, deadline=None)
@given(data=st.data())
def test_equal_to_the_reference(openmetrics, data):
    """Whatever bodies came before, a body gives the same samples as the reference, or both refuse it."""
    parser = ScrapeParser(FORMAT[openmetrics])
    body = data.draw(bodies(openmetrics))
    for _ in range(3):
        assert sortable(fast_result(parser, body, openmetrics)) == sortable(slow_result(body, openmetrics))
        body = data.draw(mutations(body))


@settings(max_examples=100, deadline=None)
@given(body=st.binary(max_size=60), openmetrics=st.booleans())
def test_random_bytes_only_raise_exposition_errors(body, openmetrics):
    """Bytes that are no body are refused with a position, never with another exception."""
    fast_result(ScrapeParser(FORMAT[openmetrics]), body, openmetrics)


@settings(max_examples=60, deadline=None)
@given(bodies(False))
def test_text_agrees_with_prometheus_client(body):
    """On valid text the official Python client reads the same samples."""
    body = b"\n".join(line for line in body.split(b"\n") if not line.startswith(b"# TYPE"))  # it renames by type
    theirs = {}
    try:
        families = list(parse_text(body.decode()))
    except ValueError:
        return  # it is stricter in places: a `le` that is no number, an empty HELP
    for family in families:
        for s in family.samples:
            labels = tuple(sorted({"__name__": s.name, **{k: v for k, v in s.labels.items() if v}}.items()))
            theirs.setdefault(labels, []).append(bits(s.value))
    parser = ScrapeParser(Format.TEXT_1_0_0)
    parsed = parser.parse(body)
    ours = {}
    for number, value in zip(parsed.series.tolist(), parsed.values.tolist(), strict=True):
        ours.setdefault(parsed.new[number], []).append(bits(value))
    assert {k: sorted(map(str, v)) for k, v in ours.items()} == {k: sorted(map(str, v)) for k, v in theirs.items()}


def test_openmetrics_agrees_with_prometheus_client():
    """A sound OpenMetrics body reads as with the official client, exemplars and timestamps included."""
    body = """# HELP a_seconds Help.
# TYPE a_seconds histogram
# UNIT a_seconds seconds
a_seconds_bucket{le="1.0"} 3 1.5 # {id="x"} 0.5 1.25
a_seconds_bucket{le="+Inf"} 4 1.5
a_seconds_count 4 1.5
a_seconds_sum 7.5 1.5
# TYPE c counter
c_total{x="y \\"z\\""} 1e3
# EOF
"""
    parsed = ScrapeParser(Format.OPENMETRICS_1_0_0).parse(body.encode())
    theirs = [s for f in parse_openmetrics(body) for s in f.samples]
    assert [dict(parsed.new[n]) for n in parsed.series.tolist()] == [{"__name__": s.name, **s.labels} for s in theirs]
    assert parsed.values.tolist() == [s.value for s in theirs]
    assert parsed.timestamps_ms.tolist() == [NO_TIMESTAMP if s.timestamp is None else 1500 for s in theirs]
    assert parsed.exemplars[0].labels == (("id", "x"),)
    assert math.isclose(parsed.exemplars[0].timestamp_ms, 1250)


def real_bodies(count):
    """Return at least `count` recorded scrapes of each job."""
    if not (SHARED / "data" / "scrapes.zst").exists():
        pytest.skip("the recorded scrapes are not here")
    sys.path.insert(0, str(SHARED / "bench"))
    import realdata

    found = {}
    for job, _, body in realdata.scrapes():
        found.setdefault(job, []).append(body)
        if len(found) == 3 and len(found[job]) >= count:
            return found
    return found


def test_real_bodies_read_like_the_reference():
    """Successive scrapes of real exporters give the same samples as the reference."""
    for scrapes in real_bodies(4).values():
        parser = ScrapeParser(Format.TEXT_0_0_4)
        known = {}
        for body in scrapes[:4]:
            parsed = parser.parse(body)
            known.update(parsed.new)
            ours = [(known[n], bits(v)) for n, v in zip(parsed.series.tolist(), parsed.values.tolist(), strict=True)]
            assert ours == [f[:2] for f in slow_parse(body, False)]


def test_mutated_real_bodies_only_raise_exposition_errors():
    """Damaged bodies of real exporters are refused with a position or read like the reference."""
    rng = random.Random(5)
    for scrapes in real_bodies(1).values():
        parser = ScrapeParser(Format.TEXT_0_0_4)
        body = scrapes[0][:6000].rpartition(b"\n")[0] + b"\n"
        parser.parse(body)
        for _ in range(60):
            at = rng.randrange(len(body))
            bad = (
                body[:at]
                + rng.choice([b"", b"\xff", b"{", b'"', b"\n", b" ", b"}", b"#"])
                + body[at + rng.randrange(3) :]
            )
            fast, slow = fast_result(parser, bad, False), slow_result(bad, False)
            assert sortable(fast) == sortable(slow)
