"""The `stats` of a query, in the shape of Prometheus (util/stats/query_stats.go)."""

from __future__ import annotations

from typing import Any

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
            "totalQueryableSamples": found.samples_read,
            "peakSamples": found.samples_peak,
            "samplesRead": found.samples_read,
        },
    }
