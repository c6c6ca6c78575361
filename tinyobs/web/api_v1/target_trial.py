"""`/targets/test`: a scrape at once whose samples are shown instead of stored.

Without the admin API only targets that the configuration and its discovery have found are asked: nobody outside may choose
where this server sends requests.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from attrs import evolve
from starlette.requests import Request
from starlette.responses import Response

from ...model.label_text import labels_of_json
from ...relabel import Rule
from ..form import Form, read_form
from ..inbox import while_client_stays
from ..problem import ApiError
from ..services import ApiServices
from ..target_trial import SERIES_SHOWN_DEFAULT, SERIES_SHOWN_MAX, TargetQuestion, TargetTest
from . import parameters
from .envelope import success
from .relabelling import preview_json

ONLY_KNOWN: Final = (
    "admin APIs disabled: only targets that discovery has found can be tested, by 'target' (--web.enable-admin-api "
    "allows any address)"
)


class TargetTestApi:
    """The handler."""

    def __init__(self, services: ApiServices) -> None:
        self._services = services

    async def test(self, request: Request) -> Response:
        """Answer `/targets/test`."""
        form = await read_form(request)
        question = _question(form)
        if self._services.admin is None and (question.address or question.labels):
            raise ApiError("unavailable", ONLY_KNOWN)
        if self._services.test_target is None:
            raise ApiError("unavailable", "nothing is scraped here")
        work = partial(self._answer, question)
        return await while_client_stays(request.receive, work)

    async def _answer(self, question: TargetQuestion) -> Response:
        assert self._services.test_target is not None
        try:
            found = await self._services.test_target(question)
        except LookupError as e:
            raise ApiError("bad_data", str(e.args[0])) from None
        return success(target_test_json(found, self._services.relabelling.show), found.warnings)


def _question(form: Form) -> TargetQuestion:
    pool, target, address = form.get("scrapePool"), form.get("target"), form.get("address")
    text, limit = form.get("labels"), parameters.limit(form)
    if not pool:
        raise ApiError("bad_data", "no scrapePool parameter provided")
    if limit > SERIES_SHOWN_MAX:
        raise parameters.invalid("limit", f"at most {SERIES_SHOWN_MAX} series are shown")
    if target and (address or text):
        raise parameters.invalid("target", "give either a target, or an address and labels")
    question = TargetQuestion(pool, target, address, series_max=limit or SERIES_SHOWN_DEFAULT)
    if not text:
        return question
    try:
        return evolve(question, labels=labels_of_json(json.loads(text)))
    except (ValueError, RecursionError) as e:
        raise ApiError("bad_data", f"error parsing labels: {e}") from None


def target_test_json(found: TargetTest, show: Callable[[Rule], dict[str, object]]) -> dict[str, Any]:
    """Return what a test found as data for JSON."""
    told = found.metric_relabelling
    return {
        "scrapePool": found.pool,
        "discoveredLabels": dict(found.discovered),
        "labels": None if found.labels is None else dict(found.labels),
        "dropped": found.labels is None,
        "relabelSteps": [
            {"rule": show(s.rule), "output": dict(s.after), "keep": s.keep, "matched": s.matched, "reason": s.reason}
            for s in found.relabelling
        ],
        "scrapeUrl": found.url,
        "scrapeInterval": found.interval,
        "scrapeTimeout": found.timeout,
        "error": found.error,
        "limit": found.limit,
        "status": found.status,
        "contentType": found.content_type,
        "contentEncoding": found.content_encoding,
        "bodyBytes": found.body_bytes,
        "expositionBytes": found.exposition_bytes,
        "durationSeconds": found.duration_seconds,
        "samples": found.samples,
        "samplesKept": found.samples_kept,
        "series": [
            {"labels": dict(s.labels), "value": s.value, "timestamp": s.timestamp_ms / 1000} for s in found.series
        ],
        "reports": dict(found.reports),
        "metricRelabelling": None if told is None else preview_json(told, show),
        "metadata": {
            name: {"type": m.type.value, "help": m.help, "unit": m.unit} for name, m in found.metadata.items()
        },
        "metadataCount": found.metadata_count,
        "active": found.is_active,
        "stale": [dict(labels) for labels in found.stale],
        "staleCount": found.stale_count,
    }
