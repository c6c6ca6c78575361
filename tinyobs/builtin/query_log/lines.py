"""Lines of the query log, with the keys of Prometheus: `params`, `stats`, `error` where there is one, `httpRequest`.

The time stands there twice: as `time`, and as `ts` for what reads logs of Prometheus 2.  Source: prometheus
promql/engine.go `exec`, docs/guides/query-log.
"""

from __future__ import annotations

from typing import Any

from ...exposition.json import dump
from ...log_files import log_time
from ...web.api_v1.query_statistics import shown_statistics
from ...web.queries.finished import FinishedQuery


def line_of(query: FinishedQuery) -> bytes:
    """Return the line for a query, without its end."""
    asked = query.question
    time = log_time(query.ended_ms)
    entry: dict[str, Any] = {
        "time": time,
        "ts": time,
        "level": "INFO",
        "msg": "promql query logged",
        "params": {
            "query": asked.text,
            "start": log_time(asked.start_ms),
            "end": log_time(asked.end_ms),
            "step": asked.step_ms // 1000,
        },
    }
    if query.error:
        entry["error"] = query.error
    entry["stats"] = shown_statistics(query.statistics, query.queued_seconds, query.seconds - query.queued_seconds)
    entry["httpRequest"] = {"clientIP": asked.address, "method": asked.method, "path": asked.path}
    return dump(entry).encode()
