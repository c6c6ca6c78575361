"""Numbers of native histograms: count, sum, average and spread of the observations.  Floats are left out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ...model.histograms import is_handle, numbers_of
from ..blocks import Block, Floats, Value, mapped
from ..native.measures import variances
from ..native.table import Table
from .registry import Kind, function

if TYPE_CHECKING:
    from ..evaluate import Evaluation
    from ..plan import CallNode


def _measure(name: str, compute: Callable[[Table], Floats]) -> None:
    """Register a function of single histograms."""

    def change(block: Block) -> Block:
        values = np.zeros(block.values.shape)
        if block.histograms is None:
            return Block(block.first, values, np.zeros(values.shape, np.bool_))
        present = block.present & is_handle(block.values)
        with np.errstate(all="ignore"):
            found = compute(block.histograms)
        values[present] = found[numbers_of(block.values[present])]
        return Block(block.first, values, present)

    def call_it(evaluation: Evaluation, call: CallNode) -> Value:
        vector = evaluation.vector(call.arguments[0])
        return evaluation.dropped(mapped(vector, vector.labels, change, vector.drop))

    function(name, Kind.GENERAL)(call_it)


_measure("histogram_count", Table.counts)
_measure("histogram_sum", Table.sums)
_measure("histogram_avg", lambda table: table.sums() / table.counts())
_measure("histogram_stdvar", variances)
_measure("histogram_stddev", lambda table: np.sqrt(variances(table)))
