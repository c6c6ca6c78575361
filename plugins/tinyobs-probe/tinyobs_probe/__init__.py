"""TinyObs plugin `probe`: blackbox probes over HTTP, TCP, DNS and ICMP.

Metric names and module options are those of blackbox_exporter.  Two ways in: targets in the section `probe`, probed
natively by `source.py`, and the route `/probe?target=&module=` of `route.py` for existing scrape configurations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinyobs import hookimpl
from tinyobs.abc import ConfigSection, Route, Services, Source

from .route import PATH, ProbeRoute
from .settings import ProbeSettings
from .source import ProbeSource

__all__ = ["ProbeSettings", "ProbeSource", "tinyobs_config_sections", "tinyobs_routes", "tinyobs_sources"]


@hookimpl
def tinyobs_config_sections() -> Sequence[ConfigSection]:
    """Declare the section `probe`."""
    return [ConfigSection("probe", ProbeSettings)]


@hookimpl
def tinyobs_sources(services: Services) -> Sequence[Source]:
    """Return the source of all targets; there may be none yet, and a reload may bring some."""
    return [ProbeSource(services)]


@hookimpl
def tinyobs_routes(services: Services) -> Sequence[Route]:
    """Return the route that answers as blackbox_exporter does; it follows the running configuration."""
    return [Route(PATH, ProbeRoute(lambda: _settings(services)).answer)]


def _settings(services: Services) -> ProbeSettings:
    found: Any = services.config.tinyobs.section("probe")
    assert isinstance(found, ProbeSettings)
    return found
