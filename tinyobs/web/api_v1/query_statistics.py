"""The `stats` of a query, in the shape of Prometheus (util/stats/query_stats.go)."""

from __future__ import annotations

from typing import Any

from ...promql.arrays import Indexes
from ...promql.result import QueryStatistics


def shown_statistics(found: QueryStatistics, queued_seconds: float, seconds: float) -> dict[str, Any]:
    """Return the statistics as they are shown; seconds: without the time in the queue."""
    return {
        "timings": {
            "evalTotalTime": seconds,
            "resultSortTime": 0,
            "queryPreparationTime": found.prepare_seconds,
            "innerEvalTime": found.evaluate_seconds,
            "execQueueTime": queued_seconds,
            "execTotalTime": queued_seconds + seconds,
        },
        "samples": {
            **({} if found.steps is None else {"totalQueryableSamplesPerStep": _steps(*found.steps)}),
            "totalQueryableSamples": found.samples_read if found.steps is None else int(found.steps[1].sum()),
            "peakSamples": found.samples_peak,
            "samplesRead": found.samples_read,
        },
    }


def _steps(times_ms: Indexes, counts: Indexes) -> list[tuple[float, int]]:
    """Return (time in seconds, samples) of each step; whole seconds are whole numbers, as Go writes them."""
    seconds = [ms // 1000 if ms % 1000 == 0 else ms / 1000 for ms in times_ms.tolist()]
    return list(zip(seconds, counts.tolist(), strict=True))
