"""Built-in plugin `host`: metrics of the machine itself, under the names of node_exporter.

Node Exporter dashboards and the node mixin's rules work unchanged.  Each collector is one module with
`collect(host, out)`; `collectors.py` lists them, `exporter.py` runs them, `settings.py` is the configuration section
`host`.  See docs/host-metrics.md.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...abc import ConfigSection, Exporter, Services
from ...hookspecs import hookimpl
from .settings import HostSettings

__all__ = ["HostSettings", "tinyobs_config_sections", "tinyobs_exporters"]


@hookimpl
def tinyobs_config_sections() -> Sequence[ConfigSection]:
    """Declare the section `host`."""
    return [ConfigSection("host", HostSettings)]


@hookimpl
def tinyobs_exporters(services: Services) -> Sequence[Exporter]:
    """Return the host exporter unless it is switched off."""
    settings = services.config.tinyobs.section("host")
    if not settings.enabled:
        return []
    from .exporter import HostExporter  # 40 collectors that an agent beside node_exporter never needs

    return [HostExporter(settings)]
