"""Targets from files that other programs write: `file_sd_configs`.

A file is JSON or YAML: a list of `{targets: [...], labels: {...}}`.  Files are read when inotify tells of a change in
their directories, and in any case each `refresh_interval`; where a directory cannot be watched, times and sizes are
looked at every few seconds.  A file that cannot be read or makes no sense keeps its last good groups; a file that is
gone takes its groups with it.  Format and names: prometheus discovery/file/file.go.
"""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from time import perf_counter
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
from ..discovery.call_durations import Durations
from ..discovery.inotify import DirectoryWatch
from ..errors import ConfigError, Problem
from ..hookspecs import hookimpl
from ..model.families import MetricFamily

LOOK_EVERY_SECONDS: Final = 3.0
"""How often the files' times and sizes are looked at where nobody tells of changes."""
SETTLE_SECONDS: Final = 0.05
"""How long after a change the files are read: who writes many files is not answered for each."""
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
    watcher_errors_total: int = field(metadata={"metric": "prometheus_sd_file_watcher_errors_total"})
    """The number of File-SD errors caused by filesystem watch failures."""
    scans_total: MetricFamily
    """The duration of the File-SD scan in seconds."""
    mtime_seconds: Mapping[str, float] = field(
        metadata={"metric": "prometheus_sd_file_mtime_seconds", "label": "filename"}
    )
    """Timestamp (mtime) of files read by FileSD. Timestamp is set at read time."""


class FileDiscoverer(Discoverer):
    """Publishes the groups of the files of one entry whenever they change."""

    def __init__(self, config: FileSdConfig, context: DiscovererContext) -> None:
        self._files = WatchedFiles(config.files)
        self._refresh_seconds = config.refresh_interval_ms / 1000
        self._watch: DirectoryWatch | None = None
        self._lacking: set[str] = set()
        """Directories that cannot be watched."""
        self._watch_errors = 0
        self._scans = Durations()

    async def run(
        self, publish: Callable[[Sequence[TargetGroup]], Awaitable[None]], *, task_status: trio.TaskStatus[None]
    ) -> None:
        """Read, publish what changed, wait for a change; until cancelled."""
        self._open_watch()
        try:
            await publish(await trio.to_thread.run_sync(self._scan, True))
            task_status.started()
            due = trio.current_time() + self._refresh_seconds
            while True:
                touched = await self._wait(due)
                everything = trio.current_time() >= due
                if everything:
                    due = trio.current_time() + self._refresh_seconds
                changed = await trio.to_thread.run_sync(self._scan, everything, touched)
                if changed:
                    await publish(changed)
        finally:
            if self._watch is not None:
                self._watch.close()

    async def _wait(self, due: float) -> set[str]:
        """Return when files have changed, or it is time to look whether they have; return those that surely have."""
        if self._watch is None or self._lacking:
            due = min(due, trio.current_time() + LOOK_EVERY_SECONDS)
        touched: set[str] = set()
        with trio.move_on_at(due):
            if self._watch is None:
                await trio.sleep_forever()
            else:
                touched = await self._watch.wait()
                await trio.sleep(SETTLE_SECONDS)
        return touched

    def _open_watch(self) -> None:
        try:
            self._watch = DirectoryWatch()
        except OSError as e:
            self._watch_errors += 1
            log.warning("files cannot be watched and are looked at instead", every_s=LOOK_EVERY_SECONDS, reason=str(e))

    def _scan(self, everything: bool, touched: Collection[str] = ()) -> list[TargetGroup]:
        """Return what changed.  Directories are watched before their files are read, so that no change is missed."""
        began = perf_counter()
        changed: list[TargetGroup] = []
        before: set[str] = set()
        while (directories := self._files.directories()) - before:
            if self._watch is not None:
                lacking = self._watch.follow(directories)
                self._watch_errors += len(lacking - self._lacking)
                self._lacking = lacking
            before |= directories
            changed += self._files.look(everything, touched)
            everything, touched = False, ()
        self._scans.observe((), perf_counter() - began)
        return changed

    def statistics(self) -> FileSdStatistics:
        """Return the counters."""
        files = self._files
        scans = self._scans.family(
            "prometheus_sd_file_scan_duration_seconds", "The duration of the File-SD scan in seconds.", lambda key: {}
        )
        return FileSdStatistics(files.read_errors, self._watch_errors, scans, dict(files.mtimes))


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

    def directories(self) -> set[str]:
        """Return the directories whose changes count: those of the patterns, and those that links lead to."""
        found = {os.path.dirname(pattern) for pattern in self.patterns}
        for name in self._signatures:
            if os.path.islink(name):
                found.add(os.path.dirname(os.path.realpath(name)))
        return found

    def look(self, everything: bool, touched: Collection[str] = ()) -> list[TargetGroup]:
        """Return the groups that are new, changed or (without targets) gone.

        everything: read all files, also those whose time and size are as they were.  touched: files to be read in any
        case.
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
            if not everything and name not in touched and self._signatures.get(name) == signature:
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
