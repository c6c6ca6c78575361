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

LATER: Final = "is parsed and validated, but has no effect in this version"


def without_effect(config: Config, positions: Mapping[str, tuple[int, int]]) -> Iterator[Problem]:
    """Yield a problem for each thing that was configured in vain.

    positions: path of a value in the main file -> (line, column).
    """
    for path, reason in _paths(config, positions):
        yield Problem(config.file, *positions.get(path, (0, 0)), f"{path.lstrip('.')} {reason}", path)


def waits_for_restart(running: Config, new: Config) -> list[str]:
    """Return the sections that a reload has changed in vain: they are read when the daemon starts."""
    sections = {
        "storage": (running.storage, new.storage),
        "tinyobs.storage": (running.tinyobs.storage, new.tinyobs.storage),
        "tinyobs.ingest": (running.tinyobs.ingest, new.tinyobs.ingest),
    }
    return [name for name, (old, now) in sections.items() if old != now]


def _paths(config: Config, positions: Mapping[str, tuple[int, int]]) -> Iterator[tuple[str, str]]:
    sections = {
        ".alerting": config.alerting != AlertingConfig(),
        ".rule_files": bool(config.rule_files),
        ".remote_read": bool(config.remote_read),
        ".tracing": config.tracing is not None,
        ".global.rule_query_offset": bool(config.global_config.rule_query_offset_ms),
    }
    yield from ((path, LATER) for path, given in sections.items() if given)
    if config.runtime != RuntimeConfig():
        yield ".runtime.gogc", "has no effect: it tunes the Go runtime"
    if ".storage.tsdb.chunk_encoding" in positions:
        yield ".storage.tsdb.chunk_encoding", "has no effect: TinyObs has a storage format of its own"
