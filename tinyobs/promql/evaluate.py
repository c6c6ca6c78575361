"""Running a plan: the evaluation of one query, and how each kind of node becomes a value.

Vectors are lazy (`blocks.py`): `evaluate` works out labels; the numbers come when somebody asks for blocks.  What a
function, an aggregation or an operator does lives in its own module; here is the way between them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import chain
from typing import Any, Final, TypeAlias, TypeVar

import numpy as np
from attrs import Factory, define, evolve

from ..abc import Querier, Selection
from ..errors import QueryExecutionError
from ..model.columns import SeriesColumns
from . import aggregate, binary
from . import plan as p
from .annotations import Annotations
from .blocks import (
    Block,
    Floats,
    Indexes,
    Mask,
    Scalar,
    Text,
    Value,
    Vector,
    floats_in,
    in_parts,
    mapped,
    name_dropped,
    nothing,
    without_common_name,
)
from .crew import Crew, each_block
from .durations import TimeRange
from .explain import Tracer
from .functions.registry import Kind, extended_names
from .instants import newest
from .label_memory import LabelMemory
from .limits import Budget, EngineOptions
from .native.codec import encoded
from .native.instants import instants, negated
from .native.samples import hinted, pieces
from .native.sizes import extra_samples
from .native.windows import computed
from .nodes import ValueType
from .step_counts import StepCounts
from .windows import Windows, without_stale

_BLOCK_SAMPLES: Final = 1 << 17
"""Samples or points in one block: a megabyte a column, which stays in the second-level cache."""
_GULP_SAMPLES: Final = 1 << 20
"""Samples read at a time: a page is decoded once for all blocks that it has rows in."""
_BLOCK_ROWS_MIN: Final = 64
_BLOCK_ROWS_MAX: Final = 4096
_SCRAPE_INTERVAL_MS: Final = 15_000
"""A guess at the distance of samples, to size blocks before anything is read."""

_MANY_STEPS: Final = 1 << 16
"""More than a range query may have: those of subqueries."""
_BLOCK_POINTS_MAX: Final = 1 << 22
"""Samples or points of a block of few rows, when rows are long."""
_PARTS_LEAST: Final = 4
"""Parts of a source that has enough samples for so many, so that several threads have something to do."""
_PART_SAMPLES_MIN: Final = 1 << 16
"""Samples for which handing them to another thread is worth while."""

T = TypeVar("T")
Samples: TypeAlias = tuple[int, SeriesColumns]
Reading: TypeAlias = Callable[[], Iterator[Samples]]
WindowMaker: TypeAlias = Callable[[], Iterator[tuple[int, Windows]]]
WindowFunction = Callable[[Windows], tuple[Floats, Mask]]


@define(eq=False)
class Evaluation:
    """One query while it runs.  Not thread-safe; used once.

    observe: called for every evaluated node with its value; may return another one (tracing does).  known: values of
    nodes, by identity, that are not evaluated again.
    """

    plan: p.Plan
    querier: Querier
    options: EngineOptions
    budget: Budget
    annotations: Annotations
    times: TimeRange
    crew: Crew
    labels: LabelMemory
    observe: Callable[[p.Node, Value], Value] | None = None
    known: Mapping[int, Vector] = Factory(dict)
    step_counts: StepCounts | None = None
    _selections: dict[int, Selection] = Factory(dict)

    @property
    def delayed(self) -> bool:
        """Whether names are dropped at the end only."""
        return self.options.delayed_name_removal

    def evaluate(self, node: p.Node) -> Value:
        """Return the value of a node."""
        self.budget.poll()
        if self.known and id(node) in self.known:
            return self.known[id(node)]
        if node.steps > _MANY_STEPS:  # a subquery can have any number of them: no array is made before they are counted
            self.budget.hold(node.steps)
        value = _EVALUATORS[type(node)](self, node) if node.steps else _of_no_step(node)
        return value if self.observe is None else self.observe(node, value)

    def vector(self, node: p.Node) -> Vector:
        """Return the value of a node that yields a vector."""
        value = self.evaluate(node)
        assert isinstance(value, Vector)
        return value

    def floats(self, node: p.Node) -> Vector:
        """Return the value of a node that yields a vector, without histograms."""
        return floats_in(self.vector(node))

    def scalar(self, node: p.Node) -> Floats:
        """Return the value of a node that yields a scalar, float64[T]."""
        value = self.evaluate(node)
        assert isinstance(value, Scalar)
        return value.values

    def text(self, node: p.Node) -> str:
        """Return the value of a node that yields a string."""
        assert isinstance(node, p.Literal)
        return node.value

    def dropped(self, vector: Vector, *, merge: bool = True) -> Vector:
        """Return a vector whose names go."""
        if not self.delayed:
            bare = self.labels.get(vector.labels, "bare", without_common_name)
            if bare is not None:
                return evolve(vector, labels=bare)
        return name_dropped(vector, delayed=self.delayed, merge=merge)

    def selection(self, source: int) -> Selection:
        """Return the series of a source; each source is selected once."""
        found = self._selections.get(source)
        if found is None:
            wanted = self.plan.sources[source]
            span = wanted.mint_ms, wanted.maxt_ms
            started = time.perf_counter()
            found = self.querier.select(wanted.matchers, *span, self.budget.poll, wanted.hints)
            if isinstance(self.observe, Tracer):
                found = self.observe.selected(source, found, time.perf_counter() - started)
            self._selections[source] = found
            if not self._is_selected_otherwise(source):
                self.budget.touch(len(found.labels))
            if found.resolution_ms and len(found.labels):
                self.annotations.tier_used(found.resolution_ms, wanted.hints.function, wanted.expr)
        return found

    def _is_selected_otherwise(self, source: int) -> bool:
        """Tell whether the same series were selected for another purpose before."""
        this = self.plan.sources[source]
        others = (self.plan.sources[i] for i in self._selections if i != source)
        return any((o.matchers, o.mint_ms, o.maxt_ms) == (this.matchers, this.mint_ms, this.maxt_ms) for o in others)

    def read(self, source: int, steps: int) -> Iterator[Samples]:
        """Yield (first row, samples) of a source, in blocks that fit the cache."""
        return chain.from_iterable(reading() for reading in self.readings(source, steps))

    def readings(self, source: int, steps: int) -> tuple[Reading, ...]:
        """Return what reads a source: each yields (first row, samples) of successive series, in blocks that fit the cache.

        They stand in order, and may be used side by side.
        """
        selection = self.selection(source)
        wanted = self.plan.sources[source]
        expected = max((wanted.maxt_ms - wanted.mint_ms) // _SCRAPE_INTERVAL_MS, steps, 1)
        least = max(1, min(_BLOCK_ROWS_MIN, _BLOCK_POINTS_MAX // expected))
        rows = min(max(least, _BLOCK_SAMPLES // expected), _BLOCK_ROWS_MAX)
        count = len(selection.labels)
        gulp = min(
            max(_GULP_SAMPLES // expected, rows), max(-(-count // _PARTS_LEAST), _PART_SAMPLES_MIN // expected, 1)
        )
        return tuple([partial(self._gulp, selection, a, min(a + gulp, count), rows) for a in range(0, count, gulp)])

    def _gulp(self, selection: Selection, first: int, last: int, rows: int) -> Iterator[Samples]:
        self.budget.poll()
        columns = selection.read(first, last)
        if columns.starts_ms is not None and not self.options.use_start_timestamps:
            columns = evolve(columns, starts_ms=None)
        self.budget.read(columns.samples)
        for a in range(0, len(columns), rows):
            part = columns.rows(a, min(a + rows, len(columns)))
            if part.histograms is None:
                yield first + a, part
                continue
            for b, piece in pieces(part):
                self.budget.read(extra_samples(piece.histograms))
                yield first + a + b, piece

    def each_block(self, vector: Vector, work: Callable[[Block], T]) -> Iterator[T]:
        """Yield the result of some work on each block of a vector, in order; it may be done in several threads."""
        return each_block(vector, work, self.crew, self.budget.poll)

    def lookback(self, node: p.Instant) -> Indexes | int:
        """Return how far back an instant selector looks: over a bucket at least where coarser samples are left only."""
        rounding = self.selection(node.source).rounding
        if rounding is None:
            return node.lookback_ms
        return np.maximum(node.lookback_ms, rounding.width(node.reference.times()))

    def windows(self, node: p.Node) -> tuple[Vector, Iterator[tuple[int, Windows]]]:
        """Return the series of a range argument (no numbers), and its windows: (first row, windows)."""
        vector, makers = self.window_parts(node)
        return vector, chain.from_iterable(make() for make in makers)

    def window_parts(self, node: p.Node) -> tuple[Vector, tuple[WindowMaker, ...]]:
        """Return the series of a range argument (no numbers), and what makes its windows, as `readings` does."""
        moments = node.grid.times()
        if isinstance(node, p.Samples):
            source, reference, range_ms = node.source, node.reference, node.range_ms
            modifier, lookback_ms = node.modifier, node.lookback_ms
            rounding = self.selection(source).rounding

            def of_samples(reading: Reading) -> Iterator[tuple[int, Windows]]:
                for first, columns in reading():
                    kept = without_stale(columns)
                    if node.statistics and kept.histograms is not None:
                        kept = hinted(kept)
                    windows = Windows(kept, reference, range_ms, moments, modifier, lookback_ms, rounding)
                    yield first, self._counted(node, first, windows)

            makers = tuple([partial(of_samples, reading) for reading in self.readings(source, len(moments))])
            return Vector(self.selection(source).labels, node.steps, lambda: iter(())), makers
        assert isinstance(node, p.Inner)
        inner, times = self.vector(node.inner), node.inner.grid.times()
        reference, range_ms = node.reference, node.range_ms

        def of_points() -> Iterator[tuple[int, Windows]]:
            for block in inner.blocks():
                windows = Windows(self._points(inner, block, times), reference, range_ms, moments)
                yield block.first, self._counted(node, block.first, windows)

        return Vector(inner.labels, node.steps, lambda: iter(()), inner.drop), (of_points,)

    def _counted(self, node: p.Node, first: int, windows: Windows) -> Windows:
        if self.step_counts is not None:
            self.step_counts.of_windows(node, first, windows)
        return windows

    def _points(self, vector: Vector, block: Block, times: np.ndarray) -> SeriesColumns:
        rows, steps = np.nonzero(block.present)
        offsets = np.zeros(len(block) + 1, np.int64)
        np.cumsum(block.present.sum(axis=1), out=offsets[1:])
        self.budget.read(len(rows))
        labels = vector.labels[block.first : block.first + len(block)]
        values, histograms = block.values[rows, steps], None
        if block.histograms is not None:
            histograms = encoded(block.histograms)
        return SeriesColumns(labels, offsets, times[steps], values, histograms)

    def windowed(self, node: p.CallNode, compute: WindowFunction) -> Vector:
        """Return `compute` over the windows of a call's range argument, with the names of the series unchanged."""
        argument = next(a for a in node.arguments if a.type is ValueType.MATRIX)
        self._check_modifier(node, argument)
        series, makers = self.window_parts(argument)

        def stream(make: WindowMaker) -> Iterator[Block]:
            for first, windows in make():
                if windows.columns.histograms is not None:
                    yield computed(self, node, series.labels, first, windows, compute)
                elif len(windows.values):
                    yield Block(first, *compute(windows))
                else:
                    shape = (len(windows.columns), node.steps)
                    yield Block(first, np.zeros(shape), np.zeros(shape, np.bool_))

        return in_parts(series.labels, node.steps, tuple([partial(stream, make) for make in makers]), series.drop)

    def _check_modifier(self, node: p.CallNode, argument: p.Node) -> None:
        modifier = argument.modifier if isinstance(argument, p.Samples) else ""
        if modifier and modifier not in node.function.extended:
            names = ", ".join(extended_names(modifier))
            raise QueryExecutionError(
                f"{modifier} modifier can only be used with: {names} - not with {node.function.name}"
            )


def _of_no_step(node: p.Node) -> Value:
    return Scalar(np.empty(0)) if node.type is ValueType.SCALAR else nothing(0)


def _constant(_: Evaluation, node: p.Constant) -> Value:
    return Scalar(np.full(node.steps, node.value))


def _literal(_: Evaluation, node: p.Literal) -> Value:
    return Text(node.value)


def _instant(evaluation: Evaluation, node: p.Instant) -> Value:
    lookback_ms = evaluation.lookback(node)

    def stream(reading: Reading) -> Iterator[Block]:
        for first, columns in reading():
            if columns.histograms is not None:
                block = instants(evaluation, node, first, columns, lookback_ms)
            else:
                values, _, present = newest(columns, node.reference, lookback_ms, smoothed=node.smoothed)
                block = Block(first, values, present)
            if evaluation.step_counts is not None:
                evaluation.step_counts.of_instants(node, block)
            yield repeated(block, node.steps)

    parts = tuple([partial(stream, reading) for reading in evaluation.readings(node.source, node.steps)])
    return in_parts(evaluation.selection(node.source).labels, node.steps, parts)


def _repeat(evaluation: Evaluation, node: p.Repeat) -> Value:
    value = evaluation.evaluate(node.inner)
    if isinstance(value, Scalar):
        return Scalar(np.repeat(value.values, node.steps))
    assert isinstance(value, Vector)
    return Vector(value.labels, node.steps, lambda: (repeated(b, node.steps) for b in value.blocks()), value.drop)


def repeated(block: Block, steps: int) -> Block:
    """Return a block of one step at every step."""
    if block.values.shape[1] == steps:
        return block
    shape = (len(block), steps)
    present = np.broadcast_to(block.present, shape)
    return Block(block.first, np.broadcast_to(block.values, shape), present, block.histograms)


def _negate(evaluation: Evaluation, node: p.Negate) -> Value:
    value = evaluation.evaluate(node.inner)
    if isinstance(value, Scalar):
        return Scalar(-value.values)
    assert isinstance(value, Vector)
    return evaluation.dropped(mapped(value, value.labels, negated, value.drop))


def _call(evaluation: Evaluation, node: p.CallNode) -> Value:
    function = node.function
    if function.kind is Kind.GENERAL:
        value: Value = function.call(evaluation, node)
        return value
    scalars = [evaluation.scalar(a) for a in node.arguments if a.type is ValueType.SCALAR]
    if function.kind is Kind.WINDOW:
        found = evaluation.windowed(node, lambda windows: function.call(windows, *scalars))
        return found if function.keeps_name else evaluation.dropped(found, merge=False)
    vector = evaluation.floats(next(a for a in node.arguments if a.type is ValueType.VECTOR))

    def change(block: Block) -> Block:
        with np.errstate(all="ignore"):
            return Block(block.first, function.call(block.values, *scalars), block.present)

    found = mapped(vector, vector.labels, change, vector.drop)
    return found if function.keeps_name else evaluation.dropped(found)


def _aggregate(evaluation: Evaluation, node: p.AggregateNode) -> Value:
    return aggregate.aggregated(evaluation, node)


def _binary(evaluation: Evaluation, node: p.BinaryNode) -> Value:
    return binary.operated(evaluation, node)


_EVALUATORS: Final[dict[type[p.Node], Callable[[Evaluation, Any], Value]]] = {
    p.Constant: _constant,
    p.Literal: _literal,
    p.Instant: _instant,
    p.Repeat: _repeat,
    p.Negate: _negate,
    p.CallNode: _call,
    p.AggregateNode: _aggregate,
    p.BinaryNode: _binary,
}
