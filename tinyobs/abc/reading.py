"""What is asked of a store: a view of samples, the series that a selector finds, their samples."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from typing import Protocol

from ..model.columns import SeriesColumns
from ..model.labels import Labels
from ..model.matchers import Matcher
from ..model.read_counts import ReadCounts
from ..model.rollup import Rounding
from ..model.select_hints import SelectHints


class Selection(abc.ABC):
    """The series that fulfil matchers in a time range, before any sample is read: sorted by label set, and unique."""

    labels: Sequence[Labels]
    resolution_ms: int = 0
    """The coarsest tier that samples come from, 0 when all are as they were stored."""
    rounding: Rounding | None = None
    """How windows over ranges have to be rounded, None where those that were announced fit."""

    @abc.abstractmethod
    def read(self, first: int, last: int) -> SeriesColumns:
        """Return the samples of series `first` .. `last - 1` in the time range, both ends included; some may have none.

        Staleness markers are included.  Reading blocks in ascending order is the fast way.  Thread-safe.
        """

    def count_reads(self) -> ReadCounts:
        """Return counts that go up with each `read` from now on; a storage that does not count leaves them at 0."""
        return ReadCounts()


class Querier(abc.ABC):
    """A consistent view of stored samples within `[mint_ms, maxt_ms]`: all of a batch or none of it.

    Synchronous, thread-safe, not used after exit; may raise `StorageError`, and what `check` does between long work.
    """

    mint_ms: int
    maxt_ms: int

    @abc.abstractmethod
    def select(
        self,
        matchers: Sequence[Matcher],
        mint_ms: int,
        maxt_ms: int,
        check: Callable[[], None] | None = None,
        hints: SelectHints | None = None,
    ) -> Selection:
        """Return the series for which every matcher holds; without hints its samples are those that were stored."""

    @abc.abstractmethod
    def label_names(self, matchers: Sequence[Matcher] = ()) -> list[str]:
        """Return the sorted names of labels on series that fulfil the matchers."""

    @abc.abstractmethod
    def label_values(self, name: str, matchers: Sequence[Matcher] = ()) -> list[str]:
        """Return the sorted values of one label on series that fulfil the matchers."""

    def series(self, matchers: Sequence[Matcher]) -> Sequence[Labels]:
        """Return the label sets that fulfil the matchers and have data near the querier's range, sorted."""
        return self.select(matchers, self.mint_ms, self.maxt_ms).labels

    @abc.abstractmethod
    def close(self) -> None:
        """Release what the view holds; idempotent."""

    def __enter__(self) -> Querier:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class Queryable(Protocol):
    """Something that can be asked for a view: all that `promql` and the query API need.

    It may have an attribute `changes`, a `Changes`; without it no answer is remembered.
    """

    def querier(self, mint_ms: int, maxt_ms: int) -> Querier:
        """Return a view; the caller closes it."""
