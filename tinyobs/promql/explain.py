"""How a query is evaluated: its plan as a tree, and, when it was run, what each part yielded and took.

A `Tracer` is given to the engine as `observe`.  Vectors are lazy, so the time of a part is that of drawing its blocks,
parts below it included.  Not here: the numbers of the whole query (`result.QueryStatistics`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from attrs import Factory, define, evolve, frozen

from ..abc import Selection
from ..model.columns import SeriesColumns
from . import plan as p
from .blocks import Block, Scalar, Value, Vector
from .nodes import Aggregate, Binary
from .plan import Node, Plan, children
from .printer import to_text


@frozen
class Step:
    """One part of a plan.

    what: the kind of work.  text: the expression.  steps: at how many moments.  source: number of the selection that it
    reads, -1 for none.  series, points, seconds: what running it showed; -1 where it was not run.  samples, pages,
    cache_hits: what reading its selection took, whichever parts of the plan read it; -1 for other parts.
    """

    what: str
    text: str
    steps: int
    source: int = -1
    series: int = -1
    points: int = -1
    seconds: float = -1.0
    samples: int = -1
    pages: int = -1
    cache_hits: int = -1
    parts: tuple[Step, ...] = ()

    def lines(self, depth: int = 0) -> Iterator[str]:
        """Yield the tree as indented lines."""
        ran = "" if self.series < 0 else f"  [{self.series} series, {self.points} points, {self.seconds * 1e3:.2f} ms]"
        yield f"{'  ' * depth}{self.what}: {self.text}  ({self.steps} steps){ran}"
        for part in self.parts:
            yield from part.lines(depth + 1)


@define
class _Seen:
    series: int = 0
    points: int = 0
    seconds: float = 0.0


@define
class Tracer:
    """Watches an evaluation; used for one query."""

    plan: Plan | None = None
    _seen: dict[int, _Seen] = Factory(dict)
    _sources: dict[int, _Traced] = Factory(dict)

    def begin(self, plan: Plan) -> None:
        """Take note of what is going to be run."""
        self.plan = plan

    def selected(self, source: int, selection: Selection, seconds: float) -> Selection:
        """Take note of a selection and the seconds that it took; the one that is returned counts what is read."""
        found = self._sources[source] = _Traced(selection, seconds)
        return found

    def __call__(self, node: Node, value: Value) -> Value:
        """Take note of a value; the vector that is returned counts what is drawn from it."""
        if isinstance(value, Scalar):
            self._seen[id(node)] = _Seen(1, len(value.values))
        if not isinstance(value, Vector):
            return value
        seen = self._seen[id(node)] = _Seen(len(value))
        return evolve(value, stream=lambda: _counted(value, seen), parts=())

    def explanation(self, plan: Plan | None = None) -> Step:
        """Return the plan, that which was run by default, with what was seen."""
        wanted = plan or self.plan
        assert wanted is not None
        return _step(wanted.root, self._seen, self._sources)


def explanation(plan: Plan) -> Step:
    """Return a plan that was not run."""
    return _step(plan.root, {}, {})


class _Traced(Selection):
    """A selection that counts what is read of it."""

    def __init__(self, inner: Selection, seconds: float) -> None:
        self.labels, self.resolution_ms, self.rounding = inner.labels, inner.resolution_ms, inner.rounding
        self.samples, self.seconds = 0, seconds
        self.counts = inner.count_reads()
        self._inner = inner

    def read(self, first: int, last: int) -> SeriesColumns:
        started = time.perf_counter()
        columns = self._inner.read(first, last)
        self.seconds += time.perf_counter() - started
        self.samples += columns.samples
        return columns


def _counted(vector: Vector, seen: _Seen) -> Iterator[Block]:
    blocks = vector.blocks()
    while True:
        started = time.perf_counter()
        block = next(blocks, None)
        seen.seconds += time.perf_counter() - started
        if block is None:
            return
        seen.points += int(block.present.sum())
        yield block


def _step(node: Node, seen: dict[int, _Seen], sources: dict[int, _Traced]) -> Step:
    source = node.source if isinstance(node, (p.Instant, p.Samples)) else -1
    found = Step(_kind(node), to_text(node.expr), node.steps, source)
    if (what := seen.get(id(node))) is not None:
        found = evolve(found, series=what.series, points=what.points, seconds=what.seconds)
    if (read := sources.get(source)) is not None:
        cost = read.samples, read.counts.pages, read.counts.cache_hits
        found = evolve(found, samples=cost[0], pages=cost[1], cache_hits=cost[2])
        if found.series < 0:  # the samples of a range are taken as they are, by the part above
            found = evolve(found, series=len(read.labels), points=read.samples, seconds=read.seconds)
        else:
            found = evolve(found, seconds=max(found.seconds, read.seconds))
    return evolve(found, parts=tuple([_step(child, seen, sources) for child in children(node)]))


def _kind(node: Node) -> str:
    if isinstance(node, p.CallNode):
        return f"function {node.function.name}"
    if isinstance(node.expr, Aggregate) and isinstance(node, p.AggregateNode):
        return f"aggregation {node.expr.op}"
    if isinstance(node.expr, Binary) and isinstance(node, p.BinaryNode):
        return f"operator {node.expr.op}"
    return _KINDS[type(node)]


_KINDS: dict[type[Node], str] = {
    p.Constant: "constant",
    p.Literal: "string",
    p.Instant: "selector",
    p.Samples: "range selector",
    p.Inner: "subquery",
    p.Repeat: "once for all steps",
    p.Negate: "negation",
}
