"""Accepts OpenTSDB's `put`, over telnet and at `/api/put`: a plugin of TinyObs.

Lines: `telnet.py`; JSON: `put.py`; what both have in common: `points.py`; settings: `settings.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinyobs import hookimpl
from tinyobs.abc import ConfigSection, Route, Services, Source
from tinyobs.receiving.line_source import LineSource, Listening

from .receiver import DIALECT, HttpReceiver, TelnetReceiver
from .settings import SECTION, OpenTsdbSettings


@hookimpl
def tinyobs_config_sections() -> Sequence[ConfigSection]:
    """Return the section `opentsdb`."""
    return [ConfigSection(SECTION, OpenTsdbSettings)]


@hookimpl
def tinyobs_routes(services: Services) -> Sequence[Route]:
    """Return `/api/put`, also below `/opentsdb`."""
    put = HttpReceiver(services).put
    return [Route(path, put, ("POST",), whole_body=True, dialect=DIALECT) for path in ("/api/put", "/opentsdb/api/put")]


@hookimpl
def tinyobs_sources(services: Services) -> Sequence[Source]:
    """Return what listens for telnet; it sleeps while no address is configured."""
    return [LineSource(SECTION, services, _listening, TelnetReceiver(services).take)]


def _listening(config: Any) -> Listening:
    return Listening(tcp=config.tinyobs.section(SECTION).listen_tcp)
