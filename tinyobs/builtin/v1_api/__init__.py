"""The HTTP API of the first TinyObs, written in Go, below `/v1`: for its SDK, its dashboards and scripts.

    ingest.py       pushes, with `deltas.py`: histograms become counters
    queries.py      samples as they are stored, and names
    expressions.py  PromQL
    state.py        what is stored, and whether all is well
    export.py, imports.py
    live.py         the WebSocket
    reading.py      how all of them read; answers.py  what their answers have in common; settings.py  `tinyobs.v1`

Where the first TinyObs was wrong this is right; docs/receivers/v1-api.md lists what differs.  The formats are pure:
`tinyobs.exposition.v1_metrics` and its neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...abc import ConfigSection, Route, Services, Source
from ...hookspecs import hookimpl
from .answers import Answers
from .export import Export
from .expressions import Expressions
from .imports import Import
from .ingest import Ingest
from .live import Live, live_handler
from .queries import Queries
from .reading import Reading
from .settings import SECTION, V1Settings
from .state import State


@hookimpl
def tinyobs_config_sections() -> Sequence[ConfigSection]:
    """Return the section `v1`."""
    return [ConfigSection(SECTION, V1Settings)]


@hookimpl
def tinyobs_sources(services: Services) -> Sequence[Source]:
    """Return what feeds the WebSocket."""
    return [] if services.settings.agent else [Live(services)]


@hookimpl
def tinyobs_routes(services: Services) -> Sequence[Route]:
    """Return the routes; in agent mode those that push."""
    routes = Answers(services).routes
    ingest = Ingest(services)
    pushes = [
        *routes("/v1/ingest", ingest.ingest, "POST", whole_body=True),
        *routes("/v1/import", Import(services).imports, "POST", whole_body=True),
    ]
    if services.settings.agent:
        return pushes
    reading = Reading(services)
    queries, expressions, state = Queries(reading), Expressions(reading), State(reading, ingest)
    return [
        *pushes,
        *routes("/v1/query", queries.query, "GET", whole_body=True),
        *routes("/v1/query/range", queries.range, "GET", whole_body=True),
        *routes("/v1/query/execute", expressions.execute, "POST", whole_body=True),
        *routes("/v1/query/instant", expressions.instant, "GET", "POST", whole_body=True),
        *routes("/v1/metrics/list", queries.names, "GET", whole_body=True),
        *routes("/v1/stats", state.stats, "GET"),
        *routes("/v1/cardinality", state.cardinality, "GET"),
        *routes("/v1/storage", state.storage, "GET"),
        *routes("/v1/health", state.health, "GET"),
        *routes("/v1/export", Export(reading).export, "GET"),
        Route("/v1/ws", live_handler(services), ("WEBSOCKET",)),
    ]
