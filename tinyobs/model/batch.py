"""A batch of samples on its way into storage: columns over the shared numbering of series.

`refs[i]` is the number that the agent's `SeriesRegistry` gave to the series of sample `i`.  A batch is immutable: its
arrays are never written to after construction.  A batch is atomic: readers see all of it or nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum

import numpy as np
from attrs import Factory, evolve, frozen
from numpy.typing import NDArray

from .exemplars import Exemplar, ExemplarRefused
from .histograms import Histograms
from .metadata import MetricMetadata


class Refused(StrEnum):
    """Why a sample was not stored; the values are the `reason` labels of the counters."""

    OUT_OF_ORDER = "out_of_order"
    TOO_OLD = "too_old"
    OUT_OF_BOUNDS = "out_of_bounds"
    DUPLICATE = "duplicate_timestamp"
    LIMIT = "limit"
    INVALID = "invalid_histogram"

    def __str__(self) -> str:
        return self.value


@frozen(eq=False)
class Batch:
    """Samples of series.

    refs: uint32[n].  timestamps_ms: int64[n], milliseconds since 1970.  values: float64[n] (NaN payloads matter:
    the staleness marker is one; the place of a native histogram has its handle, see `histograms.py`).
    origin: who made it, for logs ("scrape", "remote_write", ...).
    metadata: family name -> metadata, only what is new or changed since the origin's last batch.  refused: samples that
    a processor took out and that the sender is told of.  histograms: what handles stand for, None without any.
    starts_ms: int64[n], since when a counter or histogram counts, 0 where that is not known; None when nowhere is.
    exemplars: in order of time for each series.
    """

    refs: NDArray[np.uint32]
    timestamps_ms: NDArray[np.int64]
    values: NDArray[np.float64]
    origin: str = ""
    metadata: Mapping[str, MetricMetadata] = Factory(dict)
    refused: Mapping[Refused, int] = Factory(dict)
    histograms: Histograms | None = None
    starts_ms: NDArray[np.int64] | None = None
    exemplars: Sequence[Exemplar] = ()

    def __len__(self) -> int:
        return len(self.refs)

    def take(self, positions: NDArray[np.int64] | NDArray[np.bool_]) -> Batch:
        """Return the batch with only these samples; all that is not a sample stays."""
        return evolve(
            self,
            refs=self.refs[positions],
            timestamps_ms=self.timestamps_ms[positions],
            values=self.values[positions],
            starts_ms=None if self.starts_ms is None else self.starts_ms[positions],
        )


@frozen(eq=False)
class AppendResult:
    """What became of a batch: samples stored, and samples refused by reason; its exemplars likewise.

    example: for each reason the position in the batch of one refused sample, so that a message can name its series.
    Samples that repeat a stored one exactly (same series, time and value) count as stored.  exemplars_stored does not
    count exemplars that repeat the newest of their series; exemplars_refused is by reason.
    """

    stored: int
    refused: Mapping[Refused, int] = Factory(dict)
    example: Mapping[Refused, int] = Factory(dict)
    exemplars_stored: int = 0
    exemplars_refused: Mapping[ExemplarRefused, int] = Factory(dict)

    @property
    def refused_total(self) -> int:
        """The number of refused samples."""
        return sum(self.refused.values())

    def with_refused(self, earlier: Mapping[Refused, int]) -> AppendResult:
        """Return the result with samples added that were refused before they came to the storage."""
        if not earlier:
            return self
        refused = dict(self.refused)
        for reason, count in earlier.items():
            refused[reason] = refused.get(reason, 0) + count
        return evolve(self, refused=refused)
