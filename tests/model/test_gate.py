"""The registry asks its gate before it numbers a series, and remembers nothing of what is turned away."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from odd_gate import Odd

from tinyobs.model.block_hash import blocks_of
from tinyobs.model.gate import STAND_INS
from tinyobs.model.hash_table import MISSING
from tinyobs.model.labels import from_mapping
from tinyobs.model.registry import SeriesRegistry, encode_block


def series(*numbers, name="x"):
    """Label sets."""
    return [from_mapping({"__name__": name, "n": str(n)}) for n in numbers]


@pytest.fixture
def registry():
    """A registry with a gate."""
    found = SeriesRegistry()
    found.gate = Odd()
    return found


@pytest.mark.parametrize("way", ["one by one", "many", "blocks", "odd blocks"])
def test_every_way_leads_through_the_gate(registry, way):
    """Those turned away get a stand-in, and neither they nor their labels are remembered."""
    given = series(*range(20))
    if way == "one by one":
        refs = [registry.intern(labels) for labels in given]
    elif way == "many":
        refs = registry.intern_many(given).tolist()
    elif way == "blocks":
        refs = registry.intern_blocks(blocks_of([encode_block(labels) for labels in given])).tolist()
    else:
        refs = [registry.intern_block(encode_block(labels[1:] + labels[:1])) for labels in given]
    assert refs[1::2] == [STAND_INS] * 10
    assert refs[::2] == list(range(10)) == registry.gate.passed
    assert len(registry) == 10
    assert registry.pair_count == 11
    assert [registry.labels(r) for r in refs[::2]] == given[::2]
    assert registry.labels(STAND_INS) == (("__name__", "odd"),)
    assert all(registry.pair(i)[0] in ("__name__", "n") for row in registry.gate.columns for i in row if i >= 0)


def test_who_keeps_refs_for_good_does_without(registry):
    """Nothing is asked, not even what the gate remembers."""
    given = series(*range(20))
    registry.gate.recall = lambda hashes: np.full(len(hashes), STAND_INS, np.uint32)
    assert registry.intern_many(given, gated=False).tolist() == list(range(20))
    assert registry.intern(series(99)[0], gated=False) == 20
    assert registry.gate.passed == []


def test_a_closed_gate_costs_nothing(registry):
    """New series are not even taken apart; known ones are found as ever."""
    registry.intern_many(series(*range(20)))
    registry.gate.closed = STAND_INS + 5
    registry.gate.screen = None
    refs = registry.intern_many(series(*range(18, 38))).tolist()
    assert refs == [9] + [STAND_INS + 5] * 19


def test_stand_ins_are_not_remembered_for_odd_blocks(registry):
    """A label block in another order is not bound to a ref that is good for a while only."""
    block = encode_block(series(1)[0][::-1])
    registry.remember_block(block, registry.intern_block(block))
    assert registry.refs_of_blocks(blocks_of([block])).tolist() == [MISSING]


def test_names_seen_for_the_first_time_are_in_order():
    """A block with new label names out of order is not canonical, and leaves nothing behind."""
    registry = SeriesRegistry()
    bad = encode_block((("__name__", "x"), ("b", "1"), ("a", "1")))
    assert registry.intern_blocks(blocks_of([bad])).tolist() == [MISSING]
    assert registry.pair_count == 0
    good = encode_block((("__name__", "x"), ("a", "1"), ("b", "1")))
    assert registry.intern_blocks(blocks_of([good, bad])).tolist() == [0, MISSING]


def test_many_threads(registry):
    """Each series gets one ref or is turned away, whoever comes first."""
    found = {}

    def work(shift):
        given = series(*range(shift, 2000 + shift))
        for i in range(0, 2000, 100):
            for labels, ref in zip(given[i : i + 100], registry.intern_many(given[i : i + 100]).tolist(), strict=True):
                assert found.setdefault(labels, ref) == ref

    threads = [threading.Thread(target=work, args=(shift,)) for shift in (0, 500, 1000)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(registry) == 1500
    assert sorted(registry.gate.passed) == list(range(1500))
