"""Go's container/heap, replayed: which of equal values `topk` keeps, and in which order.

Only used where values tie or NaN takes part; see `aggregate_picks.py`.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence


def survivors(values: Sequence[float], k: int, *, largest: bool) -> list[int]:
    """Return the positions that a heap of `k` places keeps when it sees all values, in heap order."""
    sign = 1.0 if largest else -1.0
    keys = [v * sign for v in values]
    heap: list[int] = []
    for i, key in enumerate(keys):
        if len(heap) < k:
            heap.append(i)
            _up(heap, keys)
        elif keys[heap[0]] < key or (keys[heap[0]] != keys[heap[0]] and key == key):
            heap[0] = i
            _down(heap, keys)
    return heap


def ordered(heap: Sequence[int], values: Sequence[float], *, largest: bool) -> list[int]:
    """Return heap positions best first; NaN comes last, ties stay in heap order."""
    sign = 1.0 if largest else -1.0

    def compare(i: int, j: int) -> int:
        a, b = values[i] * sign, values[j] * sign
        if a != a or b != b:
            return int(a != a) - int(b != b)
        return -1 if a > b else int(a < b)

    return sorted(heap, key=functools.cmp_to_key(compare))


def _less(a: float, b: float) -> bool:
    return a != a or a < b


def _up(heap: list[int], keys: Sequence[float]) -> None:
    j = len(heap) - 1
    while j > 0:
        i = (j - 1) // 2
        if not _less(keys[heap[j]], keys[heap[i]]):
            return
        heap[i], heap[j] = heap[j], heap[i]
        j = i


def _down(heap: list[int], keys: Sequence[float]) -> None:
    i, n = 0, len(heap)
    while (child := 2 * i + 1) < n:
        if child + 1 < n and _less(keys[heap[child + 1]], keys[heap[child]]):
            child += 1
        if not _less(keys[heap[child]], keys[heap[i]]):
            return
        heap[i], heap[child] = heap[child], heap[i]
        i = child
