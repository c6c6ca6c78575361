"""`/rules`, `/alerts` and `/alertmanagers` of a server that has loaded none of them.

The answers are well formed, as clients such as Grafana ask for them in any case; parameters are checked as in
prometheus web/api/v1/api.go `rules`.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from ..form import read_form
from . import parameters
from .envelope import success


async def rules(request: Request) -> Response:
    """Answer `/rules`."""
    form = await read_form(request)
    kind = form.get("type").lower()
    if kind not in ("", "alert", "record"):
        raise parameters.invalid("type", f'not supported value "{kind}"')
    parameters.selectors(form.all("match[]"))
    excluded = form.get("exclude_alerts")
    if excluded and excluded not in parameters.BOOLEANS:
        reason = f'strconv.ParseBool: parsing "{excluded}": invalid syntax'
        raise parameters.invalid("exclude_alerts", f"error converting exclude_alerts: {reason}")
    _check_page(form.get("group_limit"), form.get("group_next_token"))
    return success({"groups": []})


def _check_page(limit: str, token: str) -> None:
    """Raise `ApiError` for a limit that is none, and for a token: without groups there is no next page."""
    if limit:
        try:
            number = parameters.integer(limit)
        except ValueError as e:
            reason = str(e).replace("Atoi", "ParseInt")
            raise parameters.invalid("group_limit", f"group_limit needs to be a valid number: {reason}") from None
        if number <= 0:
            raise parameters.invalid("group_limit", "group_limit needs to be greater than 0")
    if token and not limit:
        reason = "group_limit needs to be present in order to paginate over the groups"
        raise parameters.invalid("group_next_token", reason)
    if token:
        raise parameters.invalid("group_next_token", f"invalid group_next_token '{token}'. were rule groups changed?")


async def alerts(request: Request) -> Response:
    """Answer `/alerts`."""
    return success({"alerts": []})


async def alertmanagers(request: Request) -> Response:
    """Answer `/alertmanagers`."""
    return success({"activeAlertmanagers": [], "droppedAlertmanagers": []})
