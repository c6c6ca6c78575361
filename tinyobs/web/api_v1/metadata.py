"""`/metadata`: types, help texts and units of metrics.

TinyObs keeps one metadata a metric, not one a target; `/targets/metadata` is therefore not served.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from ...model.metadata import MetricMetadata
from ..form import read_form
from ..services import ApiServices
from . import parameters
from .envelope import success


class MetadataApi:
    """The handler of `/metadata`."""

    def __init__(self, services: ApiServices) -> None:
        self._services = services

    async def metadata(self, request: Request) -> Response:
        """Answer `/metadata`."""
        form = await read_form(request)
        limit = parameters.number(form, "limit", -1)
        parameters.number(form, "limit_per_metric", -1)  # there is one entry a metric; only its form is checked
        known = self._services.metadata()
        name = form.get("metric")
        if name:
            chosen = {name: known[name]} if name in known else {}
        else:
            chosen = dict(sorted(known.items()))
        names = list(chosen)[:limit] if limit >= 0 else list(chosen)
        return success({n: [_entry(chosen[n])] for n in names})


def _entry(metadata: MetricMetadata) -> dict[str, str]:
    return {"type": str(metadata.type), "unit": metadata.unit, "help": metadata.help}
