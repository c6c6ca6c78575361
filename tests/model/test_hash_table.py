"""The table from hashes to numbers: what is found, while it grows and while another thread adds."""

import random

import numpy as np
import pytest

from tinyobs.model.hash_table import MISSING, HashTable

START = 1024
"""Hashes that a new table has room for."""


def hashes(count, seed=1):
    random_ = random.Random(seed)
    return np.array([random_.getrandbits(64) for _ in range(count)], np.uint64)


class Overtaken(np.ndarray):
    """Places of a table; the first time that they are read, another thread adds hashes before."""

    def overtake(self, add):
        self.add = add
        return self

    def _added(self):
        add, self.add = getattr(self, "add", None), None
        if add is not None:
            add()

    def take(self, *args, **kwargs):
        self._added()
        return np.asarray(self).take(*args, **kwargs)

    def __getitem__(self, at):
        self._added()
        return np.asarray(self)[at]


def overtaken(table, added):
    slots = table._slots
    slots.numbers = slots.numbers.view(Overtaken).overtake(lambda: table.add(added))
    return table


@pytest.mark.parametrize("counts", [(1,), (5, 640), (600, 1, 1, 40, 5000), (1023, 2, 70_000)])
def test_numbers_are_found_again(counts):
    """Hashes have the numbers in which they were added, however the table grew; others have none."""
    table, given, others = HashTable(), hashes(sum(counts)), hashes(500, seed=2)
    at = 0
    for count in counts:
        assert table.add(given[at : at + count]) == at
        at += count
        assert table.find(given[:at]).tolist() == list(range(at))
        assert (table.find(others) == MISSING).all()
    assert len(table) == len(given)
    assert table.hashes.tolist() == given.tolist()
    assert [table.find_one(int(h)) for h in given[::50]] == list(range(0, len(given), 50))


@pytest.mark.parametrize("sought", [3, 600], ids=["few", "many"])
def test_hashes_that_another_thread_adds_meanwhile(sought):
    """A number that was not there when the search began is right, or not found; also when the array of hashes had to grow."""
    given = hashes(START + 600)
    table = HashTable()
    table._hashes = np.zeros(8, np.uint64)  # grows while the places stay the same
    table.add(given[:8])
    found = overtaken(table, given[8:600]).find(given[:sought])
    assert all(number in (i, MISSING) for i, number in enumerate(found.tolist()))
    assert found[:3].tolist() == [0, 1, 2]
    assert table.find(given[:600]).tolist() == list(range(600))


def test_a_place_that_another_thread_fills_meanwhile():
    """One hash whose place is taken by a new one is compared with the new array of hashes."""
    first, same_place = 1 << 63, (1 << 63) + 1
    table = HashTable()
    table._hashes = np.zeros(1, np.uint64)
    table.add(np.array([5], np.uint64))
    assert overtaken(table, np.array([first], np.uint64)).find_one(same_place) == MISSING
    assert table.find_one(first) == 1
    few = overtaken(table, np.array([same_place], np.uint64)).find(np.array([first, same_place], np.uint64))
    assert few.tolist() == [1, 2]
