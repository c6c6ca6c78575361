"""Chunks of floats and native histograms: what is read is what was written."""

from __future__ import annotations

import struct
from itertools import pairwise

import attrs
import numpy as np
import pytest
from chunk_reader import read_histograms, read_xor
from hypothesis import given
from hypothesis import strategies as st

from tinyobs.exposition import bits, histogram_chunks, xor_chunks
from tinyobs.exposition.crc32c import LONG_BYTES_MIN, ROW_BYTES, crc32c
from tinyobs.model.histograms import CUSTOM_SCHEMA, Histogram, ResetHint
from tinyobs.model.label_block import varint
from tinyobs.model.staleness import STALE_NAN

INT64 = st.integers(-(2**61), 2**61)
STEPS = st.one_of(st.integers(1, 3), st.integers(14_990, 15_010), st.integers(1, 2**21), st.integers(1, 2**50))
ANY_FLOAT = st.integers(0, 2**64 - 1).map(lambda n: struct.unpack("<d", struct.pack("<Q", n))[0])
VALUES = st.one_of(st.integers(0, 20).map(float), st.floats(0, 100), ANY_FLOAT, st.just(STALE_NAN))
COUNTS = st.one_of(st.integers(0, 3), st.integers(0, 5000), st.integers(0, 2**40))


def same(a: float, b: float) -> bool:
    """Tell whether two floats have the same bits."""
    return struct.pack("<d", a) == struct.pack("<d", b)


@st.composite
def float_series(draw) -> list[list[tuple[int, float]]]:
    """Several series, each to be one chunk."""
    series = []
    for size in draw(st.lists(st.integers(1, 40), min_size=1, max_size=5)):
        times = np.cumsum([draw(INT64), *draw(st.lists(STEPS, min_size=size - 1, max_size=size - 1))]).tolist()
        series.append(list(zip(times, draw(st.lists(VALUES, min_size=size, max_size=size)), strict=True)))
    return series


@given(float_series())
def test_floats_are_read_as_they_were(series: list[list[tuple[int, float]]]) -> None:
    """Any times in order and any bits, in chunks that are encoded side by side."""
    flat = [sample for one in series for sample in one]
    firsts = np.cumsum([0, *(len(one) for one in series)])[:-1]
    chunks = xor_chunks.encode(np.array([t for t, _ in flat]), np.array([v for _, v in flat]), firsts)
    for one, chunk in zip(series, chunks, strict=True):
        found = read_xor(chunk)
        assert [t for t, _ in found] == [t for t, _ in one]
        assert all(same(a, b) for (_, a), (_, b) in zip(found, one, strict=True))


def test_the_beginning_of_a_chunk() -> None:
    """The number of samples, the first time as a varint of its zigzag, the first value, the first difference."""
    times, values = np.arange(5) * 15_000 + 1_600_000_000_000, np.array([1.0, 2.0, 2.0, 3.0, 2.5])
    (chunk,) = xor_chunks.encode(times, values, np.zeros(1, np.int64))
    assert chunk[:2] == b"\x00\x05"
    assert chunk[2:8] == varint(2 * 1_600_000_000_000)
    assert chunk[8:16] == struct.pack(">d", 1.0)
    assert chunk[16:18] == b"\x98\x75"  # 15000 as a varint


@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 64)), min_size=1, max_size=60), st.data())
def test_bits_are_packed_in_order(codes: list[tuple[int, int]], data: st.DataObject) -> None:
    """Every run is the texts of its codes one after another, filled up with zeros."""
    cuts = sorted({0, *data.draw(st.lists(st.integers(0, len(codes) - 1), max_size=3))})
    packed = bits.pack(
        np.array([c for c, _ in codes], np.uint64), np.array([w for _, w in codes], np.int64), np.array(cuts)
    )
    for (first, end), run in zip(pairwise([*cuts, len(codes)]), packed, strict=True):
        text = "".join(f"{c & (1 << w) - 1:0{w}b}" if w else "" for c, w in codes[first:end])
        text += "0" * (-len(text) % 8)
        assert run == bytes(int(text[i : i + 8], 2) for i in range(0, len(text), 8))


SPANS = st.lists(st.tuples(st.integers(-30, 30), st.integers(1, 3)), max_size=3)


@st.composite
def histogram_runs(draw) -> list[Histogram]:
    """Histograms of a few layouts that grow, and now and then do not."""
    out: list[Histogram] = []
    for _ in range(draw(st.integers(1, 3))):
        integer, gauge, custom = draw(st.booleans()), draw(st.booleans()), draw(st.booleans())
        spans = tuple(draw(SPANS)), () if custom else tuple(draw(SPANS))
        sizes = [sum(n for _, n in side) for side in spans]
        schema = CUSTOM_SCHEMA if custom else draw(st.integers(-4, 8))
        threshold = 0.0 if custom else draw(st.sampled_from([0.0, 2.0**-128, 0.001, 1024.0, 5e-324]))
        bounds = tuple(sorted(draw(st.sets(st.sampled_from([-1.5, 0.0, 0.005, 0.1, 1.0, 1 / 3, 33554.43, 1e9])))))
        for _ in range(draw(st.integers(1, 5))):
            numbers = COUNTS if integer else st.one_of(COUNTS.map(float), st.floats(0, 1e9))
            row = draw(st.lists(numbers, min_size=2 + sum(sizes), max_size=2 + sum(sizes)))
            hint = ResetHint.GAUGE if gauge else draw(st.sampled_from([ResetHint.UNKNOWN, ResetHint.NO, ResetHint.YES]))
            out.append(
                Histogram(
                    schema, threshold, row[0], row[1], draw(VALUES), spans[0], tuple(row[2 : 2 + sizes[0]]), spans[1],
                    tuple(row[2 + sizes[0] :]), bounds if custom else (), hint, integer,
                )
            )  # fmt: skip
    return out


@given(histogram_runs(), INT64)
def test_histograms_are_read_as_they_were(histograms: list[Histogram], start: int) -> None:
    """Every field but the hints, which say of all but gauges within a chunk that they are no reset; and so they are."""
    times = [start + 15_000 * i + i % 3 for i in range(len(histograms))]
    found: list[tuple[int, Histogram]] = []
    for first, end, hint in histogram_chunks.split(histograms):
        chunk = histogram_chunks.encode(times[first:end], histograms[first:end], hint)
        read = read_histograms(chunk, histograms[first].is_integer)
        assert len(read) == end - first
        for a, b in pairwise(h for _, h in read):
            gauge = b.reset_hint is ResetHint.GAUGE
            assert gauge or all(x <= y for x, y in zip(counts(a), counts(b), strict=True))
        found += read
    assert [t for t, _ in found] == times
    for (_, ours), h in zip(found, histograms, strict=True):
        assert same(ours.sum, h.sum)
        assert attrs.evolve(ours, sum=0.0, reset_hint=h.reset_hint) == attrs.evolve(h, sum=0.0)
        assert h.reset_hint is not ResetHint.YES or ours.reset_hint is ResetHint.YES


def counts(h: Histogram) -> tuple[float, ...]:
    """Return all that may not fall."""
    return (h.count, h.zero_count, *h.positive_buckets, *h.negative_buckets)


def test_a_long_run_of_histograms_is_cut() -> None:
    """No chunk has more than 120 samples; nothing makes no chunk."""
    histograms = [Histogram(0, 0.0, 0, i, float(i), ((0, 1),), (i,), is_integer=True) for i in range(300)]
    assert [end - first for first, end, _ in histogram_chunks.split(histograms)] == [120, 120, 60]
    assert list(histogram_chunks.split([])) == []


def test_the_checksum_is_that_of_the_standard() -> None:
    """The test vectors of RFC 3720, and rows joined as if they had been read byte by byte."""
    assert crc32c(b"") == 0
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(bytes(range(32))) == 0x46DD794E
    data = bytes((i * 7919 >> 3) & 255 for i in range(3 * LONG_BYTES_MIN + 5))
    for size in (
        LONG_BYTES_MIN - 1,
        LONG_BYTES_MIN,
        LONG_BYTES_MIN + ROW_BYTES - 1,
        LONG_BYTES_MIN + ROW_BYTES,
        len(data),
    ):
        assert crc32c(data[:size]) == bytewise(data[:size])


def bytewise(data: bytes) -> int:
    """Return the checksum, computed bit by bit."""
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0x82F63B78 if register & 1 else 0)
    return register ^ 0xFFFFFFFF


@pytest.mark.parametrize("value", [0, 1, 255, 2**32 - 1, 2**32, 2**53 + 1, 2**63, 2**64 - 1])
def test_lengths_of_numbers_in_bits(value: int) -> None:
    """As Python counts them."""
    assert bits.bit_lengths(np.array([value], np.uint64)).tolist() == [value.bit_length()]
