"""TinyObs plugin `parquet_sink`: writes what is stored to Parquet files (section `tinyobs.parquet_sinks`).

    tinyobs:
      parquet_sinks:
        - {name: archive, path: /var/lib/archive, match: ['{job="node"}'], flush_every: 10m}

Settings: `settings.py`; what is gathered and when it becomes files: `outlet.py`; the files, and what keeps samples from
being written twice: `folder.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

from tinyobs import hookimpl
from tinyobs.abc import ConfigSection, Services, Sink
from tinyobs.sinks.group import SinkGroup

from .outlet import ParquetOutlet
from .settings import SCHEMA, SECTION, ParquetSinkSettings

__all__ = ["ParquetOutlet", "ParquetSinkSettings", "tinyobs_config_sections", "tinyobs_sinks"]


@hookimpl
def tinyobs_config_sections() -> Sequence[ConfigSection]:
    """Declare the section `parquet_sinks`, a list."""
    return [ConfigSection(SECTION, SCHEMA)]


@hookimpl
def tinyobs_sinks(services: Services) -> Sequence[Sink]:
    """Return what writes for all entries; it sleeps while there is none."""
    return [SinkGroup(services, SECTION, ParquetOutlet)]
