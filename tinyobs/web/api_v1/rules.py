"""`/rules`, `/alerts` and `/alertmanagers` of a server that has loaded none of them.

The answers are well formed, as clients such as Grafana ask for them in any case.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from ..form import read_form
from . import parameters
from .envelope import success


async def rules(request: Request) -> Response:
    """Answer `/rules`."""
    kind = (await read_form(request)).get("type").lower()
    if kind not in ("", "alert", "record"):
        raise parameters.invalid("type", f'not supported value "{kind}"')
    return success({"groups": []})


async def alerts(request: Request) -> Response:
    """Answer `/alerts`."""
    return success({"alerts": []})


async def alertmanagers(request: Request) -> Response:
    """Answer `/alertmanagers`."""
    return success({"activeAlertmanagers": [], "droppedAlertmanagers": []})
