"""What can be configured and has no effect in this version: the one place to change when that changes.

A key that is not even read is refused elsewhere (`fields.unsupported`); what stands here is read and validated, and
the operator is told that nothing comes of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from ..errors import Problem
from .alerting import AlertingConfig
from .schema import Config
from .scraping import RuntimeConfig
from .server_sections import ExemplarsConfig, OtlpConfig
from .settings import IngestSettings, QuerySettings, WebSettings

LATER: Final = "is parsed and validated, but has no effect in this version"


def without_effect(config: Config, positions: Mapping[str, tuple[int, int]]) -> Iterator[Problem]:
    """Yield a problem for each thing that was configured in vain.

    positions: path of a value in the main file -> (line, column).
    """
    for path, reason in _paths(config, positions):
        yield Problem(config.file, *positions.get(path, (0, 0)), f"{path.lstrip('.')} {reason}", path)


def _paths(config: Config, positions: Mapping[str, tuple[int, int]]) -> Iterator[tuple[str, str]]:
    sections = {
        ".alerting": config.alerting != AlertingConfig(),
        ".rule_files": bool(config.rule_files),
        ".remote_write": bool(config.remote_write),
        ".remote_read": bool(config.remote_read),
        ".otlp": config.otlp != OtlpConfig(),
        ".tracing": config.tracing is not None,
        ".storage.exemplars": config.storage.exemplars != ExemplarsConfig(),
        ".storage.tsdb.retention.percentage": bool(config.storage.tsdb.retention.percentage),
        ".tinyobs.ingest": config.tinyobs.ingest != IngestSettings(),
        ".tinyobs.query": config.tinyobs.query != QuerySettings(),
        ".tinyobs.web": config.tinyobs.web != WebSettings(),
        ".global.query_log_file": bool(config.global_config.query_log_file),
        ".global.scrape_failure_log_file": bool(config.global_config.scrape_failure_log_file),
    }
    yield from ((path, LATER) for path, given in sections.items() if given)
    for i in range(len(config.scrape_configs)):
        path = f".scrape_configs[{i}].scrape_failure_log_file"
        if path in positions:
            yield path, LATER
    if config.runtime != RuntimeConfig():
        yield ".runtime.gogc", "has no effect: it tunes the Go runtime"
    if ".storage.tsdb.chunk_encoding" in positions:
        yield ".storage.tsdb.chunk_encoding", "has no effect: TinyObs has a storage format of its own"
