"""The fast way, first step: a body cut into its metrics and data points, most of it by arrays.

Resources and scopes are stepped over one by one, their metrics all at once, and their points by `cut.py`.  Nothing of a point
is looked at.  What is around the points is taken as bytes, which name a context that is known from then on (`contexts.py`).
Fields may come in any order: SDKs write them ascending, or scalars first, the Collector writes them backwards.  A body with
fields that there are not, with points in more than one piece, or damaged, is left to the general way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

import numpy as np
from attrs import Factory, define, frozen
from numpy.typing import NDArray

from ...errors import WireError
from ...model.block_hash import Blocks
from ...model.label_block import read_varint
from ..field_heads import read_heads
from .cut import cut
from .point_sets import PointSet
from .rules import MetricContext, ResourceContext, ScopeContext

DATA_TAGS: Final = {
    0x2A: "gauge",
    0x3A: "sum",
    0x4A: "histogram",
    0x52: "exponential_histogram",
    0x5A: "summary",
}
"""Tags of a metric's field with its points."""
TEXT_TAGS: Final = frozenset((0x0A, 0x12, 0x1A, 0x62))
"""Tags of the other fields of a metric: name, description, unit, metadata."""
SCALAR_TAGS: Final = (0x10, 0x18)
"""Tags of the other fields of the data, each with one byte: temporality, monotonicity."""

_FIRST: Final = 0x0A
_SECOND: Final = 0x12
_THIRD: Final = 0x1A
_FIELDS_LOOKED_AT: Final = 64
"""Fields of the first `ResourceMetrics` among which its resource is looked for: the Collector puts it behind all scopes."""
_TEXTS_MAX: Final = 4
"""Fields before the data of a metric."""
_IS_DATA: Final = np.isin(np.arange(256), list(DATA_TAGS))
_IS_TEXT: Final = np.isin(np.arange(256), list(TEXT_TAGS))

I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]


@frozen(eq=False)
class Around:
    """The bytes around the points of metrics, of m metrics with data.

    owners: numbers of (resource, scope).  tags: of their data.  before, after: the fields of the metric before and behind
    the data; above, below: the fields of the data before and behind the points.  `after` begins where `below` ends.
    """

    owners: I64
    tags: U8
    before: Blocks
    above: Blocks
    below: Blocks
    after: Blocks


class Contexts(Protocol):
    """What the bytes around points mean; `None`: it needs the general way."""

    def resource(self, message: bytes) -> ResourceContext | None:
        """Return the context of a message `Resource`."""

    def scope(self, message: bytes, schema_url: bytes) -> ScopeContext | None:
        """Return the context of a message `InstrumentationScope`."""

    def owner(self, resource: ResourceContext, scope: ScopeContext) -> int:
        """Return the number of a pair."""

    def metrics(self, around: Around) -> I64 | None:
        """Return the numbers of the contexts of metrics."""

    def context(self, number: int) -> MetricContext:
        """Return the context of that number."""


@frozen(eq=False)
class Walked:
    """Data points by their places in the body, in its order.

    starts, ends: int64[p].  metrics: int64[m], the numbers of the contexts of metrics that have any points.  counts: int64[m],
    how many; begins, stops: int64[m], between where they are.  resources: (context, number of its first point).  before: the
    points of a body before that this one looks like.
    """

    starts: I64
    ends: I64
    metrics: I64
    counts: I64
    begins: I64
    stops: I64
    resources: Sequence[tuple[ResourceContext, int]]
    before: PointSet | None = None

    def __len__(self) -> int:
        return len(self.starts)


def walk(data: U8, body: bytes, contexts: Contexts, points_max: int = 1_000_000) -> Walked | None:
    """Return the points of an `ExportMetricsServiceRequest`, None where it needs the general way, or has too many.

    data: the body with `PADDING_BYTES` behind it.
    """
    found = _Metrics(contexts)
    try:
        for tag, start, end in _parts(body, 0, len(body)):
            if tag != _FIRST or not found.add_resource(body, start, end):
                return None
    except (_UnusualError, WireError, IndexError):
        return None
    return _points(data, len(body), found, contexts, points_max)


def first_resource(body: bytes) -> bytes:
    """Return the resource that a body names first as bytes, b"" where it names none among its first fields."""
    try:
        if body[0] != _FIRST:
            return b""
        size, at = read_varint(body, 1)
        end = at + size
        for _ in range(_FIELDS_LOOKED_AT):
            if at >= end:
                break
            tag = body[at]
            size, at = read_varint(body, at + 1)
            if tag == _FIRST:
                return body[at : at + size]
            at += size
    except (WireError, IndexError):
        pass
    return b""


class _UnusualError(Exception):
    """The body needs the general way."""


@define
class _Metrics:
    """Places of the metrics of a body, with whose they are."""

    contexts: Contexts
    heads: list[int] = Factory(list)
    owners: list[tuple[int, int]] = Factory(list)
    """(number of a pair, number of its first metric)."""
    resources: list[tuple[ResourceContext, int]] = Factory(list)

    def add_resource(self, body: bytes, at: int, end: int) -> bool:
        """Take a `ResourceMetrics`; tells whether that could be done."""
        message, scopes, urls = b"", [], 0
        while at < end:
            tag, size = body[at], body[at + 1]
            at += 2
            if size >= 0x80:
                size, at = read_varint(body, at - 1)
            stop = at + size
            if tag == _SECOND:
                scopes.append((at, stop))
            elif tag == _FIRST and not message:
                message = body[at:stop]
            elif tag == _THIRD:
                urls += 1
            else:
                return False
            at = stop
        resource = self.contexts.resource(message) if urls < 2 and at == end else None
        if resource is None:
            return False
        self.resources.append((resource, len(self.heads)))
        return all(self._add_scope(body, start, stop, resource) for start, stop in scopes)

    def _add_scope(self, body: bytes, at: int, end: int, resource: ResourceContext) -> bool:
        message = schema_url = b""
        first, add = len(self.heads), self.heads.append
        while at < end:
            tag, size = body[at], body[at + 1]
            if tag == _SECOND:
                add(at)
                if size < 0x80:
                    at += size + 2
                elif (high := body[at + 2]) < 0x80:
                    at += size + (high << 7) - 0x7D
                else:
                    size, at = read_varint(body, at + 1)
                    at += size
                continue
            size, at = read_varint(body, at + 1)
            if tag == _FIRST and not message:
                message = body[at : at + size]
            elif tag == _THIRD and not schema_url:
                schema_url = body[at : at + size]
            else:
                return False
            at += size
        scope = self.contexts.scope(message, schema_url) if at == end else None
        if scope is None:
            return False
        self.owners.append((self.contexts.owner(resource, scope), first))
        return True


def _parts(body: bytes, at: int, end: int) -> list[tuple[int, int, int]]:
    """Return (tag, start, end) of fields that have a length; other fields are unusual."""
    out = []
    while at < end:
        tag = body[at]
        if tag & 0x87 != 2:
            raise _UnusualError
        size = body[at + 1]
        at += 2
        if size >= 0x80:
            size, at = read_varint(body, at - 1)
        out.append((tag, at, at + size))
        at += size
    if at > end:
        raise _UnusualError
    return out


def _points(data: U8, size: int, found: _Metrics, contexts: Contexts, points_max: int) -> Walked | None:
    starts, stops = read_heads(data, np.array(found.heads, np.int64))
    owners = _owners(found, len(starts))
    tag_at = _data_fields(data, starts, stops) if (starts >= 0).all() else None
    if tag_at is None:
        return None
    has_data = tag_at < stops
    which = has_data.nonzero()[0]
    if len(which) < len(starts):
        starts, stops, tag_at, owners = starts[which], stops[which], tag_at[which], owners[which]
    inside, inside_end = read_heads(data, tag_at)
    if (inside < 0).any() or (inside_end > stops).any():
        return None
    at = _behind_scalars(data, inside, inside_end)
    pieces = cut(data, size, at, inside_end, points_max)
    if pieces is None:
        return None
    around = Around(
        owners,
        data[tag_at],
        Blocks(data, starts, tag_at - starts),
        Blocks(data, inside, at - inside),
        Blocks(data, pieces.stops, inside_end - pieces.stops),
        Blocks(data, inside_end, stops - inside_end),
    )
    metrics = contexts.metrics(around)
    if metrics is None:
        return None
    counts = np.zeros(len(has_data), np.int64)
    counts[which] = pieces.counts
    before = [0, *counts.cumsum().tolist()]
    resources = [(resource, before[first]) for resource, first in found.resources]
    full = pieces.counts > 0
    return Walked(
        pieces.starts, pieces.ends, metrics[full], pieces.counts[full], at[full], pieces.stops[full], resources
    )


def _owners(found: _Metrics, count: int) -> I64:
    """Return the number of the pair that each of the metrics belongs to."""
    numbers, firsts = np.array(found.owners, np.int64).reshape(-1, 2).T
    sizes = np.empty(len(firsts), np.int64)
    np.subtract(firsts[1:], firsts[:-1], out=sizes[:-1])
    sizes[-1:] = count - firsts[-1:]
    return numbers.repeat(sizes)


def _data_fields(data: U8, starts: I64, stops: I64) -> I64 | None:
    """Return where the data of each metric begins with its tag, its end where it has none; None: some is unusual."""
    at = starts
    for _ in range(_TEXTS_MAX):
        tags = data[at]
        is_text = _IS_TEXT[tags] & (at < stops)
        if not is_text.any():
            break
        at = np.where(is_text, np.minimum(read_heads(data, at)[1], stops + 1), at)
    is_usual = (_IS_DATA[data[at]] | (at == stops)) & (at >= starts) & (at <= stops)
    return at if is_usual.all() else None


def _behind_scalars(data: U8, at: I64, ends: I64) -> I64:
    """Return where the points begin, if there are any, behind fields of one byte each."""
    first, second = SCALAR_TAGS
    for _ in SCALAR_TAGS:
        tags = data[at]
        is_scalar = ((tags == first) | (tags == second)) & (at + 2 <= ends) & (data[at + 1] < 0x80)
        if not is_scalar.any():
            break
        at = at + 2 * is_scalar
    return at
