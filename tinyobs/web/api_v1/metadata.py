"""`/metadata` and `/targets/metadata`: types, help texts and units of metrics.

A metric has what its active targets say of it; one that has none, what came last, as by remote write.  Source:
prometheus web/api/v1/api.go `metricMetadata`, `targetMetadata`, where only targets count.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ...errors import QueryParseError
from ...model.labels import Labels, get
from ...model.metadata import MetricMetadata
from ...promql.parser import parse_selector
from ..form import read_form
from ..services import ApiServices, TargetView
from . import parameters
from .envelope import success


class MetadataApi:
    """The handlers."""

    def __init__(self, services: ApiServices) -> None:
        self._services = services

    async def metadata(self, request: Request) -> Response:
        """Answer `/metadata`."""
        form = await read_form(request)
        limit = parameters.number(form, "limit", -1)
        each = parameters.number(form, "limit_per_metric", -1)
        found = self._by_metric(form.get("metric"))
        names = sorted(found)[:limit] if limit >= 0 else sorted(found)
        return success({n: [_entry(m) for m in list(found[n])[: each if each > 0 else None]] for n in names})

    async def of_targets(self, request: Request) -> Response:
        """Answer `/targets/metadata`; the limit ends the list after the target that reaches it, as upstream."""
        form = await read_form(request)
        limit = parameters.number(form, "limit", -1)
        text, name = form.get("match_target"), form.get("metric")
        try:
            matchers = parse_selector(text) if text else ()
        except QueryParseError as e:
            raise parameters.invalid("match_target", e) from None
        out: list[dict[str, Any]] = []
        for target in self._services.targets().active:
            if 0 <= limit <= len(out):
                break
            if all(m.matches(get(target.labels, m.name)) for m in matchers):
                out += _of_target(target.labels, _chosen(target, name), named=not name)
        return success(out)

    def _by_metric(self, name: str) -> dict[str, dict[MetricMetadata, None]]:
        """Return metric -> what is said of it, without repetition; name: "" for all."""
        found: dict[str, dict[MetricMetadata, None]] = {}
        for target in self._services.targets().active:
            for metric, metadata in _chosen(target, name):
                found.setdefault(metric, {})[metadata] = None
        stored = self._services.metadata()
        for metric in (name,) if name else stored:
            if metric in stored and metric not in found:
                found[metric] = {stored[metric]: None}
        return found


def _chosen(target: TargetView, name: str) -> list[tuple[str, MetricMetadata]]:
    """Return what a target says of one metric, of all when the name is "", by name."""
    if name:
        return [(name, target.metadata[name])] if name in target.metadata else []
    return sorted(target.metadata.items())


def _of_target(labels: Labels, said: list[tuple[str, MetricMetadata]], named: bool) -> Iterator[dict[str, Any]]:
    for metric, metadata in said:
        yield {"target": dict(labels), **({"metric": metric} if named else {}), **_entry(metadata)}


def _entry(metadata: MetricMetadata) -> dict[str, str]:
    return {"type": str(metadata.type), "unit": metadata.unit, "help": metadata.help}
