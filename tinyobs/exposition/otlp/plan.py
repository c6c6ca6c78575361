"""The fast way, third step: the samples of a body by the places of their numbers; and bodies that look like one before.

A plan says of each sample which series it is and where in the body its numbers stand.  Exporters send bodies that differ in
nothing but the numbers: a body whose other bytes are those that a plan was made for needs no more than that comparison.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

import numpy as np
from attrs import define, frozen
from numpy.typing import NDArray

from ...model.histograms import without_handles
from .forms import values_of, words_of
from .rules import ResourceContext
from .walk import first_resource

LAYOUT_BYTES_MAX: Final = 64 << 20
"""Bytes of bodies that are remembered, with their plans; the one that was used longest ago goes first."""
MISSES_MAX: Final = 2
"""So many bodies in a row that differ from the remembered one, and only each 64th is remembered instead."""
SEEN_MAX: Final = 4096
"""Hashes of lengths and resources of bodies that came once; with one more all are forgotten."""
_RETRY_EVERY: Final = 64
_LOOK_EVERY: Final = 8
"""And only each 8th is compared with it."""

I64 = NDArray[np.int64]
F64 = NDArray[np.float64]
U64 = NDArray[np.uint64]
U32 = NDArray[np.uint32]


@frozen(eq=False)
class HistogramGroup:
    """Histograms of one form: k points with n buckets.

    sum_at: int64[k], None without sums.  count_at: int64[k], None where all are 0.  counts_at: int64[k, n].
    """

    sum_at: I64 | None
    count_at: I64 | None
    counts_at: I64

    def values(self, words: U64) -> F64:
        """Return the values of all samples, point after point: sum, count, buckets, the last of them +Inf."""
        k, n = self.counts_at.shape
        before = int(self.sum_at is not None)
        out = np.empty((k, n + 1 + before))
        if self.sum_at is not None:
            out[:, 0] = words[self.sum_at].view(np.float64)
        count = words[self.count_at] if self.count_at is not None else np.zeros(k, np.uint64)
        out[:, before] = count
        out[:, before + 1 : -1] = np.cumsum(words[self.counts_at], axis=1, dtype=np.uint64)[:, :-1]
        out[:, -1] = count
        return out.reshape(-1)


@frozen(eq=False)
class Plan:
    """Where the numbers of a body stand.

    time_at: int64[p], of all points.  start_at: int64[p], -1 for none; None where no starts are kept.  values_at: of values of
    numbers; are_ints: which of them are integers.  groups: of histograms.  order: the samples of numbers and groups brought
    into the order of the points, None where they are in it.  refs: uint32[m] and point_of: int64[m], in that order.  more_at: other numbers that
    change.  resources: (resource, number of its first point), each with points.
    """

    time_at: I64
    start_at: I64 | None
    values_at: I64
    are_ints: NDArray[np.bool_]
    groups: Sequence[HistogramGroup]
    order: I64 | None
    refs: U32
    point_of: I64
    counts: NDArray[np.bool_] | None
    """Points whose start is kept."""
    more_at: I64
    resources: Sequence[tuple[ResourceContext, int]]

    def times(self, words: U64) -> U64:
        """Return uint64[p], the times of the points in nanoseconds."""
        return words[self.time_at]

    def values(self, words: U64) -> F64:
        """Return float64[m]."""
        parts = [values_of(words[self.values_at], self.are_ints), *(group.values(words) for group in self.groups)]
        parts = [p for p in parts if len(p)]
        values = parts[0] if len(parts) == 1 else np.concatenate([*parts, np.empty(0)])
        return without_handles(values if self.order is None else values[self.order])

    def starts_ms(self, words: U64) -> I64 | None:
        """Return int64[m], None where no starts are kept."""
        if self.start_at is None or self.counts is None:
            return None
        found = words[np.maximum(self.start_at, 0)] // np.uint64(1_000_000)
        return np.where(self.counts & (self.start_at >= 0), found.view(np.int64), 0)[self.point_of]

    def changing(self) -> I64:
        """Return the places of all numbers that may change from body to body."""
        parts = [self.time_at, self.values_at, self.more_at]
        for g in self.groups:
            parts += [g.counts_at.reshape(-1), *(at for at in (g.sum_at, g.count_at) if at is not None)]
        return np.concatenate(parts)


@define(eq=False)
class _Layout:
    blank: bytes
    """The body with its numbers zero."""
    changing: I64
    plan: Plan
    misses: int = 0

    @property
    def size(self) -> int:
        return len(self.blank) + 8 * (len(self.changing) + 4 * len(self.plan.refs))


class Layouts:
    """Plans of bodies by what they look like.  Not thread-safe."""

    def __init__(self, bytes_max: int = LAYOUT_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._kept: OrderedDict[tuple[int, bytes], _Layout] = OrderedDict()
        self._bytes = 0
        self._seen: set[int] = set()

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, body: bytes) -> Plan | None:
        """Return the plan of a body that looks like one before; not each time where none looked like the one before."""
        key = len(body), first_resource(body)
        layout = self._kept.get(key)
        if layout is None:
            return None
        if layout.misses > MISSES_MAX and layout.misses % _LOOK_EVERY:
            layout.misses += 1
            return None
        blank = bytearray(body)
        words_of(blank)[layout.changing] = 0
        if blank != layout.blank:
            layout.misses += 1
            return None
        layout.misses = 0
        self._kept.move_to_end(key)
        return layout.plan

    def wants(self, body: bytes) -> bool:
        """Tell whether a body is to be remembered; to be asked once for each.

        Not the first of its length and resource, since those of a Collector hardly have a second, and not each time where none looks like the one before.
        """
        key = len(body), first_resource(body)
        before = self._kept.get(key)
        if before is not None:
            return before.misses <= MISSES_MAX or before.misses % _RETRY_EVERY == 0
        sign = hash(key)
        if sign in self._seen:
            return True
        if len(self._seen) >= SEEN_MAX:
            self._seen.clear()
        self._seen.add(sign)
        return False

    def keep(self, body: bytes, plan: Plan) -> None:
        """Remember what a body looks like.  plan: with the places of all numbers."""
        key = len(body), first_resource(body)
        before = self._kept.get(key)
        blank, changing = bytearray(body), plan.changing()
        words_of(blank)[changing] = 0
        made = _Layout(bytes(blank), changing, plan, 0 if before is None else before.misses)
        if made.size > self._bytes_max // 4:
            return
        self._bytes += made.size - (before.size if before is not None else 0)
        self._kept[key] = made
        self._kept.move_to_end(key)
        while self._bytes > self._bytes_max:
            self._bytes -= self._kept.popitem(last=False)[1].size
