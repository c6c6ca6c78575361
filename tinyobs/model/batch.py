"""A batch of samples on its way into storage: columns over the shared numbering of series.

`refs[i]` is the number that the agent's `SeriesRegistry` gave to the series of sample `i`.  A batch is immutable: its
arrays are never written to after construction.  A batch is atomic: readers see all of it or nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from enum import StrEnum

import numpy as np
from attrs import Factory, evolve, frozen
from numpy.typing import NDArray

from .exemplars import Exemplar, ExemplarRefused
from .histograms import Histograms, is_handle
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


@frozen
class LimitHit:
    """A limit that samples were refused for (`Refused.LIMIT`).

    text: which, in words for the sender.  is_cardinality: whether it is a limit on how many series there are: the same
    samples may be taken later.
    """

    text: str
    samples: int
    is_cardinality: bool = False


@frozen(eq=False)
class Batch:
    """Samples of series.

    refs: uint32[n].  timestamps_ms: int64[n], milliseconds since 1970.  values: float64[n] (NaN payloads matter:
    the staleness marker is one; the place of a native histogram has its handle, see `histograms.py`).
    origin: who made it, for logs ("scrape", "remote_write", ...).
    metadata: family name -> metadata, only what is new or changed since the origin's last batch.  refused: samples that
    a processor took out and that the sender is told of.  histograms: what handles stand for, None without any.
    starts_ms: int64[n], since when a counter or histogram counts, 0 where that is not known; None when nowhere is.
    exemplars: in order of time for each series, those of one time in any.  exemplars_refused: those that a processor took out,
    as in `refused`.
    source: whom it came from, for limits by source: the user or the address of who pushed it, "" where nobody did.
    limits: which limits the samples under `Refused.LIMIT` are beyond, where that is known.
    absorbed: samples that a processor took out because it has dealt with them; the sender is told that they are stored.
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
    source: str = ""
    limits: Sequence[LimitHit] = ()
    absorbed: int = 0
    exemplars_refused: Mapping[ExemplarRefused, int] = Factory(dict)

    def __len__(self) -> int:
        return len(self.refs)

    def exemplar_refs(self) -> NDArray[np.uint32]:
        """Return the numbers of the series of all exemplars."""
        return np.fromiter((e.ref for e in self.exemplars), np.uint32, len(self.exemplars))

    def of_source(self, source: str) -> Batch:
        """Return the batch with a source where it has none."""
        if self.source or not source:
            return self
        # By name `evolve` does it, in ten times as long, and this is done for every push.
        return Batch(
            self.refs,
            self.timestamps_ms,
            self.values,
            self.origin,
            self.metadata,
            self.refused,
            self.histograms,
            self.starts_ms,
            self.exemplars,
            source,
            self.limits,
            self.absorbed,
            self.exemplars_refused,
        )

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
    count exemplars that repeat the newest of their series; exemplars_refused is by reason.  histograms_stored: how many of
    the stored samples are native histograms.  limits: as in `Batch`.
    """

    stored: int
    refused: Mapping[Refused, int] = Factory(dict)
    example: Mapping[Refused, int] = Factory(dict)
    exemplars_stored: int = 0
    exemplars_refused: Mapping[ExemplarRefused, int] = Factory(dict)
    histograms_stored: int = 0
    limits: Sequence[LimitHit] = ()

    @property
    def refused_total(self) -> int:
        """The number of refused samples."""
        return sum(self.refused.values())

    def after(self, batch: Batch, given: Batch) -> AppendResult:
        """Return what became of `given`, from which processors made `batch`, to which the storage said this."""
        if batch is given:
            return self
        places = {}
        for reason, at in self.example.items():
            same = (given.refs == batch.refs[at]) & (given.timestamps_ms == batch.timestamps_ms[at])
            if same.any():  # else a processor made the sample
                places[reason] = int(same.argmax())
        return evolve(
            self,
            stored=self.stored + batch.absorbed,
            refused=dict(Counter(self.refused) + Counter(batch.refused)),
            example=places,
            exemplars_refused=dict(Counter(self.exemplars_refused) + Counter(batch.exemplars_refused)),
            histograms_stored=self.histograms_stored + _histograms_absorbed(batch, given),
            limits=tuple(batch.limits),
        )


def _histograms_absorbed(batch: Batch, given: Batch) -> int:
    """Return how many of the samples that processors absorbed of `given` are histograms; negative where they added some.

    Of batches that have floats as well, of which some were refused, it is the least that there can be.
    """
    if given.histograms is None and batch.histograms is None:
        return 0
    gone = int(is_handle(given.values).sum()) - int(is_handle(batch.values).sum())
    refused = sum(batch.refused.values()) - sum(given.refused.values())
    return max(gone - refused, min(gone, 0))
