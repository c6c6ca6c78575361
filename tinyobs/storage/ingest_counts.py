"""Counters of what became of samples, kept by the writer thread."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from attrs import Factory, define

from ..model.batch import AppendResult
from .wal_encoder import Entry


@define
class IngestCounts:
    """Since the start: samples put into the head, histograms among them, repeated, refused by reason; new series.

    exemplars_stored, exemplars_refused: of exemplars, the latter by reason.
    """

    stored: int = 0
    histograms: int = 0
    exemplars_stored: int = 0
    exemplars_refused: Counter[str] = Factory(Counter)
    repeated: int = 0
    created: int = 0
    refused: Counter[str] = Factory(Counter)

    def count(self, results: Sequence[AppendResult], entries: Sequence[Entry], created: int) -> None:
        """Count a group of batches."""
        fresh = sum([len(e.samples) for e in entries])
        self.histograms += sum([len(t) for e in entries if (t := e.samples.histograms) is not None])
        self.stored += fresh
        self.repeated += sum(r.stored for r in results) - fresh
        self.created += created
        for r in results:
            for reason, n in r.refused.items():
                self.refused[str(reason)] += n
            self.exemplars_stored += r.exemplars_stored
            for why, n in r.exemplars_refused.items():
                self.exemplars_refused[str(why)] += n
