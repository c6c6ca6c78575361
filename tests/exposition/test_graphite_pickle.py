"""Messages of Carbon's pickle protocol: data points come out, and nothing else is ever done."""

from __future__ import annotations

import pickle
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyobs.exposition.graphite import GraphiteParser
from tinyobs.exposition.graphite_pickle import read_points
from tinyobs.model.labels import to_text
from tinyobs.model.registry import SeriesRegistry

NOW = 1_800_000_000_000
POINTS = [
    ("web.requests;env=prod", (1_700_000_000, 7)),
    ("web.time", (1_700_000_000.5, 0.25)),
    ("web.time", (-1, -(2**40))),
    ("\u00e4.b", (1_700_000_000, "1e3")),
]
AS_PYTHON_2 = b"(lp0\n(S'web.requests'\np1\n(I1700000000\nF7.5\ntp2\ntp3\na(S'web.big'\np4\n(L1700000000L\nL12345678901L\ntp5\ntp6\na."
"""What `pickle.dumps` of Python 2 writes by default."""


def rows(message):
    """Return ([(series, ms, value), ...], refused, problems)."""
    registry = SeriesRegistry()
    pushed = GraphiteParser(registry).parse_pickle(message, NOW)
    b = pushed.batch
    found = zip(b.refs.tolist(), b.timestamps_ms.tolist(), b.values.tolist(), strict=True)
    return [(to_text(registry.labels(r)), t, v) for r, t, v in found], pushed.refused, pushed.problems


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_what_python_writes(protocol):
    """All protocols say the same; numbers may be texts, and -1 means now, as in lines."""
    assert rows(pickle.dumps(POINTS, protocol)) == (
        [
            ('web_requests{env="prod"}', 1_700_000_000_000, 7.0),
            ("web_time", 1_700_000_000_500, 0.25),
            ("web_time", NOW, -(2.0**40)),
            ("__b", 1_700_000_000_000, 1000.0),
        ],
        {},
        (),
    )


def test_what_python_2_writes():
    """Its texts are bytes, and its large numbers end with a letter."""
    assert rows(AS_PYTHON_2)[0] == [
        ("web_requests", 1_700_000_000_000, 7.5),
        ("web_big", 1_700_000_000_000, 12345678901.0),
    ]


def test_points_that_cannot_be():
    """They are named by their place, the others stay."""
    bad = [
        5,
        ("a", 1),
        ("a", (1, 2, 3)),
        (None, (1, 2)),
        ("a", (1, None)),
        ("a", (1, True)),
        ("", (1, 1)),
        "ab",
        ("a", "12"),
    ]
    message = pickle.dumps([POINTS[0], *bad, ("n", (1, float("nan"))), POINTS[1]])
    found, refused, problems = rows(message)
    assert [series for series, *_ in found] == ['web_requests{env="prod"}', "web_time"]
    assert refused == {"malformed": len(bad), "nan": 1}
    assert problems[0] == "data point 1: not (path, (timestamp, value))"
    assert problems[4] == "data point 5: a timestamp or a value that is no number"


class Evil:
    """What a pickle could do."""

    def __reduce__(self):
        """Ask for a call."""
        return pytest.fail, ("called",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_nothing_is_called(protocol):
    """An instruction that is not for data ends the message, with its position."""
    for thing in ([Evil()], [("a", (1, Evil()))], [("a", {})], [("a", {1})], pytest.fail):
        found, refused, (problem,) = rows(pickle.dumps(thing, protocol))
        assert (found, refused) == ([], {"malformed": 1})
        assert "of pickle: instruction" in problem


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b".",
        b"(",
        b"e.",
        b"a.",
        b"t.",
        b"])e.",
        b"]q",
        b"h\0.",
        b"K\1.",
        b"\x85.",
        b"]K",
        b"(\x85.",
        b"X\xff\xff\xff\xff",
        b"\x8a\xff" + b"\1" * 255 + b".",
        b"Ix\n.",
        b"I" + b"1" * 70_000,
        b"Sa\n.",
        b"V\\u1\n.",
        b"\x8c\1\xff.",
        b"p0\n.",
        b"gx\n.",
        b"N" * 1_100_000,
    ],
)
def test_messages_that_are_none(message):
    """They are errors, however they end."""
    with pytest.raises(ValueError, match="pickle"):
        read_points(message)


def test_messages_that_grow():
    """Things that stand in themselves, or in many places, cost no more than their bytes."""
    itself: list[object] = []
    itself += [itself, itself]
    assert read_points(pickle.dumps(itself)) == [None, None]
    many = b"]q\0" + b"h\0a" * 100_000 + b"."
    assert read_points(many) == [None] * 100_000
    with pytest.raises(ValueError, match="must hold a list"):
        read_points(b"(" * 200_000 + b".")
    assert read_points(b"(" * 200_000 + b"t" * 200_000 + b".") == [None]


@given(st.binary(max_size=120), st.integers(0, 200), st.integers(0, 5), st.integers())
@settings(derandomize=True, max_examples=600, deadline=None)
def test_any_bytes(noise, at, protocol, seed):
    """Nothing but `ValueError` is raised."""
    whole = pickle.dumps(POINTS, protocol)
    changed = bytearray(whole)
    changed[seed % len(changed)] = random.Random(seed).randrange(256)
    for message in (noise, whole[:at] + noise, whole[:at] + noise + whole[at:], bytes(changed)):
        rows(message)
        try:
            read_points(message)
        except ValueError:
            continue
