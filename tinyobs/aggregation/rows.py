"""Samples on their way through a rule, as columns."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from ..model.histograms import Histograms
from .arrays import F64, I64


@frozen(eq=False)
class Rows:
    """Samples of input series.  values: with handles of native histograms where there are any; histograms: what these stand for."""

    inputs: I64
    times: I64
    values: F64
    histograms: Histograms | None = None

    def __len__(self) -> int:
        return len(self.inputs)

    def take(self, which: I64 | NDArray[np.bool_] | slice) -> Rows:
        """Return some of them."""
        return Rows(self.inputs[which], self.times[which], self.values[which], self.histograms)

    def pieces(self, rows_max: int) -> Iterator[Rows]:
        """Yield them so many at a time."""
        for i in range(0, len(self), rows_max):
            yield self if len(self) <= rows_max else self.take(slice(i, i + rows_max))
