"""A receiver of a protocol of its own: lines of `name value` at POST /lines, as a shop floor's controllers send them.

The parser is a function without a network; everything that a receiver owes to those who push comes from `tinyobs.receiving`.
"""

from __future__ import annotations

import numpy as np
from starlette.responses import PlainTextResponse, Response

import tinyobs
from tinyobs.abc import Route
from tinyobs.errors import TinyObsError
from tinyobs.exposition.floats import parse_float
from tinyobs.exposition.pushed import Faults, Pushed
from tinyobs.model.batch import Batch
from tinyobs.model.labels import NAME, from_mapping
from tinyobs.model.registry import SeriesRegistry
from tinyobs.receiving.answers import http_error
from tinyobs.receiving.outcome import store_pushed
from tinyobs.receiving.push import take_push


@tinyobs.hookimpl
def tinyobs_routes(services):
    """Return the route."""
    return [Route("/lines", LinesReceiver(services).push, ("POST",), whole_body=True)]


class LinesReceiver:
    """The handler."""

    def __init__(self, services):
        self._services = services
        self._reception = services.reception("lines")  # admits, stores and counts, under this name

    async def push(self, request):
        """Answer 204 when all is durable, 400 with what was left out; the rest is stored."""
        registry = self._services.registry
        try:
            push = await take_push(request, self._services, self._reception)
            pushed = parse(push.body, self._services.clock.now_ms(), registry)
            outcome = await store_pushed(pushed, push.source, self._reception, registry)
        except TinyObsError as e:
            raise http_error(e) from None
        if outcome.refused:
            return PlainTextResponse("\n".join(outcome.problems) + "\n", 400)
        return Response(status_code=204)


def parse(body: bytes, now_ms: int, registry: SeriesRegistry) -> Pushed:
    """Return the samples of lines; one that cannot be read is named and costs no other."""
    faults, series, values = Faults(), [], []
    for number, line in enumerate(body.splitlines(), 1):
        words = line.split()
        if not words:
            continue
        try:
            name, value = words[0].decode(), parse_float(words[1] if len(words) == 2 else b"")
        except ValueError as e:
            faults.add("malformed", f"line {number}: {e}")
            continue
        series.append(from_mapping({NAME: name}))
        values.append(value)
    refs = registry.intern_many(series)
    return faults.pushed(Batch(refs, np.full(len(refs), now_ms, np.int64), np.array(values, np.float64), "lines"))
