"""`tinyobs tsdb backup`: make, list, verify and prune backups in a folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import click

from ...errors import CorruptionError, StorageError, UsageError
from ...storage.backup import Rate, make_backup, prune_backups, verify_backups
from ...storage.backup_format import Backup, find_backup, read_backups
from ...storage.backup_prune import KeepPolicy, kept_backups
from ...storage.backup_snapshot import claim_snapshot, remove_left_snapshots
from ...storage.disk import Disk
from ...storage.findings import Finding, Severity
from ...storage.layout import snapshot_folder
from ...storage.posix_disk import PosixDisk
from ...storage.read_only_disk import ReadOnlyDisk
from ...storage.time_text import time_text
from ..tables import echo_table
from .admin import post
from .directories import lock, locked_for_reading, now_ms, require_data, warn_of_imports
from .figures import counted, size_text
from .parameters import json_option, path_option, rate_option, url_option
from .progress import byte_bar

_FROM = click.option("--from", "folder", type=click.Path(path_type=Path), required=True, help="The folder of backups.")


@click.group(invoke_without_command=True)
@click.option(
    "--to", "folder", type=click.Path(path_type=Path), help="The folder to keep backups in; made when missing."
)
@path_option
@url_option
@rate_option
@click.pass_context
def backup(ctx: click.Context, folder: Path | None, path: Path, url: str, rate: int) -> None:
    """Back a data directory up into a folder: everything at first, then only what is new.

    \b
    tinyobs tsdb backup --to DIR                     a directory that nobody has open, or a snapshot
    tinyobs tsdb backup --to DIR --url URL           the directory of a running daemon on this machine
    tinyobs tsdb backup list|verify|prune --from DIR

    Each backup is complete by itself: removing others never harms it.  With --url a snapshot is made for it and
    removed again; --storage.tsdb.path says where the daemon keeps its data, as this process sees it.
    """
    if ctx.invoked_subcommand is not None:
        return
    if folder is None:
        raise UsageError("--to says where backups are kept")
    with _source(path, url) as source, _locked(PosixDisk(folder), folder) as target, byte_bar("backing up") as show:
        made = make_backup(source, target, now_ms(), show, Rate(rate))
    files = f"{counted(len(made.files), 'file')}, {size_text(made.bytes)}"
    click.echo(f"{made.name}: {files}, of which {size_text(made.copied_bytes)} were new")


@backup.command("list")
@_FROM
@json_option
def list_command(folder: Path, as_json: bool) -> None:
    """List the backups in a folder, oldest first."""
    found = _backups(ReadOnlyDisk(folder))
    if as_json:
        click.echo(json.dumps([attrs.asdict(b) | {"bytes": b.bytes} for b in found], indent=2))
        return
    head = ("BACKUP", "MADE", "SAMPLES FROM", "FILES", "SIZE", "NEW")
    rows = [
        (
            b.name,
            time_text(b.created_ms),
            "-" if b.mint_ms is None else time_text(b.mint_ms),
            str(len(b.files)),
            size_text(b.bytes),
            size_text(b.copied_bytes),
        )
        for b in found
    ]
    echo_table(head, rows)


@backup.command()
@_FROM
@click.option("--backup", "names", multiple=True, help="Only this one; repeatable.  [default: all]")
@rate_option
@json_option
@click.pass_context
def verify(ctx: click.Context, folder: Path, names: tuple[str, ...], rate: int, as_json: bool) -> None:
    """Check every file that the backups need: its hash, and segments inside as well.

    Exit code 0: all are sound.  1: some are not; each is named with the backups that need it.
    """
    disk = ReadOnlyDisk(folder)
    damaged: list[CorruptionError] = []
    if names:
        chosen = [find_backup(disk, n) for n in names]
    else:
        chosen, damaged = read_backups(disk)
        if not chosen and not damaged:
            raise UsageError("there are no backups in this folder")
    advice = "remove it; until then no backup can be pruned"
    findings = [Finding(Severity.DAMAGE, e.file, e.offset, e.reason, "this backup", advice) for e in damaged]
    with byte_bar("checking") as show:
        findings += verify_backups(disk, chosen, show, Rate(rate))
    if as_json:
        click.echo(json.dumps({"backups": len(chosen), "findings": [attrs.asdict(f) for f in findings]}, indent=2))
    else:
        for finding in findings:
            click.echo(str(finding))
        click.echo(f"{folder}: {counted(len(chosen), 'backup')}, {'damaged' if findings else 'sound'}")
    ctx.exit(1 if findings else 0)


@backup.command()
@_FROM
@click.option("--keep-last", type=click.IntRange(0), default=0, help="Keep so many of the newest.")
@click.option("--keep-daily", type=click.IntRange(0), default=0, help="Keep the newest of so many days.")
@click.option("--keep-weekly", type=click.IntRange(0), default=0, help="Keep the newest of so many weeks.")
@click.option("--keep-monthly", type=click.IntRange(0), default=0, help="Keep the newest of so many months.")
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and stop.")
def prune(folder: Path, keep_last: int, keep_daily: int, keep_weekly: int, keep_monthly: int, dry_run: bool) -> None:
    """Remove backups that no rule keeps, and the files that no other backup needs.

    Days, weeks and months are those of UTC; those without a backup do not count.
    """
    policy = KeepPolicy(keep_last, keep_daily, keep_weekly, keep_monthly)
    if policy.is_empty:
        raise UsageError("say what to keep: --keep-last, --keep-daily, --keep-weekly or --keep-monthly")
    with _locked(_existing(folder), folder) as disk:
        found = _backups(disk)
        keep = kept_backups(found, policy)
        if dry_run:
            for b in found:
                click.echo(f"{'keep  ' if b.name in keep else 'remove'} {b.name}")
            return
        gone = prune_backups(disk, keep)
    click.echo(
        f"removed {counted(len(gone.backups), 'backup')} and {counted(gone.objects, 'file')}, {size_text(gone.bytes)}; kept {len(keep)}"
    )


@contextmanager
def _source(path: Path, url: str) -> Iterator[Disk]:
    """Give a directory that does not change: the free directory itself, or a snapshot that is removed afterwards."""
    if not url:
        advice = "back it up with --url, or back up a snapshot"
        with locked_for_reading(path, advice=advice) as disk:
            require_data(disk, path)
            warn_of_imports(disk)
            yield disk
        return
    try:
        remove_left_snapshots(path)
    except (OSError, StorageError) as e:
        click.echo(f"WARNING what an interrupted backup left behind could not be removed: {e}", err=True)
    name = str(post(url, "snapshot").get("name", ""))
    folder = path / snapshot_folder(name)
    if not name or not folder.is_dir():
        raise StorageError(f"{url} made the snapshot {name!r}, but there is no {folder}: say --storage.tsdb.path")
    snapshot = claim_snapshot(path, name)
    try:
        yield snapshot.disk
    finally:
        snapshot.remove()


@contextmanager
def _locked(disk: Disk, folder: Path) -> Iterator[Disk]:
    lock(disk, f"another backup or prune works on {folder}; wait for it")
    try:
        yield disk
    finally:
        disk.unlock()


def _existing(folder: Path) -> Disk:
    ReadOnlyDisk(folder)  # else a mistyped name would be made
    return PosixDisk(folder)


def _backups(disk: Disk) -> list[Backup]:
    found, damaged = read_backups(disk)
    for e in damaged:
        click.echo(f"warning: {e}", err=True)
    if not found and not damaged:
        raise UsageError("there are no backups in this folder")
    return found
