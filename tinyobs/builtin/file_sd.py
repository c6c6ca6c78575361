"""Targets from files that other programs write: `file_sd_configs`.

A file is JSON or YAML: a list of `{targets: [...], labels: {...}}`.  Files are looked at every few seconds and read
when their time or size changed, and in any case each `refresh_interval`.  A file that cannot be read or makes no
sense keeps its last good groups; a file that is gone takes its groups with it.  Format and names: prometheus
discovery/file/file.go.
"""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

import attrs
import structlog
import trio
from attrs import Factory, define, field, frozen

from ..abc import Discoverer, DiscovererContext, DiscovererKind, TargetGroup
from ..config.decoder import Decoder, in_order
from ..config.discovery import FILE, FileSdConfig, StaticConfig
from ..config.yaml_tree import (
    DEPTH_MAX,
    NODES_MAX,
    TEXT_BYTES_MAX,
    ListNode,
    MappingNode,
    Node,
    Scalar,
    parse_tree,
    read_file,
)
from ..errors import ConfigError, Problem
from ..hookspecs import hookimpl

LOOK_EVERY_SECONDS: Final = 3.0
"""How often the files' times and sizes are looked at."""
FILES_MAX: Final = 10_000
"""Most files that one entry may match."""
PATH_LABEL: Final = "__meta_filepath"

log = structlog.get_logger("file_sd")
_Signature: TypeAlias = tuple[int, int, int]
"""Modification time in ns, size in bytes, inode."""


@hookimpl
def tinyobs_discoverers() -> Sequence[DiscovererKind]:
    """Offer `file_sd_configs`."""
    return [DiscovererKind(FILE, FileSdConfig, FileDiscoverer)]


@frozen
class FileSdStatistics:
    """How the files of one entry fare."""

    read_errors_total: int = field(metadata={"metric": "prometheus_sd_file_read_errors_total"})
    """The number of File-SD read errors."""
    mtime_seconds: Mapping[str, float] = field(
        metadata={"metric": "prometheus_sd_file_mtime_seconds", "label": "filename"}
    )
    """Timestamp (mtime) of files read by FileSD. Timestamp is set at read time."""


class FileDiscoverer(Discoverer):
    """Publishes the groups of the files of one entry whenever they change."""

    def __init__(self, config: FileSdConfig, context: DiscovererContext) -> None:
        self._files = WatchedFiles(config.files)
        self._refresh_seconds = config.refresh_interval_ms / 1000

    async def run(
        self, publish: Callable[[Sequence[TargetGroup]], Awaitable[None]], *, task_status: trio.TaskStatus[None]
    ) -> None:
        """Look, publish what changed, sleep; until cancelled."""
        await publish(await trio.to_thread.run_sync(self._files.look, True))
        task_status.started()
        due = trio.current_time() + self._refresh_seconds
        while True:
            await trio.sleep(min(LOOK_EVERY_SECONDS, self._refresh_seconds))
            everything = trio.current_time() >= due
            if everything:
                due = trio.current_time() + self._refresh_seconds
            changed = await trio.to_thread.run_sync(self._files.look, everything)
            if changed:
                await publish(changed)

    def statistics(self) -> FileSdStatistics:
        """Return the counters."""
        return FileSdStatistics(self._files.read_errors, dict(self._files.mtimes))


@define
class WatchedFiles:
    """The files that some patterns match, and what was last read from them.  Synchronous; one caller at a time."""

    patterns: Sequence[str]
    read_errors: int = 0
    mtimes: dict[str, float] = Factory(dict)
    """File -> modification time when it was last read, in seconds since 1970."""
    _signatures: dict[str, _Signature] = Factory(dict)
    _groups: dict[str, tuple[TargetGroup, ...]] = Factory(dict)
    _errors: dict[str, str] = Factory(dict)

    def look(self, everything: bool) -> list[TargetGroup]:
        """Return the groups that are new, changed or (without targets) gone.

        everything: read all files, also those whose time and size are as they were.
        """
        names = self._matching()
        changed: list[TargetGroup] = []
        for name in [n for n in self._signatures if n not in names]:
            del self._signatures[name]
            self.mtimes.pop(name, None)
            self._errors.pop(name, None)
            changed += _difference(self._groups.pop(name, ()), ())
        for name in names:
            try:
                status = os.stat(name)
            except OSError as e:
                self._note_error(name, str(e))
                continue
            signature = (status.st_mtime_ns, status.st_size, status.st_ino)
            if not everything and self._signatures.get(name) == signature:
                continue
            self._signatures[name] = signature
            changed += self._read(name, status.st_mtime)
        return changed

    def _read(self, name: str, mtime_seconds: float) -> list[TargetGroup]:
        try:
            groups = read_groups(name)
        except (OSError, ConfigError) as e:
            self._note_error(name, str(e))
            return []
        self._errors.pop(name, None)
        self.mtimes[name] = mtime_seconds
        changed = _difference(self._groups.get(name, ()), groups)
        self._groups[name] = groups
        return changed

    def _matching(self) -> list[str]:
        """Return the existing files in order of the patterns, each once."""
        found: dict[str, None] = {}
        for pattern in self.patterns:
            found.update(dict.fromkeys(sorted(glob.glob(pattern, include_hidden=True))))
        if len(found) > FILES_MAX:
            self._note_error(self.patterns[0], f"more than {FILES_MAX} files match; the rest is not read")
        return list(found)[:FILES_MAX]

    def _note_error(self, name: str, reason: str) -> None:
        """Count every failure, log each only once as long as it stays the same."""
        self.read_errors += 1
        if self._errors.get(name) != reason:
            self._errors[name] = reason
            log.error("targets cannot be read; the last good ones stay", file=name, reason=reason)


def read_groups(name: str) -> tuple[TargetGroup, ...]:
    """Return the groups of one file; raises `OSError`, or `ConfigError` when the content makes no sense."""
    data = read_file(name)
    root, problems = _parse_json(data, name) if name.lower().endswith(".json") else parse_tree(data, name)
    decoder = Decoder(name)
    decoder.problems += problems
    found: Any = () if root is None else decoder.decode(root, tuple[StaticConfig, ...], "")
    if decoder.problems:
        raise ConfigError(in_order(decoder.problems))
    return tuple(
        TargetGroup(
            f"{name}:{i}",
            tuple({"__address__": address} for address in group.targets),
            {**dict(group.labels), PATH_LABEL: name},
        )
        for i, group in enumerate(found)
    )


def _difference(old: Sequence[TargetGroup], new: Sequence[TargetGroup]) -> list[TargetGroup]:
    """Return the groups of `new` that are not as in `old`, and empty ones for those that are gone."""
    before = {group.source: group for group in old}
    changed = [group for group in new if before.get(group.source) != group]
    still = {group.source for group in new}
    return changed + [attrs.evolve(group, targets=(), labels={}) for group in old if group.source not in still]


def _parse_json(data: bytes, name: str) -> tuple[Node | None, list[Problem]]:
    """Return (tree, problems) of JSON, in the shape of a YAML tree; positions are those of the whole."""
    if len(data) > TEXT_BYTES_MAX:
        return None, [Problem(name, 0, 0, f"longer than {TEXT_BYTES_MAX} bytes")]
    try:
        return _json_tree(json.loads(data), iter(range(NODES_MAX)), 0), []
    except json.JSONDecodeError as e:
        return None, [Problem(name, e.lineno, e.colno, f"invalid JSON: {e.msg}")]
    except (ValueError, RecursionError, StopIteration) as e:
        return None, [Problem(name, 0, 0, f"invalid JSON: {e or 'too large'}")]


def _json_tree(value: Any, count: Iterator[int], depth: int) -> Node:
    next(count)
    if depth > DEPTH_MAX:
        raise ValueError(f"nested deeper than {DEPTH_MAX} levels")
    if isinstance(value, dict):
        return MappingNode(
            1,
            1,
            {k: _json_tree(v, count, depth + 1) for k, v in value.items()},
            {k: Scalar(1, 1, k, plain=False) for k in value},
        )
    if isinstance(value, list):
        return ListNode(1, 1, [_json_tree(v, count, depth + 1) for v in value])
    plain = not isinstance(value, str)
    return Scalar(1, 1, json.dumps(value) if plain else value, plain=plain)
