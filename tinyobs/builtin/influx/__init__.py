"""Accepts the Influx line protocol as InfluxDB 1 and 2 do over HTTP, and over UDP and TCP (section `tinyobs.influx`).

    tinyobs:
      influx: {listen_udp: "127.0.0.1:8089", database: telegraf}

Settings: `settings.py`; what becomes of lines: `writing.py`; the answers over HTTP: `http.py`.  Format:
`tinyobs.exposition.influx`.  Page: docs/receivers/influx.md.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...abc import ConfigSection, Route, Services, Source
from ...hookspecs import hookimpl
from ...receiving.line_source import LineSource
from .http import Handlers
from .settings import SECTION, InfluxSettings, listening
from .writing import Writer


@hookimpl
def tinyobs_config_sections() -> Sequence[ConfigSection]:
    """Return the section `influx`."""
    return [ConfigSection(SECTION, InfluxSettings)]


@hookimpl
def tinyobs_routes(services: Services) -> Sequence[Route]:
    """Return the routes of InfluxDB, with and without `/influx` before them."""
    return Handlers(services, Writer(services)).routes()


@hookimpl
def tinyobs_sources(services: Services) -> Sequence[Source]:
    """Return what listens; it sleeps while no address is configured."""
    return [LineSource(SECTION, services, listening, Writer(services).take)]
