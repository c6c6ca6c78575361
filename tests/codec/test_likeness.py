"""Likeness: rows whose bytes are distributed alike share a class, and frames are cut where that saves bytes."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyobs.codec.compression import DENSE, FAST, compress
from tinyobs.codec.integers import decode_rows, encode_rows
from tinyobs.codec.likeness import GROUPS_MAX, classes_of, cut_frames
from tinyobs.codec.planes import widths_of
from tinyobs.model.ragged import offsets_of

COUNT = 2000


def classes(rows):
    """Return the classes of rows of unsigned integers of equal length, the first guess being that all are alike."""
    flat = np.array(rows, np.uint64)
    offsets = np.arange(len(rows) + 1) * flat.shape[1]
    return classes_of(flat.reshape(-1), offsets, widths_of(flat.max(axis=1)), np.zeros(len(rows), np.int64))


def test_like_rows_share_a_class_across_unlike_ones():
    """Rows of two distributions in turn come into two classes, whatever their order."""
    rng = np.random.default_rng(1)
    few, many = (lambda: rng.choice([0, 7, 200], COUNT)), (lambda: rng.integers(0, 256, COUNT))
    got = classes([few(), many(), few(), many(), few()])
    assert got[0] == got[2] == got[4]
    assert got[1] == got[3] != got[0]


def test_classes_fit_a_byte_and_rows_of_nothing_have_none():
    """Of more rows than groups there are at most that many classes; rows of width 0 are of class 0."""
    rng = np.random.default_rng(2)
    rows = [rng.choice(rng.integers(0, 256, 3), 500) for _ in range(200)]
    rows[5] = np.zeros(500)
    got = classes(rows)
    assert got[5] == 0
    assert 1 < got.max() < GROUPS_MAX
    assert classes([np.zeros(9)]).tolist() == [0]


def test_frames_are_cut_only_where_it_saves():
    """Two unlike stretches are cut apart, two like ones are not."""
    rng = np.random.default_rng(3)
    low, high = (rng.integers(a, a + 20, 4000).astype(np.uint8) for a in (0, 100))
    assert cut_frames(np.concatenate([low, high]), [0, 4000, 8000]) == [0, 4000, 8000]
    assert cut_frames(np.concatenate([low, low]), [0, 4000, 8000]) == [0, 8000]
    assert cut_frames(np.concatenate([low, high, high]), [0, 2000, 4000, 8000, 12000]) == [0, 4000, 12000]
    assert cut_frames(low, [0, 4000]) == [0, 4000]


def test_a_short_unlike_stretch_is_not_worth_a_frame():
    """What differs in a few bytes stays with its neighbour, as a frame has a price."""
    plane = np.concatenate([np.random.default_rng(4).integers(0, 20, 4000), np.full(4, 99)]).astype(np.uint8)
    assert cut_frames(plane, [0, 4000, 4004]) == [0, 4004]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 40), st.booleans())
def test_rows_of_any_mixture_come_back(seed, count, is_even):
    """Whatever classes rows get, every integer is restored."""
    rng = np.random.default_rng(seed)
    makers = [
        lambda n: np.cumsum(rng.poisson(50, n)),
        lambda n: rng.integers(-(1 << 62), 1 << 62, n),
        lambda n: np.full(n, 7),
        lambda n: rng.lognormal(9, 2, n).astype(np.int64),
    ]
    rows = [makers[rng.integers(4)](300 if is_even else int(rng.integers(0, 600))) for _ in range(count)]
    offsets = offsets_of(np.array([len(r) for r in rows]))
    flat = np.concatenate(rows).astype(np.int64)
    data = encode_rows(flat, offsets, DENSE)
    block, used = decode_rows(memoryview(data))
    assert used == len(data)
    np.testing.assert_array_equal(block.decode()[0], flat)


def test_dense_blocks_of_unlike_rows_are_smaller():
    """A mixture of distributions takes a twentieth less than with rows in order of magnitude and a frame now and then."""
    rng = np.random.default_rng(5)
    steps = [rng.choice([0, 1, 2, 40, 200], 1000, p=rng.dirichlet(np.ones(5))) for _ in range(16)]
    flat = np.cumsum([steps[i % 16][rng.permutation(1000)] for i in range(64)], axis=1).reshape(-1)
    offsets = np.arange(65) * 1000
    assert len(encode_rows(flat, offsets, DENSE)) < 0.95 * len(encode_rows(flat, offsets, FAST))


def test_dense_compression_takes_any_length():
    """The tables of the densest level are made for short input; longer one is compressed as well."""
    for size in (0, 1, 1 << 12, 1 << 20):
        assert len(compress(bytes(size), DENSE)) < 100
