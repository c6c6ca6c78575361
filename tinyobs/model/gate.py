"""Who decides whether a new series may be numbered, and the refs that stand for series that may not.

A flood of series that will be refused must not leave a trace for each of them.  So the registry asks its gate *before* it
numbers a series or remembers one of its label pairs, and gives out a *stand-in* where the gate says so: a ref beyond all
numbers of series.  A batch may hold stand-ins up to the processor that made them, which takes their samples out.

Stand-ins are good as long as `SeriesRegistry.generation` is the same: whoever remembers refs asks anew when it changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Final, Protocol

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from .labels import Labels

STAND_INS: Final = 0x8000_0000
"""Refs from here on are stand-ins."""

SOURCE: ContextVar[str] = ContextVar("SOURCE", default="")
"""Whose series are being numbered, "" where nobody pushed them; receptions set it, and threads inherit it."""

U32 = NDArray[np.uint32]
U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]


class PairTexts(Protocol):
    """What pair ids mean; see `pair_table.py`."""

    def pair(self, pair_id: int) -> tuple[str, str]:
        """Return (name, value) of a pair."""

    def names_of(self, ids: I64) -> I64:
        """Return the ids of the names of pairs."""

    def name_id(self, name: str) -> int:
        """Return the id of a name, -1 where no pair has it."""


@frozen(eq=False)
class Candidates:
    """Series that want a number: their hashes, and their pair ids, one row each, with -1 behind the last.

    Ids that are not among those of the registry are good within `texts` only.
    """

    hashes: U64
    columns: I64
    texts: PairTexts

    def __len__(self) -> int:
        return len(self.hashes)

    def take(self, rows: I64) -> Candidates:
        """Return some of them."""
        return Candidates(self.hashes[rows], self.columns[rows], self.texts)

    def labels(self, row: int) -> Labels:
        """Return the labels of one."""
        return tuple([self.texts.pair(i) for i in self.columns[row].tolist() if i >= 0])


class Gate(Protocol):
    """Asked by the registry, under its lock where nothing else is said."""

    closed: int
    """What stands for every new series, whatever it is; `MISSING` where each is looked at."""

    def recall(self, hashes: U64) -> U32:
        """Return what stands for series that were refused lately, `MISSING` for others.  Any thread, without the lock."""

    def screen(self, candidates: Candidates) -> U32:
        """Return `MISSING` for series that may be numbered, for others what stands for them."""

    def numbered(self, refs: U32, columns: I64) -> None:
        """Take note that those let pass by `screen`, in their order, have got these refs and pair ids."""

    def report(self) -> Mapping[str, Any]:
        """Return what was turned away, for JSON.  Any thread, without the lock."""

    def labels_of(self, ref: int) -> Labels:
        """Return labels for people that say what a stand-in stands for."""
