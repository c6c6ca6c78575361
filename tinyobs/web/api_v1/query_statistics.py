"""What an answer says of its query: `stats`, in the shape of Prometheus (util/stats/query_stats.go), and `explain`, ours."""

from __future__ import annotations

from typing import Any

from ...promql.arrays import Indexes
from ...promql.explain import Step
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


def shown_step(step: Step) -> dict[str, Any]:
    """Return a part of a plan with the parts below it; what was not run has no figures."""
    out: dict[str, Any] = {"kind": step.what, "query": step.text, "steps": step.steps}
    if step.series >= 0:
        out |= {"series": step.series, "points": step.points, "seconds": step.seconds}
    if step.samples >= 0:
        out |= {
            "selection": step.source,
            "samplesRead": step.samples,
            "pagesRead": step.pages,
            "cacheHits": step.cache_hits,
        }
    if step.parts:
        out["parts"] = [shown_step(part) for part in step.parts]
    return out
