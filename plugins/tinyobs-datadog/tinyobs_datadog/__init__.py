"""Accepts series as Datadog's agent and libraries send them: a plugin of TinyObs.

Formats: `series.py`, `wire.py`; answers: `receiver.py`; settings: `settings.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

from tinyobs import hookimpl
from tinyobs.abc import ConfigSection, Route, Services

from .receiver import routes
from .settings import SECTION, DatadogSettings


@hookimpl
def tinyobs_config_sections() -> Sequence[ConfigSection]:
    """Return the section `datadog`."""
    return [ConfigSection(SECTION, DatadogSettings)]


@hookimpl
def tinyobs_routes(services: Services) -> Sequence[Route]:
    """Return the paths of the API, below `/datadog`."""
    return routes(services)
