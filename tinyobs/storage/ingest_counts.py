"""Counters of what became of samples, kept by the writer thread."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from attrs import Factory, define

from ..model.batch import AppendResult
from .wal_writer import Entry


@define
class IngestCounts:
    """Samples since the start: put into the head, repeated, refused by reason; and series that were new."""

    stored: int = 0
    repeated: int = 0
    created: int = 0
    refused: Counter[str] = Factory(Counter)

    def count(self, results: Sequence[AppendResult], entries: Sequence[Entry], created: int) -> None:
        """Count a group of batches."""
        fresh = sum(len(e.times_ms) for e in entries)
        self.stored += fresh
        self.repeated += sum(r.stored for r in results) - fresh
        self.created += created
        for r in results:
            for reason, n in r.refused.items():
                self.refused[str(reason)] += n
