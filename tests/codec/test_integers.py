"""Integer rows: exact for any int64, small for predictable ones, and never more than a ValueError on nonsense."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyobs.codec import integers
from tinyobs.codec.compression import DENSE, FAST, compress, decompress
from tinyobs.codec.integers import decode_rows, encode_rows
from tinyobs.codec.pages import HEADER, decode_page, encode_block
from tinyobs.codec.shuffle import shuffle, unshuffle
from tinyobs.model.ragged import cut_rows, offsets_of, put_rows, spread, take_rows

INT64 = st.one_of(st.integers(-(1 << 63), (1 << 63) - 1), st.integers(-200, 200))
ROWS = st.lists(st.lists(INT64, max_size=40), max_size=15)


def block(rows):
    """Return (values, offsets) of lists of integers."""
    return np.array([n for row in rows for n in row], np.int64), offsets_of(np.array([len(r) for r in rows], np.int64))


@settings(max_examples=200, deadline=None)
@given(ROWS, st.sampled_from([FAST, DENSE]), st.binary(max_size=3))
def test_any_integers_come_back(rows, level, behind):
    """Rows of any int64 survive, empty ones too, and what lies behind the block is left alone."""
    values, offsets = block(rows)
    data = encode_rows(values, offsets, level)
    parsed, used = decode_rows(memoryview(data + behind))
    assert used == len(data)
    for got, want in zip(parsed.decode(), (values, offsets), strict=True):
        np.testing.assert_array_equal(got, want)


@settings(max_examples=100, deadline=None)
@given(ROWS.filter(bool), st.data())
def test_some_rows_are_those_rows(rows, data):
    """Decoding chosen rows gives them and nothing else."""
    parsed, _ = decode_rows(memoryview(encode_rows(*block(rows), FAST)))
    chosen = sorted(data.draw(st.sets(st.integers(0, len(rows) - 1))))
    values, offsets = parsed.decode(np.array(chosen, np.int64))
    want_values, want_offsets = block([rows[i] for i in chosen])
    np.testing.assert_array_equal(values, want_values)
    np.testing.assert_array_equal(offsets, want_offsets)


def test_predicted_rows_take_no_byte_per_integer():
    """Constants and regular steps cost the same whether long or short."""

    def size(n):
        rows = [[7] * n, list(range(1000, 1000 + 15 * n, 15)), [-3] * n]
        return len(encode_rows(*block(rows), FAST))

    assert size(10_000) <= size(100) + 8


def test_a_jump_does_not_spoil_its_row():
    """One counter reset among small steps costs a few bytes, not eight per integer."""
    rng = np.random.default_rng(1)
    steady = np.cumsum(rng.integers(0, 20, 1000)) + (1 << 40)
    jump = steady.copy()
    jump[500:] -= steady[500]
    sizes = [len(encode_rows(x, np.array([0, 1000]), FAST)) for x in (steady, jump)]
    assert sizes[1] < sizes[0] + 150


def test_frames_are_cut_by_size(monkeypatch):
    """Blocks of many frames, long planes included, decode to the same."""
    monkeypatch.setattr("tinyobs.codec.planes.FRAME_BYTES_MIN", 16)
    monkeypatch.setattr("tinyobs.codec.planes.FRAME_BYTES_MAX", 100)
    rng = np.random.default_rng(2)
    rows = [rng.integers(0, 1 << int(rng.integers(1, 62)), 70).tolist() for _ in range(40)]
    values, offsets = block(rows)
    got, _ = decode_rows(memoryview(encode_rows(values, offsets, FAST)))[0].decode()
    np.testing.assert_array_equal(got, values)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_nonsense_with_a_right_checksum_is_refused_or_read(data):
    """A page whose bytes were changed and whose checksum was put right raises ValueError or gives samples, no more."""
    rng = np.random.default_rng(3)
    values = np.round(np.cumsum(rng.normal(0, 50, (6, 30)), axis=1), 1)
    values[2, 5] = np.nan
    bad = bytearray(encode_block(np.arange(30)[None, :] * 15 + rng.integers(0, 2, (6, 1)), values))
    for at, byte in data.draw(
        st.lists(st.tuples(st.integers(8, len(bad) - 1), st.integers(0, 255)), min_size=1, max_size=4)
    ):
        bad[at] = byte
    checksum = zlib.crc32(bad[HEADER.size :], zlib.crc32(bad[8 : HEADER.size], zlib.crc32(bad[:4])))
    bad[4:8] = checksum.to_bytes(4, "little")
    try:
        page = decode_page(bytes(bad))
        page.read()
        page.read(np.array([0]), 0, 100)
    except ValueError:
        pass


def test_limits_bound_what_a_block_may_claim(monkeypatch):
    """A block that claims more rows or integers than the limits is refused before anything is allocated."""
    data = memoryview(encode_rows(*block([[1, 2, 3]] * 5), FAST))
    with pytest.raises(ValueError, match="too many integers"):
        decode_rows(data, 14)
    monkeypatch.setattr(integers, "ROWS_MAX", 4)
    with pytest.raises(ValueError, match="too many rows"):
        decode_rows(data)


@pytest.mark.parametrize("cut", range(0, 60, 7))
def test_a_cut_block_is_refused(cut):
    """A block without its end raises ValueError."""
    data = encode_rows(*block([[1, 5, 3], list(range(0, 90, 7))]), FAST)
    with pytest.raises(ValueError):
        decode_rows(memoryview(data)[: min(cut, len(data) - 1)])


def test_compression_checks_the_size():
    """A frame of another size than expected, or one that states its own, is refused."""
    frame = compress(b"x" * 100, FAST)
    assert decompress(frame, 100) == b"x" * 100
    for size in (99, 101):
        with pytest.raises(ValueError):
            decompress(frame, size)
    with pytest.raises(ValueError):
        decompress(b"no frame at all", 5)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 4), max_size=8), st.data())
def test_ragged_arithmetic_agrees_with_loops(counts, data):
    """spread, take_rows, cut_rows and put_rows do what a loop over the rows does."""
    offsets = offsets_of(np.array(counts, np.int64))
    values = np.arange(int(offsets[-1])) * 10
    rows = np.array(data.draw(st.lists(st.integers(0, len(counts) - 1), max_size=6)) if counts else [], np.int64)
    want = [v for r in rows for v in values[offsets[r] : offsets[r + 1]]]
    assert take_rows(values, offsets, rows).tolist() == want
    starts, sizes = offsets[:-1][rows], np.diff(offsets)[rows]
    assert cut_rows(values, starts, sizes).tolist() == want
    assert spread(starts, sizes).tolist() == [v // 10 for v in want]
    order = np.array(data.draw(st.permutations(range(len(counts)))), np.int64)
    out = np.zeros_like(values)
    put_rows(out, offsets, order, take_rows(values, offsets, order))
    assert out.tolist() == values.tolist()


def test_shuffled_columns_come_back():
    """unshuffle undoes shuffle for every width."""
    for dtype in ("<u2", "<u4", "<i8", "<u8"):
        column = np.arange(-5, 300, dtype=np.int64).astype(dtype)
        np.testing.assert_array_equal(unshuffle(np.frombuffer(shuffle(column), np.uint8), dtype), column)
