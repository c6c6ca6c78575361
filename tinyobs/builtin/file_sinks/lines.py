"""Records of the log as JSON lines: one line for each series that some records have samples of."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np

from ...abc import Logged
from ...interchange.json_lines_writer import JsonLinesWriter
from ...model.columns import SeriesColumns
from ...model.histograms import joined
from ...model.registry import SeriesRegistry
from ...sinks.chosen import Chosen


def lines_of(records: Sequence[Logged], chosen: Chosen, registry: SeriesRegistry) -> tuple[bytes, int]:
    """Return the lines, and the number of samples in them."""
    batches = [b for b in (chosen.of(r.batch) for r in records) if len(b)]
    if not batches:
        return b"", 0
    refs = np.concatenate([b.refs for b in batches])
    times = np.concatenate([b.timestamps_ms for b in batches])
    values, table = joined([(b.values, b.histograms) for b in batches])
    order = np.lexsort((times, refs))
    series, first = np.unique(refs[order], return_index=True)
    offsets = np.append(first, len(refs)).astype(np.int64)
    labels = [registry.labels(r) for r in series.tolist()]
    out = io.BytesIO()
    JsonLinesWriter(out).write(SeriesColumns(labels, offsets, times[order], values[order], table))
    return out.getvalue(), len(refs)
