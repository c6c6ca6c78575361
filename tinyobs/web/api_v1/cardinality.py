"""`/status/tsdb` and `/status/cardinality`: which metrics and labels have the most series, and what they take up.

`/status/tsdb` has the fields of Prometheus (web/api/v1/api.go `TSDBStatus`) and those that VictoriaMetrics adds (its
`/api/v1/status/tsdb`); `/status/cardinality` has all that TinyObs knows, under names of its own.  Counting runs in a
worker thread, one at a time, and an answer is good for some seconds.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final

import trio
from starlette.requests import Request
from starlette.responses import Response

from ...model.cardinality import Cardinality, CardinalityQuery, ChurnHour, MetricSize, Ranking
from ..form import Form, read_form
from ..problem import ApiError
from ..services import ApiServices
from . import parameters
from .envelope import success

ENTRIES_DEFAULT: Final = 10
ENTRIES_MAX: Final = 10_000
"""Entries in each list."""
GOOD_SECONDS: Final = 5.0
"""How long an answer is given again."""
KEPT_MAX: Final = 16
"""Answers that are kept."""


class CardinalityApi:
    """The handlers."""

    def __init__(self, services: ApiServices) -> None:
        self._services = services
        self._kept: OrderedDict[CardinalityQuery, tuple[float, Cardinality]] = OrderedDict()
        self._counting = trio.Lock()

    async def tsdb(self, request: Request) -> Response:
        """Answer `/status/tsdb`."""
        form = await read_form(request)
        query = _query(form, "focusLabel")
        found = await self._count(query)
        fields = {
            "headStats": {
                "numSeries": found.series_count,
                "numLabelPairs": found.label_pair_count,
                "chunkCount": found.chunk_count,
                "minTime": found.min_time_ms,
                "maxTime": found.max_time_ms,
            },
            "seriesCountByMetricName": _list(found.series_by_metric),
            "labelValueCountByLabelName": _list(found.values_by_label),
            "memoryInBytesByLabelName": _list(found.bytes_by_label),
            "seriesCountByLabelValuePair": _list(found.series_by_pair),
            "totalSeries": found.series_count,
            "totalLabelValuePairs": found.label_pair_count,
            "seriesCountByLabelName": _list(found.series_by_label),
        }
        if query.focus:
            fields["seriesCountByFocusLabelValue"] = _list(found.series_by_focus)
        return success(fields)

    async def cardinality(self, request: Request) -> Response:
        """Answer `/status/cardinality`."""
        query = _query(await read_form(request), "focus")
        found = await self._count(query)
        return success(
            {
                "series": found.series_count,
                "metrics": found.metric_count,
                "labelNames": found.label_name_count,
                "labelPairs": found.label_pair_count,
                "labelBytes": found.label_bytes,
                "minTime": found.min_time_ms,
                "maxTime": found.max_time_ms,
                "seriesByMetric": _list(found.series_by_metric),
                "seriesByLabel": _list(found.series_by_label),
                "valuesByLabel": _list(found.values_by_label),
                "valueBytesByLabel": _list(found.bytes_by_label),
                "seriesByPair": _list(found.series_by_pair),
                "seriesByFocus": _list(found.series_by_focus),
                "metricSizes": [_size(m) for m in found.metrics],
                "churn": [_hour(h) for h in found.churn],
            }
        )

    async def _count(self, query: CardinalityQuery) -> Cardinality:
        async with self._counting:
            now = trio.current_time()
            kept = self._kept.get(query)
            if kept is not None and now < kept[0] + GOOD_SECONDS:
                return kept[1]
            found = await trio.to_thread.run_sync(self._services.cardinality, query)
            self._kept[query] = (trio.current_time(), found)
            self._kept.move_to_end(query)
            while len(self._kept) > KEPT_MAX:
                self._kept.popitem(last=False)
            return found


def _query(form: Form, focus: str) -> CardinalityQuery:
    """Return what is asked for; raises `ApiError`."""
    if form.get("date"):
        raise ApiError("bad_data", "date is not supported: only series with recent samples are counted")
    top = ENTRIES_DEFAULT
    for name in ("limit", "topN"):
        text = form.get(name)
        if text:
            if not (text.isascii() and text.isdigit() and int(text[:9]) > 0):
                raise ApiError("bad_data", f"{name} must be a positive number")
            top = min(int(text[:9]), ENTRIES_MAX)
    return CardinalityQuery(top, tuple(parameters.selectors(form.all("match[]"))), form.get(focus))


def _list(entries: Ranking) -> list[dict[str, Any]]:
    return [{"name": name, "value": value} for name, value in entries]


def _size(metric: MetricSize) -> dict[str, Any]:
    return {"name": metric.name, "series": metric.series, "samples": metric.samples, "bytes": metric.bytes}


def _hour(hour: ChurnHour) -> dict[str, Any]:
    return {
        "start": hour.start_ms,
        "created": hour.created,
        "gone": hour.gone,
        "createdByMetric": _list(hour.created_by_metric),
        "goneByMetric": _list(hour.gone_by_metric),
    }
