"""Bodies of groups: what is remembered of the last one changes nothing but the time it takes."""

from __future__ import annotations

import contextlib
import random

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from tinyobs.errors import ExpositionError, TinyObsError, WireError
from tinyobs.exposition.formats import Format
from tinyobs.exposition.group_body import TIMESTAMPS, GroupReader
from tinyobs.exposition.negotiate import Answer
from tinyobs.exposition.writer import write
from tinyobs.model.families import MetricFamily, Point
from tinyobs.model.labels import to_text
from tinyobs.model.metadata import MetricType
from tinyobs.model.registry import SeriesRegistry

KEY = (("empty", ""), ("job", "a"))
BODY = b"""# TYPE h histogram
h_bucket{le="1"} 1
h_bucket{le="+Inf"} 2
h_sum 1.5
h_count 2
# TYPE g gauge
# HELP g Text.
g{job="b",x="y"} 3
plain 4
"""


def reader(**options):
    return GroupReader(KEY, options.pop("format", Format.TEXT_0_0_4), SeriesRegistry(), **options)


def content(read, registry):
    """Series -> (value, family)."""
    s = read.structure
    names = list(s.families)
    return {
        to_text(registry.labels(ref)): (value, names[place])
        for ref, value, place in zip(s.refs.tolist(), read.values.tolist(), s.family_of.tolist(), strict=True)
    }


def test_labels_of_the_group_win():
    """Empty ones take a label away; samples belong to the families of the body."""
    r = reader()
    assert content(r.read(BODY), r._registry) == {
        'h_bucket{job="a", le="1.0"}': (1.0, "h"),
        'h_bucket{job="a", le="+Inf"}': (2.0, "h"),
        'h_sum{job="a"}': (1.5, "h"),
        'h_count{job="a"}': (2.0, "h"),
        'g{job="a", x="y"}': (3.0, "g"),
        'plain{job="a"}': (4.0, "plain"),
    }


def test_a_body_of_the_same_structure_decides_nothing():
    """Nor does one whose lines are in the same order after another was read."""
    r = reader()
    first = r.read(BODY).structure
    again = r.read(BODY.replace(b" 3\n", b" 33\n"))
    assert again.structure is first
    assert content(again, r._registry)['g{job="a", x="y"}'] == (33.0, "g")
    r.read(b"other 1\n")
    assert content(r.read(BODY), r._registry) == content(again, r._registry) | {'g{job="a", x="y"}': (3.0, "g")}


def test_own_families_are_left_out():
    """A group has them itself."""
    r = reader()
    assert list(content(r.read(b"push_time_seconds 1\nm 2\npush_failure_time_seconds 3\n"), r._registry)) == [
        'm{job="a"}'
    ]


def test_faults_are_told_not_raised():
    """A Pushgateway notes their time with the group."""
    r = reader()
    assert r.read(b"m 1 1700000000000\n").fault == TIMESTAMPS
    twice = r.read(b'm{job="x"} 1\nm{job="y"} 2\n')
    assert "was collected before" in twice.fault
    assert content(twice, r._registry) == {'m{job="a"}': (2.0, "m")}, "of a series the last sample counts"
    assert not r.read(b"m 1\n").fault


@pytest.mark.parametrize("utf8_names", [False, True])
def test_names_with_other_characters(utf8_names):
    """They are a matter of the settings."""
    r = reader(utf8_names=utf8_names)
    for body in (b'{"my.metric"} 1\n', b'm{"my.label"="x"} 1\n'):
        if utf8_names:
            assert len(r.read(body).structure.refs) == 1
        else:
            with pytest.raises(WireError, match="utf8_names"):
                r.read(body)


def test_openmetrics_and_protobuf():
    """They give the same series as text does."""
    family = MetricFamily("c_total", MetricType.COUNTER, "Counts.", (Point(3.0, (("x", "1"),)),))
    for format in (Format.OPENMETRICS_1_0_0, Format.PROTOBUF):
        r = reader(format=format)
        body = write([family], Answer(format))
        found = r.read(body)
        assert list(content(found, r._registry)) == ['c_total{job="a", x="1"}']
        (metadata,) = found.structure.families.values()
        assert (metadata.type, metadata.help) == (MetricType.COUNTER, "Counts.")
        assert r.read(body).structure is found.structure


LINES = st.sampled_from([*BODY.splitlines(), b"", b"# x", b'g{x="z"} 5', b"push_time_seconds 1", b"bad", b"h_sum 3 9"])


@seed(3)
@settings(max_examples=200)
@given(st.lists(st.lists(LINES, max_size=8), min_size=1, max_size=4))
def test_a_memory_changes_nothing(bodies):
    """A reader that has read other bodies says the same as a fresh one."""
    used = reader()
    for lines in bodies:
        body = b"".join(line + b"\n" for line in lines)
        fresh = reader()
        results = []
        for r in (used, fresh):
            try:
                read = r.read(body)
                results.append((content(read, r._registry), read.fault, dict(read.structure.families)))
            except TinyObsError as e:
                results.append(str(e))
        assert results[0] == results[1]


@pytest.mark.parametrize("format", [Format.TEXT_0_0_4, Format.OPENMETRICS_1_0_0, Format.PROTOBUF])
def test_mutated_bodies(format):
    """Whatever bytes come, nothing but the errors of formats is raised, and sound bodies are read as before."""
    rng = random.Random(9)
    family = MetricFamily(
        "c_total", MetricType.COUNTER, "Counts.", (Point(3.0, (("x", "1"),)), Point(4.0, (("x", "2"),)))
    )
    sound = write([family], Answer(format))
    r = reader(format=format)
    expected = content(r.read(sound), r._registry)
    for i in range(400):
        changed = bytearray(sound)
        for _ in range(rng.randrange(1, 4)):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        with contextlib.suppress(ExpositionError, WireError):
            r.read(bytes(changed[: rng.randrange(len(changed) + 1)] if i % 3 else changed))
    assert content(r.read(sound), r._registry) == expected
