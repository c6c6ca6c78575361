"""The engine: text and a time range in, a `Result` out.

It remembers parsed queries, opens one querier for the range that the plan needs, and puts results in the order that
Prometheus gives them.  Synchronous and thread-safe; run it in worker threads.  Not here: formats of results.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from threading import Lock

import numpy as np
from attrs import Factory, define

from ..abc import Changes, Querier, Queryable
from ..errors import QueryExecutionError
from ..model.columns import SeriesColumns, empty
from .annotations import Annotations
from .blocks import Block, Ranges, Scalar, Text, Value, Vector, cleaned, vector_of
from .crew import Crew, each_block
from .durations import TimeRange
from .evaluate import Evaluation
from .explain import Tracer
from .functions import (
    absence,
    clock,
    conversion,
    histograms,
    info,
    maths,
    native,
    over_time,
    rates,
    relabel,
    sorting,
    trends,
)
from .functions.registry import BUILT_IN, FunctionSet
from .grid import Grid, between, instant
from .label_memory import LabelMemory
from .limits import PARSED_QUERIES_MAX, Budget, EngineOptions, MemoryPool
from .native.codec import encoded
from .native.table import Table, merged, narrowed
from .nodes import Expr, ValueType
from .parser import parse
from .plan import Node, Plan, aggregations_on_top, make_plan
from .printer import to_text
from .raw_ranges import raw_ranges
from .result import QueryStatistics, Result
from .result_cache import ResultCache, is_reusable, piece_of
from .step_counts import FEATURE_PER_STEP, StepCounts

Check = Callable[[], None]
Known = Callable[[Plan], dict[int, Vector]]

FUNCTION_FAMILIES = (
    absence, clock, conversion, histograms, info, maths, native, over_time, rates, relabel, sorting, trends,
)  # fmt: skip
"""The modules whose import registers the functions of the language."""


@define(eq=False)
class Run:
    """A query under way: what all phases share."""

    text: str
    expr: Expr
    plan: Plan
    times: TimeRange
    options: EngineOptions
    started: float
    budget: Budget
    annotations: Annotations
    crew: Crew
    labels: LabelMemory
    observe: Callable[[Node, Value], Value] | None = None
    prepared: float = 0.0
    known: dict[int, Vector] = Factory(dict)
    """Values of some nodes, by identity, that are there already."""
    step_counts: StepCounts | None = None

    def statistics(self) -> QueryStatistics:
        """Return what the query cost so far."""
        now = time.perf_counter()
        return QueryStatistics(
            samples_read=self.budget.samples_read,
            samples_peak=self.budget.peak,
            series=self.budget.series,
            prepare_seconds=self.prepared - self.started,
            evaluate_seconds=now - self.prepared,
            steps=None if self.step_counts is None else (self.plan.grid.times(), self.step_counts.counts),
        )


@define(eq=False)
class PromqlEngine:
    """Evaluates PromQL over anything that gives queriers.

    functions: the functions that queries may call, those of plugins among them (`plugin_functions.py`).
    memory: what all running queries share.  results: where those of range queries are remembered.
    """

    options: EngineOptions = Factory(EngineOptions)
    functions: FunctionSet = BUILT_IN
    memory: MemoryPool | None = None
    crew: Crew = Factory(Crew)
    labels: LabelMemory = Factory(LabelMemory)
    results: ResultCache | None = None
    _parsed: dict[str, Expr] = Factory(dict)
    _reusable: dict[str, bool] = Factory(dict)
    _lock: Lock = Factory(Lock)

    def parse(self, text: str) -> Expr:
        """Return the checked tree of a query; `QueryParseError` when it is none."""
        found = self._parsed.get(text)
        if found is None:
            found = parse(text, features=self.options.features, functions=self.functions.signatures)
            with self._lock:
                while len(self._parsed) >= PARSED_QUERIES_MAX:
                    self._parsed.pop(next(iter(self._parsed)))
                self._parsed[text] = found
        return found

    def instant(
        self,
        queryable: Queryable,
        text: str,
        time_ms: int,
        *,
        lookback_ms: int | None = None,
        timeout_seconds: float | None = None,
        resolution_ms: int | None = None,
        check: Check | None = None,
        observe: Callable[[Node, Value], Value] | None = None,
        watch: Callable[[Budget], None] | None = None,
        per_step: bool = False,
    ) -> Result:
        """Evaluate a query at one moment; `resolution_ms` asks for a downsampling tier (0 for none).

        watch: gets the meter of the query before it is evaluated.  per_step: count the samples of each step, where the
        feature `promql-per-step-stats` is on.

        Raises `QueryError`: its subclasses say whether the text, the time or the data are at fault.
        """
        times = TimeRange(time_ms, time_ms, 0)
        with _bounded_depth():
            run = self.start(text, instant(time_ms), times, lookback_ms, timeout_seconds, check, observe, resolution_ms)
            self._watch(run, watch, per_step)
            return self.finish(queryable, run)

    def range(
        self,
        queryable: Queryable,
        text: str,
        start_ms: int,
        end_ms: int,
        step_ms: int,
        *,
        lookback_ms: int | None = None,
        timeout_seconds: float | None = None,
        resolution_ms: int | None = None,
        check: Check | None = None,
        observe: Callable[[Node, Value], Value] | None = None,
        watch: Callable[[Budget], None] | None = None,
        fresh: bool = False,
        per_step: bool = False,
    ) -> Result:
        """Evaluate a query at every step from `start_ms` to `end_ms`, both included.

        fresh: evaluate all steps, also those that are remembered, as `per_step` does.
        Raises `QueryError` as `instant` does; a result that is no vector and no scalar is an error.
        """
        if step_ms <= 0 or end_ms < start_ms:
            raise QueryExecutionError("a range query needs a positive step and an end that is not before its start")

        def evaluate(first_ms: int, last_ms: int, known: Known | None = None) -> Result:
            grid, times = between(first_ms, last_ms, step_ms), TimeRange(first_ms, last_ms, step_ms)
            with _bounded_depth():
                run = self.start(text, grid, times, lookback_ms, timeout_seconds, check, observe, resolution_ms)
                self._watch(run, watch, per_step)
                if known is not None:
                    run.known = known(run.plan)
                return self.finish(queryable, run)

        changes: Changes | None = getattr(queryable, "changes", None)
        special = fresh or per_step or resolution_ms is not None or observe is not None or self.options.points_max
        if self.results is None or changes is None or special or not self._is_reusable(text):
            return evaluate(start_ms, end_ms)
        key = text, step_ms, start_ms % step_ms, lookback_ms
        if not self.results.is_annotated(key):
            return self.results.range(key, between(start_ms, end_ms, step_ms), changes, evaluate)

        def aggregated(inner: str) -> Result:
            return self.range(queryable, inner, start_ms, end_ms, step_ms, lookback_ms=lookback_ms, check=check)

        result = evaluate(start_ms, end_ms, partial(self._known_parts, aggregated))
        if not result.warnings and not result.infos:
            self.results.forget(key)
        return result

    def _known_parts(self, aggregated: Callable[[str], Result], plan: Plan) -> dict[int, Vector]:
        """Return the aggregations near the top of a plan whose results are remembered, by the identity of their nodes.

        So a query whose whole result cannot be remembered, since an annotation is about the whole range, is still quick.
        """
        known: dict[int, Vector] = {}
        if self.options.delayed_name_removal:  # the results have lost what is to be removed later
            return known
        for node in aggregations_on_top(plan):
            text = to_text(node.expr)
            if self._is_reusable(text):
                result = aggregated(text)
                if not result.warnings and not result.infos and result.columns.histograms is None:
                    piece = piece_of(result.columns, plan.grid)
                    known[id(node)] = vector_of(piece.labels, piece.values, piece.mask())
        return known

    def _watch(self, run: Run, watch: Callable[[Budget], None] | None, per_step: bool) -> None:
        """Let others see how a query fares, and count its samples by step."""
        if watch is not None:
            watch(run.budget)
        if per_step and FEATURE_PER_STEP in self.options.features:
            run.step_counts = StepCounts(run.plan)

    def _is_reusable(self, text: str) -> bool:
        """Tell whether steps of a query may be used again."""
        found = self._reusable.get(text)
        if found is None:
            found = is_reusable(self.parse(text))
            with self._lock:
                while len(self._reusable) >= PARSED_QUERIES_MAX:
                    self._reusable.pop(next(iter(self._reusable)))
                self._reusable[text] = found
        return found

    def start(
        self,
        text: str,
        grid: Grid,
        times: TimeRange,
        lookback_ms: int | None = None,
        timeout_seconds: float | None = None,
        check: Check | None = None,
        observe: Callable[[Node, Value], Value] | None = None,
        resolution_ms: int | None = None,
    ) -> Run:
        """Parse and plan a query."""
        started = time.perf_counter()
        options = self.options
        limit = options.timeout_seconds if timeout_seconds is None else timeout_seconds
        budget = Budget(options, time.monotonic() + limit if limit else 0.0, check, self.memory)
        expr = self.parse(text)
        plan = make_plan(
            expr,
            grid,
            times,
            lookback_ms=options.lookback_ms if lookback_ms is None else lookback_ms,
            subquery_step_ms=options.subquery_step_ms,
            functions=self.functions,
            resolution_ms=resolution_ms,
        )
        annotations, prepared = Annotations(text), time.perf_counter()
        shared = self.crew, self.labels
        return Run(text, expr, plan, times, options, started, budget, annotations, *shared, observe, prepared)

    def finish(self, queryable: Queryable, run: Run) -> Result:
        """Evaluate a planned query."""
        kind = run.plan.root.type
        if run.times.step_ms and kind in (ValueType.MATRIX, ValueType.STRING):
            raise _not_over_a_range(kind)
        if isinstance(run.observe, Tracer):
            run.observe.begin(run.plan)
        # Division by zero, overflow and the like have results in PromQL; nothing here may warn about them.
        try:
            with np.errstate(all="ignore"), queryable.querier(*run.plan.range_ms()) as querier:
                columns, text = _evaluated(run, querier)
        finally:
            run.budget.close()
        shown = ValueType.MATRIX if run.times.step_ms else kind
        return Result(
            type=shown,
            columns=columns,
            time_ms=run.times.end_ms,
            text=text,
            warnings=run.annotations.warnings(),
            infos=run.annotations.infos(),
            statistics=run.statistics(),
        )


def _evaluated(run: Run, querier: Querier) -> tuple[SeriesColumns, str]:
    """Return the columns of the result and its text."""
    evaluation = Evaluation(
        run.plan,
        querier,
        run.options,
        run.budget,
        run.annotations,
        run.times,
        run.crew,
        run.labels,
        run.observe,
        run.known,
        run.step_counts,
    )
    root = run.plan.root
    return _columns(run, raw_ranges(evaluation, root) if root.type is ValueType.MATRIX else evaluation.evaluate(root))


@contextmanager
def _bounded_depth() -> Iterator[None]:
    """Turn running out of stack into an error of the query.

    The parser bounds the height of trees well below that; a caller deep in its own stack may still get there.
    """
    try:
        yield
    except RecursionError:
        raise QueryExecutionError("expression is nested too deeply to be evaluated") from None


def _not_over_a_range(kind: ValueType) -> QueryExecutionError:
    name = "range vector" if kind is ValueType.MATRIX else "string"
    error = QueryExecutionError(f'invalid expression type "{name}" for range query, must be Scalar or instant Vector')
    error.kind = "bad_data"
    return error


def _columns(run: Run, value: Value) -> tuple[SeriesColumns, str]:
    """Return the columns of a result and its text."""
    if isinstance(value, Text):
        return empty(), value.value
    if isinstance(value, Ranges):
        return value.columns, ""
    times = run.plan.grid.times()
    if isinstance(value, Scalar):
        return SeriesColumns([()], np.array([0, len(times)], np.int64), times, value.values.astype(np.float64)), ""
    vector = cleaned(value)
    return _of_vector(run, vector, in_order=run.times.step_ms != 0), ""


def _of_vector(run: Run, vector: Vector, *, in_order: bool) -> SeriesColumns:
    """Return the points of a vector; series that have none are left out, a range query's are sorted by labels."""
    times = run.plan.grid.times()
    counts = np.zeros(len(vector), np.int64)
    stamps, values = [], []
    tables: list[Table | None] = []

    def work(block: Block) -> tuple[Block, np.ndarray, np.ndarray]:
        return block, *_points(block, times)

    for block, found, moments in each_block(vector, work, run.crew, run.budget.poll):
        run.budget.poll()
        counts[block.first : block.first + len(block)] = block.present.sum(axis=1)
        run.budget.hold(len(found) + (0 if block.histograms is None else block.histograms.size))
        values.append(found)
        stamps.append(moments)
        tables.append(block.histograms)
    run.budget.give(int(counts.sum()))
    offsets = np.zeros(len(vector) + 1, np.int64)
    np.cumsum(counts, out=offsets[1:])
    if not values:
        return empty()
    values, table = merged(list(zip(values, tables, strict=True)))
    all_values, all_stamps = np.concatenate(values), np.concatenate(stamps)
    rows = np.flatnonzero(counts).tolist()
    if in_order:
        ordered = sorted(rows, key=vector.labels.__getitem__)
        if ordered != rows:
            lengths = counts[ordered]
            moved = offsets[ordered] - np.concatenate(([0], np.cumsum(lengths)[:-1]))
            index = np.repeat(moved, lengths) + np.arange(lengths.sum())
            all_values, all_stamps, rows = all_values[index], all_stamps[index], ordered
    final = np.zeros(len(rows) + 1, np.int64)
    np.cumsum(counts[rows], out=final[1:])
    labels = [vector.labels[i] for i in rows]
    if table is None:
        return SeriesColumns(labels, final, all_stamps, all_values)
    all_values, table = narrowed(all_values, np.ones(len(all_values), np.bool_), table)
    return SeriesColumns(labels, final, all_stamps, all_values, None if table is None else encoded(table))


def _points(block: Block, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (values, times) of the present points of a block, flat."""
    if block.present.all():
        return np.ascontiguousarray(block.values).reshape(-1), np.tile(times, len(block))
    return block.values[block.present], np.broadcast_to(times, block.present.shape)[block.present]
