"""Histograms at single moments: what an instant selector yields, and their negation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import evolve

from ...model.columns import SeriesColumns
from ...model.histograms import is_handle
from ..arrays import Indexes
from ..blocks import Block
from ..instants import newest
from .arithmetic import scaled
from .extended import smoothed_instants
from .samples import hinted, table_of

if TYPE_CHECKING:
    from ..evaluate import Evaluation
    from ..plan import Instant


def instants(
    evaluation: Evaluation, node: Instant, first: int, columns: SeriesColumns, lookback_ms: int | Indexes
) -> Block:
    """Return the block of an instant selector over series with histograms."""
    if node.statistics:
        columns = hinted(columns)
    assert columns.histograms is not None
    if node.smoothed:
        block = smoothed_instants(evaluation, columns.labels, columns, node.reference, lookback_ms, node.expr)
        return evolve(block, first=first)
    values, _, present = newest(columns, node.reference, lookback_ms)
    values, table = table_of(columns.histograms, values, present)
    return Block(first, values, present, table)


def negated(block: Block) -> Block:
    """Return the negative of floats and histograms."""
    if block.histograms is None:
        return Block(block.first, -block.values, block.present)
    values = np.where(is_handle(block.values), block.values, -block.values)
    table = scaled(block.histograms, np.full(len(block.histograms), -1.0))
    return Block(block.first, values, block.present, table)
