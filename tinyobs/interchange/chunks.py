"""What readers of files give: chunks of samples, where in the input they end, and what had to be refused.

A chunk names the place behind it, so that whoever has stored it can have the rest read later: see `Position`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, Final, Protocol

import numpy as np
from attrs import define, field, frozen
from numpy.typing import NDArray

from ..errors import Problem, TinyObsError
from ..model.batch import Batch
from ..model.registry import SeriesRegistry

EXAMPLES_MAX: Final = 10
"""Refused lines that are described; the others are only counted."""
TIME_MS_MAX: Final = 1 << 53
"""Times lie between minus this and this: 285,000 years, and exact in every format."""


@frozen
class Position:
    """A place in an input.

    offset: bytes of its content before it, decompressed; in Parquet row groups.  line: lines (records) before it.
    state: what the reader must know of what came before, in its own notation.
    """

    offset: int = 0
    line: int = 0
    state: str = ""


START: Final = Position()


@frozen(eq=False)
class Chunk:
    """Some samples, in the order of the input, and the place behind them."""

    batch: Batch
    end: Position


class RefusedInput(TinyObsError):
    """An input has a fault and was to be read strictly."""


@define(eq=False)
class Refusals:
    """What is wrong with one input.

    file: its name, for messages.  strict: raise `RefusedInput` at the first fault.
    """

    file: str
    strict: bool = False
    count: int = 0
    examples: list[Problem] = field(factory=list)

    def refuse(self, line: int, column: int, reason: str) -> None:
        """Count a line (or record) that is not taken; line and column count from 1, 0 where that means nothing."""
        problem = Problem(self.file, line, column, reason)
        if self.strict:
            raise RefusedInput(str(problem))
        self.count += 1
        if len(self.examples) < EXAMPLES_MAX:
            self.examples.append(problem)


class Reader(Protocol):
    """A format being read."""

    def read(
        self, stream: BinaryIO, registry: SeriesRegistry, refusals: Refusals, start: Position = START
    ) -> Iterator[Chunk]:
        """Yield the samples from `start` on; series are interned in `registry`.

        Raises `UsageError` where the input as a whole cannot be read, and what `refusals` raises.
        """


def floats_batch(refs: NDArray[np.uint32], times_ms: NDArray[np.int64], values: NDArray[np.float64]) -> Batch:
    """Return a batch of float samples."""
    return Batch(refs, times_ms, values, "import")
