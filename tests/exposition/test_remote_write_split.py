"""Tests of cutting a request into its series."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyobs.exposition import remote_write_split
from tinyobs.exposition.remote_write_split import split
from tinyobs.model.block_hash import PADDING_BYTES
from tinyobs.model.label_block import varint

STAMP = b"\x10" + varint(1_790_000_000_000)
SAMPLE = b"\x12\x10\x09" + b"12345678" + STAMP


def field(content):
    """Return the field of one series."""
    return b"\x0a" + varint(len(content)) + content


def padded(data, filler=0x0A):
    """Return a buffer that goes on with something behind the request."""
    return np.frombuffer(data + bytes([filler]) * PADDING_BYTES, np.uint8)


def series_of(data, filler=0x0A):
    """Return the series of a request, or None."""
    found = split(padded(data, filler), len(data))
    return None if found is None else [found.one(i) for i in range(len(found))]


def test_usual_requests_are_cut_as_guessed(monkeypatch):
    """Series with one sample need no single step, however long they are and whatever their values look like."""
    monkeypatch.setattr(remote_write_split, "_walk", None)
    values = [bytes([0x0A]) * 8, bytes([0x10]) * 8, b"\x10\x12\x10\x09\x10\x0a\x10\x0a"]
    series = [b"\x0a\x03abc" * n + b"\x12\x10\x09" + values[n % 3] + STAMP for n in (1, 2, 30, 400, 4000, 3)] + [
        b"\x0a\x03abc\x12\x07" + STAMP
    ] * 3
    assert series_of(b"".join(map(field, series))) == series


def test_other_series_are_walked():
    """Series without a sample, with a short timestamp, with a look-alike inside, or of four bytes of length."""
    odd = [
        b"",
        b"\x0a\x03abc",
        b"\x12\x02\x10\x05",
        b"x" * (3 << 20),
        SAMPLE + b"\x0a" * 20,
        STAMP + b"\x0a\x01" * 9 + STAMP,
    ]
    series = [SAMPLE, *odd, SAMPLE, SAMPLE, *reversed(odd), SAMPLE, b""]
    assert series_of(b"".join(map(field, series))) == series


def test_what_is_no_list_of_series_is_left_alone():
    """Other fields, cut ones and too many that are not as guessed are for the protobuf library."""
    good = field(SAMPLE) * 3
    for bad in (
        b"",
        b"\x1a\x00",
        good + b"\x1a\x00",
        good[:-1],
        good + b"\x0a",
        good + b"\x0a\x7f",
        good + b"\x0a" + b"\xff" * 11,
    ):
        for filler in (0, 0x0A, 0x80, 0xFF):
            assert series_of(bad, filler) is None
    assert series_of(field(b"abc") * 1000) is None


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.one_of(st.binary(max_size=40), st.just(SAMPLE), st.just(SAMPLE + field(SAMPLE))), min_size=1, max_size=30
    )
)
def test_any_list_of_series_is_cut_where_it_was_joined(series):
    """Whatever the series hold."""
    assert series_of(b"".join(map(field, series))) == series


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 255))
def test_random_bytes_are_cut_rightly_or_not_at_all(data, filler):
    """Joined again the series are the request, or it is left alone."""
    series = series_of(data, filler)
    if series is not None:
        assert sum(map(len, series)) < len(data)
        at = 0
        for one in series:
            assert data[at] == 0x0A
            at = data.index(one, at + 2) + len(one)
        assert at <= len(data)
