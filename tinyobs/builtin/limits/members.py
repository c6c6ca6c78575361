"""The series that are folded: for each its hash, what it goes into, and its last value, in arrays; about 60 bytes a series, and
the last native histogram where it has any.

A member is known by a number that is never used again, so a ref that somebody kept too long means nobody, and never somebody
else.  When members that are gone make room, all others get new numbers and the registry's generation changes.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...aggregation.kept_histograms import KeptHistograms
from ...model.gate import STAND_INS
from ...model.hash_table import MISSING, HashTable
from .bucket_fills import Buckets
from .refusals import FIRST

NUMBERS_MAX: Final = FIRST - STAND_INS
"""Numbers that there are in the life of a process."""
NEVER: Final = np.iinfo(np.int64).min

U32 = NDArray[np.uint32]
U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]


class Members:
    """Columns of members by place; number `first + place` is what a ref says.

    targets: int32, what each goes into.  values: its last float value, NaN before the first.  histograms: the last sample, where that
    was one.  bounds, of_histogram: of buckets (`bucket_fills.py`).  times_ms: of that sample.  live: whether it was a value, and no staleness marker.
    """

    def __init__(self) -> None:
        self.members_max = 0
        self._index: tuple[HashTable, int] = (HashTable(), 0)
        """Hash -> place, and the number of place 0; replaced as one, so that `find` needs no lock."""
        self._size = 256
        self.targets = np.zeros(self._size, np.int32)
        self.values = np.full(self._size, np.nan)
        self.times_ms = np.full(self._size, NEVER)
        self.live = np.zeros(self._size, np.bool_)
        self.bounds = np.full(self._size, np.nan)
        self.of_histogram = np.zeros(self._size, np.uint64)
        self.has_buckets = False
        self.histograms = KeptHistograms()
        self._seen = np.zeros(self._size, np.uint32)

    def __len__(self) -> int:
        return len(self._index[0])

    @property
    def is_full(self) -> bool:
        """Whether there is room for no more."""
        return not self.room

    @property
    def room(self) -> int:
        """For how many more there is room."""
        return max(min(self.members_max - len(self), NUMBERS_MAX - self._index[1] - len(self)), 0)

    def find(self, hashes: U64) -> U32:
        """Return the refs of members by their hashes, `MISSING` for others.  Any thread."""
        table, first = self._index
        places = table.find(hashes)
        return np.where(places == MISSING, places, places + np.uint32(STAND_INS + first))

    def add(self, hashes: U64, targets: I64, minute: int, buckets: Buckets | None = None) -> U32:
        """Return the refs of new members, different from each other and from all there are; buckets: where any may be one."""
        table, first = self._index
        place, end = len(table), len(table) + len(hashes)
        if end > self._size:
            self._resize(max(end, 2 * self._size))
        self.targets[place:end], self._seen[place:end] = targets, minute
        self.values[place:end], self.times_ms[place:end], self.live[place:end] = np.nan, NEVER, False
        self.bounds[place:end] = np.nan
        if buckets is not None:
            self.bounds[place:end], self.of_histogram[place:end] = buckets.bounds, buckets.histograms
            self.has_buckets = True
        table.add(hashes)
        return np.arange(STAND_INS + first + place, STAND_INS + first + end).astype(np.uint32)

    def places(self, refs: U32) -> I64:
        """Return the place for each ref, -1 for members that are forgotten."""
        table, first = self._index
        places = refs.astype(np.int64) - (STAND_INS + first)
        places[(places < 0) | (places >= len(table))] = -1
        return places

    def target_of(self, ref: int) -> int:
        """Return what a member goes into, -1 where it is forgotten."""
        place = int(self.places(np.array([ref], np.uint32))[0])
        return int(self.targets[place]) if place >= 0 else -1

    def mark(self, places: I64, minute: int) -> None:
        """Note that members have samples."""
        self._seen[places] = minute

    def fresh(self, places: I64, times: I64) -> I64:
        """Return which samples are younger than those before them of their members, by member and time."""
        order = np.lexsort((times, places))
        places, times = places[order], times[order]
        young = times > self.times_ms[places]
        again = places[1:] == places[:-1]
        young[1:] &= ~again | (times[1:] > times[:-1])
        return order if young.all() else order[young]

    def forget(self, before_minute: int) -> NDArray[np.int32] | None:
        """Forget members without samples since; return the targets of those that stay, None where all do."""
        return self._keep(self._seen[: len(self)] >= before_minute)

    def keep_of(self, kept: NDArray[np.bool_]) -> NDArray[np.int32] | None:
        """Forget members of targets that are not kept; return as `forget` does."""
        return self._keep(kept[self.targets[: len(self)]])

    def _keep(self, which: NDArray[np.bool_]) -> NDArray[np.int32] | None:
        table, first = self._index
        stays = np.flatnonzero(which)
        if len(stays) == len(table):
            return None
        fresh = HashTable()
        fresh.add(table.hashes[stays])
        for name in ("targets", "values", "times_ms", "live", "bounds", "of_histogram", "_seen"):
            column = getattr(self, name)
            column[: len(stays)] = column[stays]
        self.histograms.keep(stays)
        self._index = (fresh, first + len(table))
        self._resize(max(256, 2 * len(stays)))
        return self.targets[: len(stays)]

    def sums(self, affected: NDArray[np.bool_], since_ms: I64) -> tuple[NDArray[np.float64], I64]:
        """Return, by target, the sum of the last values that are floats, and the number of members that are live.

        affected: which targets are wanted.  since_ms: members whose last sample is not younger are left out, by target.
        """
        in_it = self.living(affected, since_ms)
        targets = self.targets[in_it]
        values = np.where(self.histograms.holds(in_it), 0.0, self.values[in_it])
        sums: NDArray[np.float64] = np.bincount(targets, values, len(affected)).astype(np.float64)
        return sums, np.bincount(targets, minlength=len(affected)).astype(np.int64)

    def living(self, affected: NDArray[np.bool_], since_ms: I64) -> I64:
        """Return the members of some targets that are live; arguments as those of `sums`."""
        n = len(self)
        targets = self.targets[:n]
        in_it = np.flatnonzero(affected[targets] & self.live[:n])
        return in_it[self.times_ms[in_it] > since_ms[targets[in_it]]]

    def _resize(self, size: int) -> None:
        keep = min(size, self._size)
        empty: dict[str, Any] = {"targets": 0, "values": np.nan, "times_ms": NEVER, "live": False, "_seen": 0}
        empty |= {"bounds": np.nan, "of_histogram": 0}
        for name, value in empty.items():
            column = getattr(self, name)
            longer = np.full(size, value, column.dtype)
            longer[:keep] = column[:keep]
            setattr(self, name, longer)
        self._size = size
