"""The values of evaluation: vectors over a whole grid, streamed in blocks of series.

A `Vector` knows the labels of all its series at once and yields its numbers in blocks, so that temporaries stay in
the cache and an aggregation never holds the full matrix.  Absence is the mask `present`; NaN is a value.  Where native
histograms come, values hold handles (`model.histograms`), and a table beside them says what these stand for; blocks of
floats have none.  `blocks()` may be called more than once: it evaluates again, unless the vector was made from arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Final, TypeAlias

import numpy as np
from attrs import define, evolve, frozen

from ..errors import QueryExecutionError
from ..model.columns import SeriesColumns
from ..model.histograms import is_handle
from ..model.labels import NAME, Labels
from .arrays import Floats as Floats
from .arrays import Indexes as Indexes
from .arrays import Mask as Mask
from .native.table import Table, merged

SAME_LABELS: Final = "vector cannot contain metrics with the same labelset"
RESERVED: Final = frozenset((NAME, "__type__", "__unit__"))
"""The labels that describe a metric and go when an operation changes its meaning."""


@frozen(eq=False)
class Block:
    """Rows `first` .. of a vector: values float64[s, T] and present bool[s, T]; where absent, values mean nothing.

    histograms: what handles among the values stand for; None where all values are floats.
    """

    first: int
    values: Floats
    present: Mask
    histograms: Table | None = None

    def __len__(self) -> int:
        return len(self.values)

    @property
    def size(self) -> int:
        """The numbers it holds: points, and those that make up histograms."""
        return self.values.size if self.histograms is None else self.values.size + self.histograms.size


Stream: TypeAlias = Callable[[], Iterator[Block]]


@define(eq=False)
class Vector:
    """An instant vector over a grid of `steps` moments.

    labels: S label sets.  drop: bool[S], series whose name is to be dropped at the end (delayed name removal), or None
    where no series has that flag.  stream: makes the iterator of blocks, in ascending order, which cover all S rows.
    parts: the same in several pieces, one after the other, that may be evaluated side by side; () where they may not.
    """

    labels: Sequence[Labels]
    steps: int
    stream: Stream
    drop: Mask | None = None
    parts: tuple[Stream, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    def blocks(self) -> Iterator[Block]:
        """Yield the rows in blocks."""
        return self.stream()

    def whole(self) -> Block:
        """Return all rows as one block."""
        parts = list(self.stream())
        if len(parts) == 1:
            return parts[0]
        if not parts:
            return Block(0, np.empty((0, self.steps)), np.empty((0, self.steps), np.bool_))
        values, table = merged([(p.values, p.histograms) for p in parts])
        return Block(0, np.concatenate(values), np.concatenate([p.present for p in parts]), table)

    def dropped(self, rows: Indexes | slice = slice(None)) -> Mask | None:
        """Return the drop flags of some rows."""
        return None if self.drop is None else self.drop[rows]


@frozen(eq=False)
class Scalar:
    """A number for each step: float64[T]."""

    values: Floats


@frozen
class Text:
    """A string."""

    value: str


@frozen(eq=False)
class Ranges:
    """What a range selector at the top of an instant query yields: raw samples."""

    columns: SeriesColumns


Value: TypeAlias = Vector | Scalar | Text | Ranges


def vector_of(
    labels: Sequence[Labels],
    values: Floats,
    present: Mask,
    drop: Mask | None = None,
    histograms: Table | None = None,
) -> Vector:
    """Return a vector made from arrays: values float64[S, T], present bool[S, T]."""
    block = Block(0, values, present, histograms)
    return Vector(labels, values.shape[1], lambda: iter((block,)), drop)


def floats_of(block: Block) -> Block:
    """Return a block without its histograms."""
    if block.histograms is None:
        return block
    return Block(block.first, block.values, block.present & ~is_handle(block.values))


def floats_in(vector: Vector) -> Vector:
    """Return a vector without its histograms."""
    return evolve(vector, stream=lambda: map(floats_of, vector.blocks()))


def nothing(steps: int) -> Vector:
    """Return the vector without a series."""
    return Vector((), steps, lambda: iter(()))


def in_parts(labels: Sequence[Labels], steps: int, parts: tuple[Stream, ...], drop: Mask | None = None) -> Vector:
    """Return a vector whose blocks come in parts, which may be evaluated side by side."""
    return Vector(labels, steps, lambda: chain.from_iterable(part() for part in parts), drop, parts)


def mapped(vector: Vector, labels: Sequence[Labels], change: Callable[[Block], Block], drop: Mask | None) -> Vector:
    """Return a vector with other labels and numbers, row for row."""
    parts = tuple([_mapped(part, change) for part in vector.parts])
    return Vector(labels, vector.steps, lambda: map(change, vector.blocks()), drop, parts)


def _mapped(stream: Stream, change: Callable[[Block], Block]) -> Stream:
    return lambda: map(change, stream())


def compact(vector: Vector) -> tuple[Vector, Block]:
    """Return the vector without series that are absent at every step, evaluated, and its numbers."""
    block = vector.whole()
    some = block.present.any(axis=1)
    if some.all():
        return vector_of(vector.labels, block.values, block.present, vector.drop, block.histograms), block
    rows = np.flatnonzero(some)
    block = Block(0, block.values[rows], block.present[rows], block.histograms)
    labels = [vector.labels[i] for i in rows.tolist()]
    return vector_of(labels, block.values, block.present, vector.dropped(rows), block.histograms), block


def without_name(labels: Sequence[Labels]) -> list[Labels]:
    """Return the label sets without name, type and unit."""
    out = []
    for pairs in labels:
        if pairs and pairs[0][0] == NAME and (len(pairs) < 2 or pairs[1][0] > "__unit__"):
            out.append(pairs[1:])
        else:
            out.append(tuple([p for p in pairs if p[0] not in RESERVED]))
    return out


def unified(vector: Vector, *, merge: bool = True) -> Vector:
    """Return the vector with every label set once.

    Series of the same labels become one when no step has both, else `QueryExecutionError`; without `merge`, any two
    series of the same labels that have a point are an error.
    """
    if len(set(vector.labels)) == len(vector.labels):
        return vector
    vector, block = compact(vector)
    index: dict[Labels, int] = {}
    rows = np.fromiter((index.setdefault(labels, len(index)) for labels in vector.labels), np.int64, len(vector))
    if len(index) == len(vector):
        return vector
    if not merge:
        raise QueryExecutionError(SAME_LABELS)
    count = np.zeros((len(index), vector.steps), np.int32)
    np.add.at(count, rows, block.present)
    if (count > 1).any():
        raise QueryExecutionError(SAME_LABELS)
    values = np.zeros((len(index), vector.steps))
    for i, row in enumerate(rows.tolist()):
        np.copyto(values[row], block.values[i], where=block.present[i])
    drop = None
    if vector.drop is not None:
        drop = np.zeros(len(index), np.bool_)
        drop[rows[::-1]] = vector.drop[::-1]
    return vector_of(list(index), values, count > 0, drop, block.histograms)


def name_dropped(vector: Vector, *, delayed: bool, merge: bool = True) -> Vector:
    """Return the vector after an operation that changes the meaning of its series: names go, now or at the end.

    Where all series have one name, `without_common_name` does the same with less work.
    """
    if delayed:
        return evolve(vector, drop=np.ones(len(vector), np.bool_))
    return unified(evolve(vector, labels=without_name(vector.labels)), merge=merge)


def without_common_name(labels: Sequence[Labels]) -> list[Labels] | None:
    """Return the label sets without the name when it is the same everywhere, so that they stay distinct; else None."""
    if not labels or not labels[0] or labels[0][0][0] != NAME:
        return None
    head = labels[0][0]
    bare = [x[1:] for x in labels if x and x[0] == head and (len(x) < 2 or x[1][0] > "__unit__")]
    return bare if len(bare) == len(labels) else None


def cleaned(vector: Vector) -> Vector:
    """Return the vector after the delayed removal of names."""
    if vector.drop is None or not vector.drop.any():
        return unified(vector)
    bare = without_name(vector.labels)
    flags = vector.drop.tolist()
    labels = [short if flag else full for full, short, flag in zip(vector.labels, bare, flags, strict=True)]
    return unified(evolve(vector, labels=labels, drop=None))
