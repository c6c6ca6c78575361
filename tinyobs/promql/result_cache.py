"""Results of range queries, remembered step by step: asked again, a query evaluates only the steps that may differ.

A step of a range query depends on samples up to that step and on nothing else, if the query is `reusable`.  So results
whose steps lie on the same grid are pieces of one whole.  What was stored or removed since a result was made is told by
the storage (`abc.Changes`): steps from the first changed sample on are evaluated anew, and so are those that were not
asked for yet, which for a dashboard is the last one or two.  Late samples and deletes are changes like any other.

Not remembered are results with annotations, since these belong to the whole range, and with native histograms.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Final

import numpy as np
from attrs import Factory, define, evolve, field, frozen

from ..abc import Changes
from ..model.columns import SeriesColumns, SharedTimes, empty
from ..model.labels import NAME, Labels
from ..model.matchers import MatchType
from . import nodes
from .blocks import Floats, Indexes, Mask
from .grid import Grid, between
from .nodes import Expr, ValueType
from .result import QueryStatistics, Result
from .signatures import FUNCTIONS

BYTES_MAX: Final = 32 << 20
"""Memory for results where nothing else is said."""
SHARE_MAX: Final = 4
"""One result takes no more than the memory of all divided by this."""
STEPS_MAX: Final = 11_000
"""Steps of a result that are kept: as many as one query may have."""
ANNOTATED_MAX: Final = 1000
"""Queries of which it is known that their results have annotations."""
_LABELS_BYTES: Final = 200
"""About what the label set of a series takes."""
_ENTRY_BYTES: Final = 1000

Key = tuple[str, int, int, int | None]
"""Query, step, place of the grid within a step, lookback."""
Evaluate = Callable[[int, int], Result]
"""(first step, last step) -> the result of these."""


@frozen(eq=False)
class Piece:
    """The points of a result on a grid.  values: float64[S, T].  present: bool[S, T], None where all are."""

    grid: Grid
    labels: list[Labels]
    values: Floats
    present: Mask | None

    @property
    def nbytes(self) -> int:
        """Bytes of memory, about."""
        mask = 0 if self.present is None else self.present.nbytes
        return int(self.values.nbytes + mask + _LABELS_BYTES * len(self.labels) + _ENTRY_BYTES)

    def between(self, start_ms: int, end_ms: int) -> Piece:
        """Return the steps in a range."""
        a = max(0, -(-(start_ms - self.grid.start_ms) // self.grid.step_ms))
        grid = between(self.grid.start_ms + a * self.grid.step_ms, min(end_ms, self.grid.end_ms), self.grid.step_ms)
        b = a + grid.steps
        present = None if self.present is None else self.present[:, a:b]
        return Piece(grid, self.labels, self.values[:, a:b], present)

    def followed_by(self, other: Piece) -> Piece:
        """Return the steps of both; `other` begins one step after this piece ends."""
        grid = between(self.grid.start_ms, other.grid.end_ms, self.grid.step_ms)
        if self.labels == other.labels:
            present = None
            if self.present is not None or other.present is not None:
                present = np.concatenate((self.mask(), other.mask()), axis=1)
            return Piece(grid, self.labels, np.concatenate((self.values, other.values), axis=1), present)
        labels = sorted({*self.labels, *other.labels})
        place = {x: i for i, x in enumerate(labels)}
        values, mask = np.zeros((len(labels), grid.steps)), np.zeros((len(labels), grid.steps), np.bool_)
        for piece, a in ((self, 0), (other, self.grid.steps)):
            rows = np.fromiter((place[x] for x in piece.labels), np.int64, len(piece.labels))
            values[rows, a : a + piece.grid.steps] = piece.values
            mask[rows, a : a + piece.grid.steps] = piece.mask()
        return Piece(grid, labels, values, mask)

    def mask(self) -> Mask:
        """Return bool[S, T], which points there are."""
        return np.ones(self.values.shape, np.bool_) if self.present is None else self.present

    def columns(self) -> SeriesColumns:
        """Return the points as columns; series without any are left out."""
        count, steps = self.values.shape
        if not count or not steps:
            return empty()
        times = self.grid.times()
        if self.present is None:
            shared = SharedTimes(np.zeros(count, np.int64), times, np.array([0, steps], np.int64))
            return SeriesColumns(self.labels, np.arange(count + 1) * steps, shared, self.values.reshape(-1))
        counts = self.present.sum(axis=1)
        rows = np.flatnonzero(counts)
        offsets = np.zeros(len(rows) + 1, np.int64)
        np.cumsum(counts[rows], out=offsets[1:])
        stamps = np.broadcast_to(times, self.values.shape)[self.present]
        return SeriesColumns([self.labels[i] for i in rows.tolist()], offsets, stamps, self.values[self.present])


def piece_of(columns: SeriesColumns, grid: Grid) -> Piece:
    """Return the points of the result of a range query."""
    shape = len(columns), grid.steps
    labels = list(columns.labels)
    if columns.samples == shape[0] * shape[1]:
        return Piece(grid, labels, columns.values.reshape(shape), None)
    rows = np.repeat(np.arange(shape[0]), np.diff(columns.offsets))
    steps: Indexes = (columns.timestamps_ms - grid.start_ms) // grid.step_ms
    values, present = np.zeros(shape), np.zeros(shape, np.bool_)
    values[rows, steps], present[rows, steps] = columns.values, True
    return Piece(grid, labels, values, present)


@frozen(eq=False)
class _Entry:
    piece: Piece
    number: int
    """Of the newest change that was seen when the piece was made."""


@define(eq=False)
class ResultCache:
    """Results of range queries within a budget of memory.  Thread-safe."""

    bytes_max: int = BYTES_MAX
    hits: int = field(default=0, init=False)
    """Steps that were not evaluated again."""
    misses: int = field(default=0, init=False)
    """Steps that were evaluated."""
    bytes: int = field(default=0, init=False)
    """Memory taken, about."""
    _entries: OrderedDict[Key, _Entry] = Factory(OrderedDict)
    _annotated: dict[Key, None] = Factory(dict)
    _lock: Lock = Factory(Lock)

    def range(self, key: Key, grid: Grid, changes: Changes, evaluate: Evaluate) -> Result:
        """Return the result of a reusable query over a grid; `evaluate` is asked for what is not known."""
        started = time.perf_counter()
        number = changes.now()
        known = self._known(key, grid, changes)
        first = grid.start_ms if known is None else known.grid.end_ms + grid.step_ms
        if known is not None and first > grid.end_ms:
            self._count(grid.steps, 0)
            seconds = time.perf_counter() - started
            columns = known.between(grid.start_ms, grid.end_ms).columns()
            return Result(ValueType.MATRIX, columns, grid.end_ms, statistics=QueryStatistics(prepare_seconds=seconds))
        result = evaluate(first, grid.end_ms)
        if result.warnings or result.infos or result.columns.histograms is not None:
            self._put(key, None)
            self._note_annotated(key)
            return result if known is None else evaluate(grid.start_ms, grid.end_ms)
        piece = piece_of(result.columns, between(first, grid.end_ms, grid.step_ms))
        self._count(grid.steps - piece.grid.steps, piece.grid.steps)
        if known is not None:
            piece = known.followed_by(piece)
            result = evolve(result, columns=piece.between(grid.start_ms, grid.end_ms).columns())
        self._put(key, _Entry(piece, number))
        return result

    def is_annotated(self, key: Key) -> bool:
        """Tell whether the last result of a query had annotations, or histograms, and so is not remembered."""
        return key in self._annotated

    def forget(self, key: Key) -> None:
        """Take note that a query has no annotations any more."""
        with self._lock:
            self._annotated.pop(key, None)

    def _note_annotated(self, key: Key) -> None:
        with self._lock:
            self._annotated[key] = None
            while len(self._annotated) > ANNOTATED_MAX:
                self._annotated.pop(next(iter(self._annotated)))

    def _known(self, key: Key, grid: Grid, changes: Changes) -> Piece | None:
        """Return the steps that are still right and reach from the first one that is asked for, or before, onwards."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return None
            self._entries.move_to_end(key)
        piece, changed_ms = entry.piece, changes.since(entry.number)
        if piece.grid.start_ms > grid.start_ms:
            return None
        if changed_ms <= piece.grid.end_ms:
            piece = piece.between(piece.grid.start_ms, changed_ms - 1)
        if piece.grid.steps < 1 or piece.grid.end_ms < grid.start_ms:
            return None
        # Some of what lies before the range stays, for whoever looks at a longer one.
        more = max(0, min(grid.steps, STEPS_MAX - grid.steps))
        first = max(piece.grid.start_ms, grid.start_ms - more * grid.step_ms)
        return piece.between(first, piece.grid.end_ms) if first > piece.grid.start_ms else piece

    def _put(self, key: Key, entry: _Entry | None) -> None:
        with self._lock:
            before = self._entries.pop(key, None)
            if before is not None:
                self.bytes -= before.piece.nbytes
            if entry is None or entry.piece.nbytes * SHARE_MAX > self.bytes_max:
                return
            self._entries[key] = entry
            self.bytes += entry.piece.nbytes
            while self.bytes > self.bytes_max:
                self.bytes -= self._entries.popitem(last=False)[1].piece.nbytes

    def _count(self, hits: int, misses: int) -> None:
        with self._lock:
            self.hits += hits
            self.misses += misses


_OF_THE_WHOLE_RANGE: Final = frozenset(("start", "end", "range", "step", "label_replace", "label_join", "info"))
"""Functions that tell of the range, and those that make label sets which must differ over all of it."""


def is_reusable(expr: Expr) -> bool:
    """Tell whether each step of a query depends on nothing but samples up to that step.

    Where names are dropped, series that become alike are an error anywhere in the range; so each selector below must
    name its metric.
    """
    return _is_reusable(expr, under_aggregation=False)


def _is_reusable(expr: Expr, *, under_aggregation: bool) -> bool:
    if isinstance(expr, nodes.VectorSelector):
        named = any(m.name == NAME and m.type is MatchType.EQUAL for m in expr.matchers)
        plain = expr.at is None and isinstance(expr.offset, int) and expr.offset >= 0 and not expr.smoothed
        return plain and (named or under_aggregation)
    if isinstance(expr, nodes.MatrixSelector) and not isinstance(expr.range, int):
        return False
    if isinstance(expr, nodes.Subquery):
        fixed = isinstance(expr.range, int) and (expr.step is None or isinstance(expr.step, int))
        if not fixed or expr.at is not None or not isinstance(expr.offset, int) or expr.offset < 0:
            return False
    if isinstance(expr, nodes.Call) and (expr.name in _OF_THE_WHOLE_RANGE or expr.name not in FUNCTIONS):
        return False  # what a plugin's function depends on is not known
    inside = isinstance(expr, nodes.Aggregate)
    return all(_is_reusable(child, under_aggregation=inside) for child in nodes.children(expr))
