"""Histograms by number, of any layouts: what handles in a block of values stand for.

As in `model.histograms`, a histogram in a column of values is a NaN that carries its number.  Here the histograms of
one layout lie in one `Batch`, and a number tells batch and row.  Between the two goes `codec.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from attrs import frozen

from ...model.histograms import handles, is_handle, numbers_of, shifted
from ..arrays import Floats, Indexes, Mask
from .batch import COUNT, SUM, Batch, Key, joined

Part = tuple[Indexes, Batch]
"""Histograms with the numbers they shall have."""


@frozen(eq=False)
class Table:
    """H histograms.  batch, row: int64[H], where the histogram of each number is; no two batches have one layout."""

    batches: tuple[Batch, ...]
    batch: Indexes
    row: Indexes

    def __len__(self) -> int:
        return len(self.row)

    @property
    def size(self) -> int:
        """The numbers that make up the histograms of all batches."""
        return sum(b.data.size for b in self.batches)

    def take(self, numbers: Indexes) -> Table:
        """Return the histograms with these numbers, in this order; the batches stay as they are."""
        return Table(self.batches, self.batch[numbers], self.row[numbers])

    def parts(self) -> Iterator[Part]:
        """Yield (numbers, histograms) of each layout."""
        for i, batch in enumerate(self.batches):
            numbers = np.flatnonzero(self.batch == i) if len(self.batches) > 1 else np.arange(len(self))
            if len(numbers):
                yield numbers, batch.take(self.row[numbers])

    def hints(self) -> Indexes:
        """Return int64[H], the number of the `ResetHint` of each histogram."""
        return self._gathered([b.hints for b in self.batches]).astype(np.int64)

    def counts(self) -> Floats:
        """Return float64[H], the number of observations of each histogram."""
        return self._gathered([b.data[:, COUNT] for b in self.batches])

    def sums(self) -> Floats:
        """Return float64[H], the sum of observations of each histogram."""
        return self._gathered([b.data[:, SUM] for b in self.batches])

    def thresholds(self) -> Floats:
        """Return float64[H], the end of the zero bucket of each histogram."""
        return self._gathered([b.thresholds for b in self.batches])

    def customs(self) -> Mask:
        """Return bool[H], which histograms have custom buckets."""
        found: Mask = self._gathered([np.full(len(b), float(b.custom)) for b in self.batches]) != 0
        return found

    def schemas(self) -> Indexes:
        """Return int64[H], the schema of each histogram."""
        return self._gathered([np.full(len(b), float(b.schema)) for b in self.batches]).astype(np.int64)

    def _gathered(self, columns: Sequence[Floats | Indexes]) -> Floats:
        out = np.zeros(len(self))
        for i, column in enumerate(columns):
            here = self.batch == i
            out[here] = column[self.row[here]]
        return out


EMPTY = Table((), np.empty(0, np.int64), np.empty(0, np.int64))
"""No histogram."""


def assembled(count: int, parts: Sequence[Part]) -> Table:
    """Return a table of `count` histograms from parts that together have all numbers."""
    groups: dict[Key, list[Part]] = {}
    for part in parts:
        if len(part[0]):
            groups.setdefault(part[1].key, []).append(part)
    batch, row = np.zeros(count, np.int64), np.zeros(count, np.int64)
    batches: list[Batch] = []
    for members in groups.values():
        numbers = np.concatenate([n for n, _ in members])
        batch[numbers], row[numbers] = len(batches), np.arange(len(numbers))
        batches.append(joined([b for _, b in members]))
    return Table(tuple(batches), batch, row)


def concatenated(tables: Sequence[Table]) -> Table:
    """Return the histograms of all tables, one table after the other."""
    if len(tables) == 1:
        return tables[0]
    parts: list[Part] = []
    first = 0
    for table in tables:
        parts.extend((numbers + first, batch) for numbers, batch in table.parts())
        first += len(table)
    return assembled(first, parts)


def merged(columns: Sequence[tuple[Floats, Table | None]]) -> tuple[list[Floats], Table | None]:
    """Return columns of values whose handles stand for the histograms of one table, and that table."""
    tables = [t for _, t in columns if t is not None]
    if not tables:
        return [values for values, _ in columns], None
    out, before = [], 0
    for values, table in columns:
        out.append(values if table is None else shifted(values, before))
        before += 0 if table is None else len(table)
    return out, concatenated(tables)


def narrowed(values: Floats, present: Mask, table: Table) -> tuple[Floats, Table | None]:
    """Return values and the table of just the histograms that are present among them."""
    at = np.flatnonzero(present & is_handle(values))
    if not len(at):
        return values, None
    numbers, places = np.unique(numbers_of(values.ravel()[at]), return_inverse=True)
    out = np.array(values)
    out.flat[at] = handles(0, len(numbers))[places]
    return out, table.take(numbers)
