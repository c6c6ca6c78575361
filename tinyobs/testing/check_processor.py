"""The contract of `tinyobs.abc.Processor`, executable."""

from __future__ import annotations

import numpy as np

from ..abc import Processor
from ..model.batch import Batch, Refused
from ..model.labels import from_mapping
from ..model.registry import SeriesRegistry

SERIES_COUNT = 100


def check_processor(processor: Processor, registry: SeriesRegistry) -> None:
    """Check an implementation that was made with services which have this registry.

    Raises `AssertionError` for the first promise that is not kept.
    """
    _check(processor, _batch(registry, 0))
    _check(processor, _batch(registry, SERIES_COUNT))
    _check(processor, _batch(registry, 2 * SERIES_COUNT))  # series that came after the first batch
    again = _batch(registry, SERIES_COUNT)
    one, other = processor.process(again), processor.process(again)
    assert one.refs.tolist() == other.refs.tolist(), "the same batch has the same outcome"


def _check(processor: Processor, batch: Batch) -> None:
    """Process a batch whose arrays cannot be written to."""
    before = [batch.refs.tolist(), batch.timestamps_ms.tolist(), batch.values.tolist()]
    out = processor.process(batch)
    assert isinstance(out, Batch), "a processor returns a batch"
    assert [batch.refs.tolist(), batch.timestamps_ms.tolist(), batch.values.tolist()] == before, (
        "the batch is unchanged"
    )
    assert len(out.refs) == len(out.timestamps_ms) == len(out.values), "columns have one length"
    types = [column.dtype.name for column in (out.refs, out.timestamps_ms, out.values)]
    assert types == ["uint32", "int64", "float64"], "columns keep their types"
    assert set(out.refused) <= set(Refused), "samples are refused for known reasons"
    assert out.origin == batch.origin, "the origin stays"


def _batch(registry: SeriesRegistry, count: int) -> Batch:
    refs = registry.intern_many(from_mapping({"__name__": "check", "n": str(i)}) for i in range(count))
    columns = refs.astype(np.uint32), np.arange(count, dtype=np.int64), np.linspace(-1, 1, count)
    for column in columns:
        column.flags.writeable = False
    return Batch(*columns, "check")
