"""Tests of the numbering of series: hashes of label blocks, the table of refs, and blocks taken apart in bulk."""

import random
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyobs.errors import WireError
from tinyobs.model.block_hash import BLOCK_BYTES_MAX, BlockHasher, blocks_of
from tinyobs.model.hash_table import MISSING, HashTable
from tinyobs.model.label_block import encode_block, encode_pair, varint
from tinyobs.model.labels import from_mapping
from tinyobs.model.registry import SeriesRegistry


def block(*pairs):
    """Return a label block with its labels as they are given."""
    return b"".join(b"\x0a" + varint(len(p)) + p for p in map(encode_pair, pairs))


def test_hashes_in_bulk_are_those_of_single_strings():
    """Strings of any length, zeros at the end included, hash alike on both ways, wherever they lie."""
    random_ = random.Random(7)
    sizes = [0, 1, 7, 8, 9, 31, 32, 33, 64, 160, 255, 256, 257, 2048, BLOCK_BYTES_MAX, BLOCK_BYTES_MAX + 1]
    strings = [random_.randbytes(random_.choice(sizes)) for _ in range(800)] + [bytes(n) for n in sizes]
    hasher = BlockHasher()
    hashes = hasher.hash_many(blocks_of(strings)).tolist()
    assert hashes == [hasher.hash_one(s) for s in strings]
    assert len(set(hashes)) == len(set(strings))
    assert 0 not in hashes
    assert hasher.hash_many(blocks_of([])).tolist() == []


def test_hashes_differ_between_processes():
    """Two sets of keys give other hashes, so that nobody can prepare strings with the same one."""
    strings = blocks_of([b"a", b"b" * 200, b"c" * 5000])
    assert not (BlockHasher().hash_many(strings) == BlockHasher().hash_many(strings)).any()


def test_strings_that_differ_in_one_bit_have_hashes_that_differ_everywhere():
    """Each bit of a hash changes for about half of such pairs."""
    base = bytes(range(100))
    strings = [base] + [base[:i] + bytes([base[i] ^ 1 << bit]) + base[i + 1 :] for i in range(100) for bit in range(8)]
    hashes = BlockHasher().hash_many(blocks_of(strings))
    changed = (hashes[1:] ^ hashes[0])[:, None] >> np.arange(64, dtype=np.uint64) & np.uint64(1)
    assert (np.abs(changed.mean(axis=0) - 0.5) < 0.15).all()


@pytest.mark.parametrize(("sparse", "bytes_max"), [(False, 24), (True, 48)], ids=["dense", "sparse"])
def test_a_table_finds_what_was_added(sparse, bytes_max):
    """Entries stay through growth, in batches of any size; what was not added is missing."""
    table, rng = HashTable(sparse=sparse), np.random.default_rng(1)
    hashes = np.unique(rng.integers(1, 1 << 63, 30_000, dtype=np.uint64) * np.uint64(2))
    rng.shuffle(hashes)
    numbers = np.arange(len(hashes), dtype=np.uint32)
    at = 0
    while at < len(hashes):
        n = int(rng.choice([1, 2, 10, 500, 4000]))
        assert table.add(hashes[at : at + n]) == at
        at += n
    assert len(table) == len(hashes)
    assert (table.find(hashes) == numbers).all()
    assert (table.find(hashes + np.uint64(1)) == MISSING).all()
    assert [table.find_one(int(h)) for h in hashes[:50]] == numbers[:50].tolist()
    assert table.find_one(int(hashes[0]) + 1) == MISSING
    assert table.nbytes < bytes_max * len(table)
    assert (table.hashes == hashes).all()


def test_a_table_copes_with_hashes_in_one_place():
    """Hashes that all point to the same place, the last one of the table, are found and told apart."""
    table = HashTable()
    hashes = np.arange((1 << 64) - 200, (1 << 64) - 1, dtype=np.uint64)
    for part in np.array_split(hashes, 7):
        table.add(part)
    assert (table.find(hashes) == np.arange(len(hashes))).all()
    assert table.find(np.array([(1 << 64) - 1000], np.uint64)).tolist() == [MISSING]


def test_bulk_and_single_interning_agree():
    """Label sets get the same numbers whether they come as labels, as a block or as many blocks."""
    registry = SeriesRegistry()
    series = [from_mapping({"__name__": f"m{i % 7}", "i": str(i), "long": "x" * (i % 300)}) for i in range(500)]
    first = registry.intern_blocks(blocks_of([encode_block(s) for s in series[:300]]))
    assert first.tolist() == list(range(300))
    assert [registry.intern(s) for s in series] == list(range(500))
    again = blocks_of([encode_block(s) for s in series])
    assert registry.intern_blocks(again).tolist() == registry.refs_of_blocks(again).tolist() == list(range(500))
    assert [registry.labels(i) for i in range(500)] == series
    assert [registry.intern_block(encode_block(s)) for s in series[:3]] == [0, 1, 2]
    starts, ids = registry.flat_pairs(300)
    assert registry.pair(int(ids[int(starts[1])])) == ("__name__", "m0")


def test_requests_in_any_order_are_recognised():
    """Runs of neighbours, single jumps, repetitions and unknown series: each finds its number."""
    registry = SeriesRegistry()
    blocks = [encode_block((("__name__", "m"), ("i", str(i)))) for i in range(3000)]
    registry.intern_blocks(blocks_of(blocks[:2500]))
    alias = block(("i", "7"), ("__name__", "m"))
    registry.remember_block(alias, 7)
    blocks.append(alias)
    rng = random.Random(3)
    orders = [list(range(2500)), list(range(1000, 2500)) + list(range(900)), list(range(2400, 3000)), [], [3000, 8, 9]]
    orders += [[i + j for i in rng.sample(range(2900), 40) for j in range(rng.choice([1, 5, 60]))] for _ in range(5)]
    orders += [
        rng.sample(range(3001), 3001),
        [5] * 40,
        list(range(2499, 0, -1)),
        [*range(7), 3000, *range(8, 99)],
    ]
    for order in orders:
        expected = [7 if i == 3000 else i if i < 2500 else MISSING for i in order]
        assert registry.refs_of_blocks(blocks_of([blocks[i] for i in order])).tolist() == expected


def test_a_block_that_comes_twice_is_one_series():
    """Repetitions within one call get one number."""
    registry = SeriesRegistry()
    a, b = encode_block((("__name__", "a"),)), encode_block((("__name__", "b"),))
    assert registry.intern_blocks(blocks_of([b, a, b, b, a])).tolist() == [0, 1, 0, 0, 1]
    assert len(registry) == 2


ODD = [
    b"",
    b"\x0a",
    b"\x0a\x7f",
    b"\x12\x00",
    block(("job", "x")),
    block(("__name__", "a"), ("__name__", "b")),
    block(("b", "1"), ("__name__", "a")),
    block(("__name__", "a"), ("b", "")),
    block(("__name__", "")),
    block(("__name__", "a"), ("b", "1"), ("b", "1")),
    block(*[(f"l{i:03d}", "x") for i in range(200)]),
    b"\x0a\x8d\x00\x0a\x08__name__\x12\x01a",
    b"\x0a\x0d\x12\x01a\x0a\x08__name__",
    b"\x0a\x0d\x0a\x08__name__\x12\x01\xff",
    block(("__name__", "a")) + b"\x12",
]


@pytest.mark.parametrize("odd", ODD)
def test_blocks_that_are_not_canonical_stay_missing(odd):
    """They get no number in bulk, and those beside them do."""
    registry = SeriesRegistry()
    good = [block(("__name__", f"m{i}")) for i in range(3)]
    blocks = blocks_of([good[0], odd, good[1], odd, good[2]])
    assert registry.intern_blocks(blocks).tolist() == [0, MISSING, 1, MISSING, 2]
    assert len(registry) == 3


def test_a_single_block_is_put_right():
    """`intern_block` sorts labels, drops empty ones and takes the last of a repeated name."""
    registry = SeriesRegistry()
    ref = registry.intern(from_mapping({"__name__": "a", "b": "1"}))
    for pairs in (
        [("b", "1"), ("__name__", "a")],
        [("__name__", "a"), ("b", "1"), ("c", "")],
        [("__name__", "x"), ("b", "1"), ("__name__", "a")],
    ):
        assert registry.intern_block(block(*pairs)) == ref
    for bad in (b"", block(("a", "")), b"\x0a\x7f", b"\x0a\x02\x0a\x00"):
        with pytest.raises(WireError):
            registry.intern_block(bad)


def test_labels_with_long_texts():
    """Lengths of two and three bytes are read, and blocks beyond the bulk size are hashed another way."""
    registry = SeriesRegistry()
    series = [from_mapping({"__name__": "a", "t": "y" * n}) for n in (1, 118, 119, 120, 200, 5000, 16370, 40000)]
    refs = registry.intern_blocks(blocks_of([encode_block(s) for s in series])).tolist()
    for ref, labels in zip(refs, series, strict=True):
        ref = registry.intern_block(encode_block(labels)) if ref == MISSING else ref
        assert registry.labels(ref) == labels
    assert len(registry) == len(series)


def test_threads_agree_on_numbers():
    """Series interned by several threads at once get one number each."""
    registry = SeriesRegistry()
    blocks = [encode_block((("__name__", "m"), ("i", str(i)))) for i in range(3000)]
    found = {}

    def work(seed):
        order = random.Random(seed).sample(range(3000), 3000)
        refs = {}
        for at in range(0, 3000, 250):
            part = order[at : at + 250]
            refs.update(zip(part, registry.intern_blocks(blocks_of([blocks[i] for i in part])).tolist(), strict=True))
        found[seed] = refs

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(found[seed] == found[0] for seed in range(4))
    assert sorted(found[0].values()) == list(range(3000))
    assert all(registry.labels(ref)[1] == ("i", str(i)) for i, ref in found[0].items())


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
PAIRS = st.lists(st.tuples(st.sampled_from(["__name__", "a", "b", "\u00e9", "job"]), TEXT), max_size=5)


@settings(max_examples=200, deadline=None)
@given(st.lists(PAIRS, max_size=6))
def test_any_block_is_canonical_or_missing(series):
    """What is interned in bulk has exactly the labels of its block, in order and without an empty one."""
    registry = SeriesRegistry()
    refs = registry.intern_blocks(blocks_of([block(*pairs) for pairs in series])).tolist()
    for pairs, ref in zip(series, refs, strict=True):
        names = [n for n, _ in pairs]
        sound = names == sorted(set(names)) and "__name__" in names and all(v for _, v in pairs)
        assert (ref != MISSING) == sound
        if sound:
            assert registry.labels(ref) == tuple(pairs)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=5), st.data())
def test_damaged_blocks_never_become_other_series(strings, data):
    """Whatever bytes come, a number in bulk means that the bytes are the canonical block of its labels."""
    registry = SeriesRegistry()
    damaged = bytearray(encode_block((("__name__", "abc"), ("b", "1"), ("c", "\u00e9"))))
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    strings = [*strings, bytes(damaged)]
    for s, ref in zip(strings, registry.intern_blocks(blocks_of(strings)).tolist(), strict=True):
        if ref != MISSING:
            assert encode_block(registry.labels(ref)) == s


def test_hashes_that_crowd_at_one_place_are_found():
    """However long the run of full places is that a hash stands in, and whatever is looked for beside it."""
    table, rng = HashTable(), np.random.default_rng(4)
    near = (np.uint64(5 << 54) + np.arange(40, dtype=np.uint64)) * np.uint64(1)
    far = rng.integers(1, 1 << 64, 500, dtype=np.uint64)
    table.add(near)
    table.add(np.setdiff1d(far, near))
    sought = rng.permutation(np.concatenate([table.hashes, near + np.uint64(1000), far + np.uint64(1)]))
    numbers = {h: i for i, h in enumerate(table.hashes.tolist())}
    for size in (1, 7, 100, len(sought)):
        assert table.find(sought[:size]).tolist() == [numbers.get(h, MISSING) for h in sought[:size].tolist()]


@pytest.mark.parametrize("lengths", [(16, 24), (30, 47), (100, 256), (240, 300), (1, 600), (700, 701)])
def test_strings_of_like_lengths_hash_as_each_alone(lengths):
    """What stands behind them makes no difference, to words that only some of them fill either."""
    rng, hasher = np.random.default_rng(5), BlockHasher()
    strings = [rng.bytes(n) for n in range(*lengths)] * 3
    assert hasher.hash_many(blocks_of(strings)).tolist() == [hasher.hash_one(s) for s in strings]
