"""TinyObs plugin `otlp_sink`: sends what is stored by OTLP over HTTP (section `tinyobs.otlp_sinks`).

    tinyobs:
      otlp_sinks:
        - {name: collector, url: 'http://collector:4318/v1/metrics', match: ['{job="node"}']}

Settings: `settings.py`; series as metrics of OpenTelemetry: `translation.py` with `plans.py` and `points.py`; the bytes:
`wire.py`; requests and their answers: `outlet.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

from tinyobs import hookimpl
from tinyobs.abc import ConfigSection, Services, Sink
from tinyobs.sinks.group import SinkGroup

from .outlet import OtlpOutlet
from .settings import SCHEMA, SECTION, OtlpSinkSettings

__all__ = ["OtlpOutlet", "OtlpSinkSettings", "tinyobs_config_sections", "tinyobs_sinks"]


@hookimpl
def tinyobs_config_sections() -> Sequence[ConfigSection]:
    """Declare the section `otlp_sinks`, a list."""
    return [ConfigSection(SECTION, SCHEMA)]


@hookimpl
def tinyobs_sinks(services: Services) -> Sequence[Sink]:
    """Return what sends for all entries; it sleeps while there is none."""
    return [SinkGroup(services, SECTION, OtlpOutlet)]
