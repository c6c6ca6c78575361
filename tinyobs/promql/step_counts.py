"""Samples that a query looks at, step by step: what `stats=all` tells with the feature `promql-per-step-stats`.

As in Prometheus: a sample counts at each step whose window it lies in, an instant selector counts one for each series,
and what a subquery reads counts when its windows are looked at.  A native histogram counts for as many as it is larger.  Source:
prometheus util/stats/query_stats.go (QuerySamples).
"""

from __future__ import annotations

from threading import Lock
from typing import Final

import numpy as np
from attrs import define, field

from .arrays import Indexes
from .blocks import Block
from .native.sizes import samples_in_block, samples_in_windows
from .plan import Inner, Node, Plan, children
from .windows import Windows

FEATURE_PER_STEP: Final = "promql-per-step-stats"


@define(eq=False)
class StepCounts:
    """Counts of one query; several threads may add to them.  counts: int64[T], for each step of the query."""

    plan: Plan
    counts: Indexes = field(init=False)
    _inside: set[int] = field(init=False)
    _seen: set[tuple[int, int]] = field(init=False, factory=set)
    _lock: Lock = field(init=False, factory=Lock)

    def __attrs_post_init__(self) -> None:
        self.counts = np.zeros(self.plan.grid.steps, np.int64)
        self._inside = _inside_subqueries(self.plan.root)

    def of_instants(self, node: Node, block: Block) -> None:
        """Count series of a block that have a sample."""
        self._add(node, block.first, samples_in_block(block).sum(axis=0))

    def of_windows(self, node: Node, first: int, windows: Windows) -> None:
        """Count the samples in the windows of a block."""
        self._add(node, first, samples_in_windows(windows).sum(axis=0))

    def _add(self, node: Node, first: int, counts: Indexes) -> None:
        """Add the counts of a block, once; what is evaluated at one moment counts at each step."""
        key = id(node), first
        with self._lock:
            if key not in self._seen and id(node) not in self._inside:
                self._seen.add(key)
                self.counts += counts


def _inside_subqueries(node: Node, inside: bool = False) -> set[int]:
    """Return the nodes, by identity, whose samples count at the steps of a subquery."""
    found = {id(node)} if inside else set()
    for child in children(node):
        found |= _inside_subqueries(child, inside or isinstance(node, Inner))
    return found
