"""Downsampling tiers as both sides of `abc.Querier` see them: the aggregates kept, and what each function reads.

A tier of width w keeps aggregates of the samples in each bucket `(k*w, (k+1)*w]`, open on the left as the windows of
PromQL are.  So a window whose borders are multiples of w consists of whole buckets.  Windows that are not are rounded
down to such borders (`Rounding`).  Not here: how aggregates are made (`storage/rollup.py`) or chosen
(`storage/tiers.py`).  Rules and bounds: docs/format/tiers.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from .durations import format_duration

I64 = NDArray[np.int64]


class Aggregate(StrEnum):
    """What a tier keeps; each is a series of ordinary samples."""

    EDGES = "edges"
    """The first and the last sample of a bucket, both samples around each fall, and the staleness marker at its end."""
    MIN = "min"
    MAX = "max"
    SUM = "sum"
    COUNT = "count"


@frozen
class Reads:
    """What a function needs: an aggregate, and whether its points must say for how many samples they stand."""

    aggregate: Aggregate
    weighted: bool = False


READS: Final[Mapping[str, Reads]] = {
    "": Reads(Aggregate.EDGES),
    "first_over_time": Reads(Aggregate.EDGES),
    "last_over_time": Reads(Aggregate.EDGES),
    "present_over_time": Reads(Aggregate.EDGES),
    "absent_over_time": Reads(Aggregate.EDGES),
    "ts_of_first_over_time": Reads(Aggregate.EDGES),
    "ts_of_last_over_time": Reads(Aggregate.EDGES),
    "rate": Reads(Aggregate.EDGES, weighted=True),
    "increase": Reads(Aggregate.EDGES, weighted=True),
    "delta": Reads(Aggregate.EDGES, weighted=True),
    "min_over_time": Reads(Aggregate.MIN),
    "max_over_time": Reads(Aggregate.MAX),
    "sum_over_time": Reads(Aggregate.SUM),
    "count_over_time": Reads(Aggregate.SUM, weighted=True),
    "avg_over_time": Reads(Aggregate.SUM, weighted=True),
}
"""The functions that tiers can answer ("" an instant selector); others need the samples themselves."""

OTHERWISE: Final = Reads(Aggregate.EDGES)
"""What other functions get where there is nothing else: some of the samples."""


@frozen(eq=False)
class Rounding:
    """To which multiples windows are rounded down, where a query asks a tier for other windows than it has.

    borders: int64[n], ascending.  widths: int64[n + 1], ms, 1 for raw samples: times up to and including `borders[0]`
    have the first width, and so on.  Each border is a multiple of the widths on its sides.
    """

    borders: I64
    widths: I64

    def width(self, times_ms: I64) -> I64:
        """Return the width that holds at some times."""
        return self.widths[np.searchsorted(self.borders, times_ms, "left")]

    def down(self, times_ms: I64) -> I64:
        """Return times rounded down."""
        return times_ms - times_ms % self.width(times_ms)

    def up(self, times_ms: I64) -> I64:
        """Return times rounded up: the ends of their buckets."""
        return times_ms + -times_ms % self.width(times_ms)


def tier_name(width_ms: int) -> str:
    """Return how a tier is called: `5m`, `1h`, `raw`."""
    return format_duration(width_ms) if width_ms else "raw"
