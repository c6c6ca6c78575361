"""`/http_sd`: what discovery found, in the JSON that `http_sd_configs` of other agents reads.

It answers with the bare list, without the envelope of the API, since that is what agents expect.  What a target has of
labels goes with it: those of discovery, or those that its series get.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, TypeAlias
from urllib.parse import parse_qsl, urlsplit

from starlette.requests import Request
from starlette.responses import Response

from ...abc import TargetGroup
from ...exposition.json import dump
from ..form import read_form
from ..problem import ApiError
from ..services import ApiServices, TargetView

STATES: Final = ("discovered", "active")
_ADDRESS: Final = "__address__"
_Target: TypeAlias = tuple[str, Mapping[str, str]]
"""Address and labels."""


class HttpSdApi:
    """The handler."""

    def __init__(self, services: ApiServices) -> None:
        self._services = services

    async def http_sd(self, request: Request) -> Response:
        """Answer `/http_sd`."""
        form = await read_form(request)
        state, pool = form.get("state") or STATES[0], form.get("scrapePool")
        if state not in STATES:
            raise ApiError("bad_data", f"state must be one of {', '.join(STATES)}, got {state!r}")
        view, discovered = self._services.targets(), self._services.discovered()
        if pool and pool not in view.pools:
            raise ApiError("not_found", f'scrape pool "{pool}" not found')
        targets: Iterable[_Target]
        if state == "active":
            targets = (_active(t) for t in view.active if not pool or t.scrape_pool == pool)
        else:
            targets = (t for name in sorted(discovered) if not pool or name == pool for t in _found(discovered[name]))
        return Response(target_list(targets), media_type="application/json")


def target_list(targets: Iterable[_Target]) -> bytes:
    """Return the list in JSON: targets with the same labels share a group, and each is listed once."""
    groups: dict[tuple[tuple[str, str], ...], dict[str, None]] = {}
    for address, labels in targets:
        key = tuple(sorted((name, value) for name, value in labels.items() if value and name != _ADDRESS))
        groups.setdefault(key, {})[address] = None
    return dump([{"targets": list(found), "labels": dict(labels)} for labels, found in groups.items()]).encode()


def _found(groups: Iterable[TargetGroup]) -> Iterator[_Target]:
    """Yield what discovery found, before relabelling."""
    for group in groups:
        for own in group.targets:
            yield own.get(_ADDRESS, ""), {**group.labels, **own}


def _active(target: TargetView) -> _Target:
    """Return a scraped target with what another agent needs to scrape it in the same way."""
    url = urlsplit(target.scrape_url)
    hidden = {
        "__scheme__": url.scheme,
        "__metrics_path__": url.path,
        "__scrape_interval__": target.scrape_interval,
        "__scrape_timeout__": target.scrape_timeout,
    }
    # Of several values of a parameter a label has room for the first.
    params = {f"__param_{name}": value for name, value in reversed(parse_qsl(url.query, keep_blank_values=True))}
    return url.netloc, {**hidden, **params, **dict(target.labels)}
