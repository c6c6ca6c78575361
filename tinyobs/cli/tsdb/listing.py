"""`tinyobs tsdb list`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import click

from ...errors import StorageError
from ...model.durations import format_duration
from ...storage.disk import Disk
from ...storage.layout import MANIFEST, WAL_FOLDER, wal_name, wal_sequence
from ...storage.manifest import Manifest, SegmentEntry, read_manifest
from ...storage.read_only_disk import ReadOnlyDisk
from ...storage.time_text import time_text
from ..tables import echo_table
from .directories import require_data, warn_of_imports
from .figures import counted, size_text
from .parameters import json_option, path_option


@click.command("list")
@path_option
@json_option
def list_segments(path: Path, as_json: bool) -> None:
    """List the segments and log files of a data directory, whether a daemon has it open or not.

    Segments are in order of age: of two samples with the same series and time that of the later segment stands.
    """
    disk = ReadOnlyDisk(path)
    require_data(disk, path)
    manifest = read_manifest(disk)
    if manifest is None:
        raise StorageError(f"{path} has no {MANIFEST}; `tinyobs tsdb repair` works one out from the files")
    warn_of_imports(disk)
    logs = _log_sizes(disk, manifest)
    if as_json:
        click.echo(json.dumps(_plain(manifest, logs), indent=2))
        return
    head = ("SEGMENT", "TIER", "LEVEL", "FROM", "TO", "SERIES", "SAMPLES", "BYTES", "BYTES/SAMPLE")
    echo_table(head, [_row(e) for e in manifest.segments])
    size, samples = sum(e.bytes for e in manifest.segments), sum(e.samples for e in manifest.segments)
    click.echo(
        f"{counted(len(manifest.segments), 'segment')}: {samples} samples, {size_text(size)}, "
        f"{_per_sample(size, samples)} bytes a sample"
    )
    click.echo(f"{counted(len(logs), 'log file')}: {size_text(sum(logs.values()))}")
    if manifest.deletes:
        click.echo(f"{counted(len(manifest.deletes), 'delete')} whose space is not regained yet")


def _row(e: SegmentEntry) -> tuple[str, ...]:
    tier = format_duration(e.tier_ms) if e.tier_ms else "raw"
    times = (time_text(e.mint_ms), time_text(e.maxt_ms))
    figures = (str(e.series), str(e.samples), str(e.bytes), _per_sample(e.bytes, e.samples))
    return (str(e.sequence), tier, str(e.level), *times, *figures)


def _per_sample(size: int, samples: int) -> str:
    return f"{size / samples:.3f}" if samples else "-"


def _log_sizes(disk: Disk, manifest: Manifest) -> dict[int, int]:
    found = {}
    for n in map(wal_sequence, disk.list(WAL_FOLDER)):
        if n is not None and n >= manifest.wal_first:
            try:
                found[n] = disk.size(wal_name(n))
            except FileNotFoundError:  # a daemon has gone on meanwhile
                continue
    return found


def _plain(manifest: Manifest, logs: dict[int, int]) -> dict[str, Any]:
    return {
        "segments": [attrs.asdict(e) for e in manifest.segments],
        "log_files": [{"sequence": n, "bytes": size} for n, size in sorted(logs.items())],
        "deletes_waiting": len(manifest.deletes),
        "totals": {
            "segments": len(manifest.segments),
            "samples": sum(e.samples for e in manifest.segments),
            "bytes": sum(e.bytes for e in manifest.segments),
            "log_bytes": sum(logs.values()),
        },
    }
