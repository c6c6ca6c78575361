"""From a checked syntax tree and a query's time range to a plan: a tree whose every node knows its grid.

The planner resolves offsets, `@` and computed durations, finds the time range that each selector needs (a *source*;
equal ones are shared, and selected once), lays out the grids of subqueries, folds constants, and marks what gives the
same at every step, so that it is evaluated once.  It reads nothing; `evaluate.py` runs the plan.
"""

from __future__ import annotations

from collections.abc import Iterator

from attrs import Factory, define, evolve, field, frozen

from ..model.labels import NAME
from ..model.matchers import Matcher, MatchType, name_is
from ..model.select_hints import SelectHints
from . import nodes
from .durations import TimeRange, resolved_ms
from .functions.registry import BUILT_IN, FunctionSet, Implementation, implementation
from .grid import Grid, instant, subquery
from .nodes import At, AtKind, Duration, Expr, ValueType
from .operators import scalar_operation
from .purpose import Purpose


@frozen
class Source:
    """Series to select, and the time range in which their samples may be needed (both ends included).

    hints: what for.  expr: the first selector that needs it.
    """

    matchers: tuple[Matcher, ...]
    mint_ms: int
    maxt_ms: int
    hints: SelectHints
    expr: Expr = field(eq=False)


@frozen(eq=False)
class Node:
    """A part of a plan.  expr: where it comes from.  type: what it yields.  grid: the steps at which it does."""

    expr: Expr
    type: ValueType
    grid: Grid

    @property
    def steps(self) -> int:
        """The number of steps."""
        return self.grid.steps


@frozen(eq=False)
class Constant(Node):
    """The same number at every step."""

    value: float


@frozen(eq=False)
class Literal(Node):
    """A string."""

    value: str


@frozen(eq=False)
class Instant(Node):
    """The newest sample at most `lookback_ms` old at each moment of `reference`.

    reference: the grid with offset and `@` applied; a single moment stands for all steps.  statistics: of histograms,
    counts and sums alone are wanted, and these are added up: hints tell of each sample whether a reset precedes it.
    """

    source: int
    reference: Grid
    lookback_ms: int
    smoothed: bool
    statistics: bool = False


@frozen(eq=False)
class Samples(Node):
    """The samples in a range before each moment of `reference`; modifier is "", "anchored" or "smoothed".

    statistics: as in `Instant`.
    """

    source: int
    reference: Grid
    range_ms: int
    lookback_ms: int
    modifier: str
    statistics: bool = False


@frozen(eq=False)
class Inner(Node):
    """The points of a subquery, used as samples: `inner` is evaluated on its own grid."""

    inner: Node
    reference: Grid
    range_ms: int


@frozen(eq=False)
class Repeat(Node):
    """What gives the same at every step: `inner` is evaluated at one."""

    inner: Node


@frozen(eq=False)
class CallNode(Node):
    """A function call."""

    function: Implementation
    arguments: tuple[Node, ...]

    @property
    def place(self) -> Expr:
        """What annotations about the first argument point at; of a subquery, upstream forgets where it stands."""
        first = self.arguments[0]
        return evolve(first.expr, start=0) if isinstance(first, Inner) else first.expr


@frozen(eq=False)
class AggregateNode(Node):
    """An aggregation."""

    inner: Node
    parameter: Node | None


@frozen(eq=False)
class BinaryNode(Node):
    """A binary operation."""

    left: Node
    right: Node


@frozen(eq=False)
class Negate(Node):
    """Unary minus."""

    inner: Node


@frozen(eq=False)
class Plan:
    """A planned query.  sources: what to select; a node names a source by its position."""

    root: Node
    sources: tuple[Source, ...]
    grid: Grid

    def range_ms(self) -> tuple[int, int]:
        """Return the earliest and latest time that any source needs."""
        if not self.sources:
            return self.grid.start_ms, self.grid.end_ms
        return min(s.mint_ms for s in self.sources), max(s.maxt_ms for s in self.sources)


def children(node: Node) -> tuple[Node, ...]:
    """Return the parts directly below a node."""
    if isinstance(node, (Inner, Repeat, Negate)):
        return (node.inner,)
    if isinstance(node, CallNode):
        return node.arguments
    if isinstance(node, BinaryNode):
        return (node.left, node.right)
    if isinstance(node, AggregateNode):
        return (node.inner,) if node.parameter is None else (node.parameter, node.inner)
    return ()


def aggregations_on_top(plan: Plan) -> Iterator[AggregateNode]:
    """Yield the aggregations on the grid of the query that only functions and operators stand above."""
    waiting = [plan.root]
    while waiting:
        node = waiting.pop()
        if isinstance(node, AggregateNode):
            if node.grid == plan.grid:
                yield node
        elif not isinstance(node, Inner):
            waiting += children(node)


def make_plan(
    expr: Expr,
    grid: Grid,
    times: TimeRange,
    *,
    lookback_ms: int,
    subquery_step_ms: int,
    functions: FunctionSet = BUILT_IN,
    resolution_ms: int | None = None,
) -> Plan:
    """Return the plan of a checked expression over a grid; `times` is the range of the query itself.

    resolution_ms: the tier that samples shall come from, see `SelectHints`.
    """
    planner = Planner(times, lookback_ms, subquery_step_ms, functions, resolution_ms)
    root = planner.plan(expr, grid)
    return Plan(root, tuple(planner.sources), grid)


@define
class Planner:
    """Plans expressions; collects sources."""

    times: TimeRange
    lookback_ms: int
    subquery_step_ms: int
    functions: FunctionSet = BUILT_IN
    resolution_ms: int | None = None
    sources: dict[Source, int] = Factory(dict)
    _function: str = "[]"
    """The function whose arguments are being planned."""
    _purpose: Purpose = Purpose.WHOLE
    """What histograms are selected for."""

    def plan(self, expr: Expr, grid: Grid) -> Node:
        """Return the plan of an expression on a grid; what does not change from step to step is planned for one."""
        expr = bare(expr)
        if isinstance(expr, nodes.NumberLiteral):
            return Constant(expr, ValueType.SCALAR, grid, expr.value)
        if isinstance(expr, nodes.StringLiteral):
            return Literal(expr, ValueType.STRING, grid, expr.value)
        if grid.steps > 1 and not isinstance(expr, (nodes.MatrixSelector, nodes.Subquery)) and invariant(expr):
            inner = self.changing(expr, instant(grid.start_ms))
            if isinstance(inner, Constant):
                return Constant(expr, inner.type, grid, inner.value)
            return Repeat(expr, inner.type, grid, inner)
        return self.changing(expr, grid)

    def changing(self, expr: Expr, grid: Grid) -> Node:
        """Return the plan of an expression that is no literal, at every step of the grid."""
        if isinstance(expr, nodes.VectorSelector):
            return self.selector(expr, grid)
        if isinstance(expr, nodes.MatrixSelector):
            return self.samples(expr, grid)
        if isinstance(expr, nodes.Subquery):
            return self.subquery(expr, grid)
        if isinstance(expr, nodes.Call):
            return self.call(expr, grid)
        if isinstance(expr, nodes.Aggregate):
            outer, self._purpose = self._purpose, self._purpose.below(expr.op)
            inner = self.plan(expr.expr, grid)
            self._purpose = outer
            parameter = None if expr.parameter is None else self.plan(expr.parameter, grid)
            return AggregateNode(expr, ValueType.VECTOR, grid, inner, parameter)
        if isinstance(expr, nodes.Binary):
            return self.binary(expr, grid)
        if isinstance(expr, nodes.Unary):
            return self.unary(expr, grid)
        raise AssertionError(f"no plan for {type(expr).__name__}")

    def selector(self, expr: nodes.VectorSelector, grid: Grid) -> Node:
        """Plan an instant selector."""
        reference = self.reference(grid, expr.offset, expr.at)
        ahead = self.lookback_ms if expr.smoothed else 0
        before = self.lookback_ms + self.before_first()
        span = reference.start_ms - before + 1, reference.end_ms + ahead
        source = self.source(expr, span, self.hints("", reference, self.lookback_ms))
        return Instant(
            expr,
            ValueType.VECTOR,
            grid,
            source,
            reference,
            self.lookback_ms,
            expr.smoothed,
            self._purpose is Purpose.ADDED,
        )

    def samples(self, expr: nodes.MatrixSelector, grid: Grid) -> Node:
        """Plan a range selector."""
        selector = expr.selector
        range_ms = resolved_ms(expr.range, self.times, positive=True)
        reference = self.reference(grid, selector.offset, selector.at)
        modifier = "anchored" if selector.anchored else "smoothed" if selector.smoothed else ""
        before = range_ms + (self.lookback_ms if modifier else self.before_first())
        after = self.lookback_ms if modifier == "smoothed" else 0
        span = reference.start_ms - before + 1, reference.end_ms + after
        source = self.source(selector, span, self.hints(self._function, reference, range_ms))
        lookback_ms, statistics = self.lookback_ms, self._purpose is Purpose.ADDED
        return Samples(expr, ValueType.MATRIX, grid, source, reference, range_ms, lookback_ms, modifier, statistics)

    def subquery(self, expr: nodes.Subquery, grid: Grid) -> Node:
        """Plan a subquery."""
        range_ms = resolved_ms(expr.range, self.times, positive=True)
        step_ms = self.subquery_step_ms if expr.step is None else resolved_ms(expr.step, self.times, positive=True)
        reference = self.reference(grid, expr.offset, expr.at)
        outer, self._purpose = self._purpose, Purpose.WHOLE
        inner = self.plan(expr.expr, subquery(reference, range_ms, step_ms or self.subquery_step_ms))
        self._purpose = outer
        return Inner(expr, ValueType.MATRIX, grid, inner, reference, range_ms)

    def call(self, expr: nodes.Call, grid: Grid) -> Node:
        """Plan a function call."""
        found = self.functions.implementation(expr.name)
        if found is None:
            raise AssertionError(f"function {expr.name} is declared but not implemented")
        arguments: tuple[Node, ...]
        outer, self._function = self._function, expr.name
        before, self._purpose = self._purpose, self._purpose.below(expr.name)
        if expr.name == "info":
            arguments = (self.plan(expr.args[0], grid), self.info_selector(expr, grid))
        else:
            arguments = tuple([self.plan(a, grid) for a in expr.args])
        self._function, self._purpose = outer, before
        return CallNode(expr, self.functions.signatures[expr.name].returns, grid, found, arguments)

    def info_selector(self, expr: nodes.Call, grid: Grid) -> Node:
        """Plan the selector of info series: the matchers of the second argument, and a name where it asks for none."""
        given = bare(expr.args[1]) if len(expr.args) > 1 else None
        matchers = given.matchers if isinstance(given, nodes.VectorSelector) else ()
        names = [m for m in matchers if m.name == NAME]
        if not names:
            matchers = (name_is("target_info"), *matchers)
        elif not any(m.type in (MatchType.EQUAL, MatchType.REGEX) for m in names):
            matchers = (Matcher(MatchType.REGEX, NAME, ".+_info"), *matchers)
        selector = nodes.VectorSelector("", matchers, start=expr.start, end=expr.end)
        # As upstream: info series are seen as they are at the step, but only samples of the time at which the first
        # selector of the vector looks are read.
        first = first_selector(expr.args[0])
        looks = grid if first is None else self.reference(grid, first.offset, first.at)
        span = looks.start_ms - self.lookback_ms + 1, looks.end_ms
        source = self.source(selector, span, self.hints("", grid, self.lookback_ms))
        return Instant(selector, ValueType.VECTOR, grid, source, grid, self.lookback_ms, smoothed=False)

    def binary(self, expr: nodes.Binary, grid: Grid) -> Node:
        """Plan a binary operation."""
        outer, self._purpose = self._purpose, Purpose.WHOLE
        left, right = self.plan(expr.left, grid), self.plan(expr.right, grid)
        self._purpose = outer
        if isinstance(left, Constant) and isinstance(right, Constant):
            return Constant(expr, ValueType.SCALAR, grid, scalar_operation(expr.op, left.value, right.value))
        scalar = left.type is ValueType.SCALAR and right.type is ValueType.SCALAR
        return BinaryNode(expr, ValueType.SCALAR if scalar else ValueType.VECTOR, grid, left, right)

    def unary(self, expr: nodes.Unary, grid: Grid) -> Node:
        """Plan a sign."""
        inner = self.plan(expr.expr, grid)
        if expr.op == "+":
            return inner
        if isinstance(inner, Constant):
            return Constant(expr, inner.type, grid, -inner.value)
        return Negate(expr, inner.type, grid, inner)

    def reference(self, grid: Grid, offset: Duration, at: At | None) -> Grid:
        """Return the moments at which a selector looks: the grid, or the moment of `@`, moved by the offset."""
        offset_ms = resolved_ms(offset, self.times)
        if at is None:
            return grid.shifted(offset_ms)
        moment = {AtKind.TIME: at.timestamp_ms, AtKind.START: self.times.start_ms, AtKind.END: self.times.end_ms}
        return instant(moment[at.kind] - offset_ms)

    def before_first(self) -> int:
        """Return how far to read ahead of the samples that are needed: where counter resets are told of each (ms)."""
        return self.lookback_ms if self._purpose is Purpose.ADDED else 0

    def hints(self, function: str, reference: Grid, range_ms: int) -> SelectHints:
        """Return what a selector that looks back over a range at some moments is for."""
        step_ms = reference.step_ms if reference.steps > 1 else 0
        return SelectHints(function, reference.start_ms, step_ms, range_ms, self.resolution_ms)

    def source(self, expr: nodes.VectorSelector, span: tuple[int, int], hints: SelectHints) -> int:
        """Return the number of a source."""
        return self.sources.setdefault(Source(expr.matchers, *span, hints, expr), len(self.sources))


def bare(expr: Expr) -> Expr:
    """Return an expression without parentheses around it."""
    while isinstance(expr, nodes.Paren):
        expr = expr.expr
    return expr


def first_selector(expr: Expr) -> nodes.VectorSelector | None:
    """Return the leftmost selector of an expression."""
    if isinstance(expr, nodes.VectorSelector):
        return expr
    found = (first_selector(child) for child in nodes.children(expr))
    return next((selector for selector in found if selector is not None), None)


def invariant(expr: Expr) -> bool:
    """Tell whether an expression gives the same at every step."""
    if isinstance(expr, (nodes.VectorSelector, nodes.Subquery)):
        return expr.at is not None
    if isinstance(expr, nodes.Call):
        found = implementation(expr.name)
        if found is not None and found.timed:
            return False
    return all(invariant(child) for child in nodes.children(expr))
