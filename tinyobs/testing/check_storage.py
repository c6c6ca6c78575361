"""The contracts `Storage`, `Querier` and `Selection` of `tinyobs.abc`, executable.

The promises are in `storage_contract`, one function each, and each is checked on a new storage.  What only a power
failure shows, durability, is not checked here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from enum import StrEnum
from typing import Final

from ..abc import Storage
from ..model.registry import SeriesRegistry
from .storage_contract import log, optional, reading, threads, writing
from .storage_contract.scene import Scene


class Part(StrEnum):
    """What a storage may leave out."""

    OUT_OF_ORDER = "out of order"
    HISTOGRAMS = "histograms"
    START_TIMES = "start times"
    EXEMPLARS = "exemplars"
    DELETE = "delete"
    CARDINALITY = "cardinality"
    SNAPSHOT = "snapshot"
    LOG = "log"


PROMISES: Final[tuple[Callable[[Scene], object], ...]] = (
    reading.check_new,
    writing.check_results,
    reading.check_ranges,
    reading.check_blocks,
    reading.check_matchers,
    reading.check_labels,
    reading.check_views,
    reading.check_stopping,
    writing.check_bits,
    writing.check_handles,
    writing.check_extreme_times,
    writing.check_repeats,
    writing.check_metadata,
    writing.check_background,
    writing.check_many_series,
    threads.check_concurrency,
    writing.check_end,
)
"""What every storage keeps."""

OPTIONAL: Final[dict[Part, Callable[[Scene], bool]]] = {
    Part.OUT_OF_ORDER: writing.check_order,
    Part.HISTOGRAMS: optional.check_histograms,
    Part.START_TIMES: optional.check_starts,
    Part.EXEMPLARS: optional.check_exemplars,
    Part.DELETE: optional.check_delete,
    Part.CARDINALITY: optional.check_cardinality,
    Part.SNAPSHOT: optional.check_snapshot,
    Part.LOG: log.check_log,
}


def check_storage(
    make: Callable[[SeriesRegistry], Storage],
    now_ms: int = 1_700_000_000_000,
    required: Collection[Part] = (),
) -> frozenset[Part]:
    """Check an implementation; return the optional parts that it has.

    make: gives a new, empty storage whose clock stands at `now_ms` and which keeps samples of the hour before; it is
    called for every promise.  required: parts that must be there.  Raises `AssertionError` for the first promise that
    is not kept, with its words.
    """
    for promise in PROMISES:
        _keep(promise, make, now_ms)
    found = frozenset(part for part, promise in OPTIONAL.items() if _keep(promise, make, now_ms))
    missing = [part for part in Part if part in required and part not in found]
    assert not missing, f"the storage has no {', '.join(missing)}"
    return found


def _keep(promise: Callable[[Scene], object], make: Callable[[SeriesRegistry], Storage], now_ms: int) -> bool:
    """Check one promise on a new storage."""
    registry = SeriesRegistry()
    storage = make(registry)
    assert storage.registry is registry, "the storage numbers series by the registry that it is given"
    try:
        return bool(promise(Scene(storage, now_ms)))
    finally:
        storage.close()
