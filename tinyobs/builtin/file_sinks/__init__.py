"""Samples as JSON lines in files (section `tinyobs.file_sinks`): one sink for each entry, over a cursor of its own.

    tinyobs:
      file_sinks:
        - {name: archive, path: /var/lib/archive/samples.jsonl, match: ['{job="node"}'], compress: zstd}

Settings: `settings.py`; what runs: `sinks.py`; the file, its rotation and what keeps lines from being written twice:
`rotated_file.py`.  Page: docs/file-sink.md.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...abc import ConfigSection, Services, Sink
from ...hookspecs import hookimpl
from .settings import SCHEMA, SECTION
from .sinks import FileSinks, check_names


@hookimpl
def tinyobs_config_sections() -> Sequence[ConfigSection]:
    """Return the section `file_sinks`, a list."""
    return [ConfigSection(SECTION, SCHEMA)]


@hookimpl
def tinyobs_sinks(services: Services) -> Sequence[Sink]:
    """Return what writes all files; it sleeps while none is configured."""
    check_names(services.config)
    return [FileSinks(services)]
