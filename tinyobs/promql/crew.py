"""A crew of threads that evaluate parts of queries side by side: NumPy and zstd let go of the interpreter while they work.

One crew serves all queries of an engine and has as many threads as the machine has processors, so that many queries
at one time do not slow each other by more threads than can run.  A query hands over a few parts at a time and takes
the results in order; the crew does the parts of several queries in turn.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from itertools import chain
from typing import Final, TypeVar

import numpy as np
from attrs import Factory, define, field

from .blocks import Block, Stream, Vector

T = TypeVar("T")

LOOK_SECONDS: Final = 0.01
"""How often a query that waits for its parts looks whether it is cancelled, or another has its turn."""


@define(eq=False)
class Crew:
    """Threads that start when they are first needed.  size: how many; one or none does everything where it is asked."""

    size: int = Factory(lambda: os.cpu_count() or 1)
    _pool: ThreadPoolExecutor = field(
        init=False, default=Factory(lambda self: ThreadPoolExecutor(max(self.size, 1), "promql"), takes_self=True)
    )

    def in_order(self, parts: Iterable[Callable[[], T]], poll: Callable[[], None]) -> Iterator[T]:
        """Yield the results of parts in their order; what a part raises is raised here, and the others end first.

        poll: called again and again in this thread; raises to stop.
        """
        if self.size < 2:
            for part in parts:
                poll()
                yield part()
            return
        waiting: deque[Future[T]] = deque()
        rest = iter(parts)
        try:
            for part in rest:
                waiting.append(self._pool.submit(_quietly, part))
                if len(waiting) > self.size:
                    yield _result(waiting.popleft(), poll)
            while waiting:
                yield _result(waiting.popleft(), poll)
        finally:
            for future in waiting:
                future.cancel()
            wait(waiting)


def each_block(vector: Vector, work: Callable[[Block], T], crew: Crew, poll: Callable[[], None]) -> Iterator[T]:
    """Yield the result of some work on each block of a vector, in order; done side by side where it comes in parts."""
    if len(vector.parts) < 2:
        return map(work, vector.blocks())
    parts = [partial(_worked, part, work) for part in vector.parts]
    return chain.from_iterable(crew.in_order(parts, poll))


def _worked(part: Stream, work: Callable[[Block], T]) -> list[T]:
    return [work(block) for block in part()]


def _quietly(part: Callable[[], T]) -> T:
    # Division by zero, overflow and the like have results in PromQL; each thread has its own say in that.
    with np.errstate(all="ignore"):
        return part()


def _result(future: Future[T], poll: Callable[[], None]) -> T:
    while not wait((future,), LOOK_SECONDS).done:
        poll()
    return future.result()
