"""References of many series are read at once as they are one by one."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from tinyobs.exposition.remote_write_v2_numbers import REFS_BYTES_MAX, read_numbers
from tinyobs.model.block_hash import PADDING_BYTES, Blocks
from tinyobs.model.label_block import varint

MANY = 1 << 20


def read(packed, symbols):
    """Return (which rows are sound, the pairs of each sound one)."""
    data = bytearray()
    starts = []
    for row in packed:
        data += b"\x0a\x7f"  # whatever: a byte before each
        starts.append(len(data))
        data += row
    data += bytes(PADDING_BYTES)
    lengths = np.array([len(row) for row in packed], np.int64)
    blocks = Blocks(np.frombuffer(bytes(data), np.uint8), np.array(starts, np.int64), lengths)
    numbers = read_numbers(blocks, symbols)
    pairs = list(zip(numbers.names.tolist(), numbers.values.tolist(), strict=True))
    ends = np.cumsum(numbers.counts).tolist()
    sound = [True] * len(packed) if numbers.sound is None else numbers.sound.tolist()
    return sound, [pairs[a:b] for a, b in zip([0, *ends], ends, strict=False)]


def one_by_one(packed, symbols):
    """Return what `read` does; numbers of four bytes and more are not read, they are out of range."""
    sound, found = [], []
    for row in packed:
        numbers, value, shift, good = [], 0, 0, 0 < len(row) <= REFS_BYTES_MAX and row[-1] < 0x80
        for byte in row:
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                numbers.append(value if shift <= 21 else symbols)
                value = shift = 0
        good &= len(numbers) % 2 == 0
        sound.append(good)
        if good:
            found.append(list(zip(numbers[::2], numbers[1::2], strict=True)))
    return sound, found


def row(*numbers):
    """Return packed numbers."""
    return b"".join(map(varint, numbers))


NUMBERS = st.one_of(st.integers(0, 127), st.integers(128, 16383), st.integers(16384, MANY))
ROWS = st.one_of(
    st.lists(NUMBERS, min_size=1, max_size=8).map(lambda found: row(*found)),
    st.lists(st.integers(0, 300), min_size=4, max_size=4).map(lambda found: row(*found)),
    st.lists(st.integers(0, 3), max_size=6).map(lambda found: row(*found)),
    st.binary(max_size=20),
)


@given(st.lists(ROWS, max_size=12), st.sampled_from([1, 100, 1000, 65536, MANY]))
@example([row(65535, 65535), row(1, 2)], MANY)
@example([row(127, 128), row(16383, 16384)], 16385)
@example([b"\x80\x80\x00\x01", b"\x80\x00\x01"], 10)
@example([row(*[300] * (REFS_BYTES_MAX // 2 - 1)), row(*[300] * (REFS_BYTES_MAX // 2 + 1)), row(1, 2)], 1000)
@example([b"\x80", b"", b"\x01\x02"], 10)
def test_many_rows_are_read_as_one_by_one(packed, symbols):
    """Numbers of one to three bytes, cut ones, rows of any length, references out of range."""
    assert read(packed, symbols) == one_by_one(packed, symbols)
