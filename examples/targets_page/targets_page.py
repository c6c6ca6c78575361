"""A plugin with an HTTP route: `/targets.txt` lists the targets and whether they are up, for shell scripts.

$ curl http://127.0.0.1:9090/targets.txt?job=node
up    node  web1:9100
down  node  db1:9100
"""

from __future__ import annotations

from collections.abc import Sequence

import trio
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

import tinyobs
from tinyobs.abc import Route, Services
from tinyobs.model.labels import get
from tinyobs.model.matchers import Matcher, equal, name_is
from tinyobs.model.staleness import is_stale_value

LOOKBACK_MS = 300_000


class TargetsPage:
    """Reads the newest `up` of every target."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def answer(self, request: Request) -> Response:
        """Answer one request; reading blocks, so it happens in a worker thread."""
        job = request.query_params.get("job", "")
        matchers = [name_is("up"), *([equal("job", job)] if job else [])]
        lines = await trio.to_thread.run_sync(self._lines, matchers)
        return PlainTextResponse("".join(line + "\n" for line in lines))

    def _lines(self, matchers: Sequence[Matcher]) -> list[str]:
        now_ms = self._services.clock.now_ms()
        lines = []
        with self._services.querier(now_ms - LOOKBACK_MS, now_ms) as querier:
            selection = querier.select(matchers, now_ms - LOOKBACK_MS, now_ms)
            columns = selection.read(0, len(selection.labels))
            for i in range(len(columns)):
                labels, _, values = columns.one(i)
                if len(values) and not is_stale_value(float(values[-1])):
                    state = "up" if values[-1] else "down"
                    lines.append(f"{state:5} {get(labels, 'job')}  {get(labels, 'instance')}")
        return lines


@tinyobs.hookimpl
def tinyobs_routes(services: Services) -> Sequence[Route]:
    """Add the route."""
    return [Route("/targets.txt", TargetsPage(services).answer)]
