"""`tinyobs tsdb restore`."""

from __future__ import annotations

from pathlib import Path

import click

from ...errors import StorageError, UsageError
from ...storage.backup import Rate
from ...storage.backup_format import find_backup, read_backups
from ...storage.posix_disk import PosixDisk
from ...storage.read_only_disk import ReadOnlyDisk
from ...storage.restore import choose_backup, cut_after, restore_backup
from ...storage.time_text import time_text
from ...storage.verify import verify_directory
from .directories import now_ms
from .figures import size_text
from .parameters import Time, rate_option
from .progress import byte_bar, progress_bar


@click.command()
@click.option("--from", "folder", type=click.Path(path_type=Path), required=True, help="The folder of backups.")
@click.option("--to", "target", type=click.Path(path_type=Path), required=True, help="A new or empty directory.")
@click.option("--at", "time_ms", type=Time(), help="As of this time: no sample after it.  RFC 3339 or Unix seconds.")
@click.option("--backup", "name", help="This backup.  [default: the newest, or the first made at or after --at]")
@rate_option
@click.pass_context
def restore(ctx: click.Context, folder: Path, target: Path, time_ms: int | None, name: str | None, rate: int) -> None:
    """Restore a backup into a new directory, whole or as of a point in time, and verify the result.

    Start the daemon on it with --storage.tsdb.path, or move it into the place of the old directory.
    """
    store = ReadOnlyDisk(folder)
    if name:
        chosen = find_backup(store, name)
    else:
        found, damaged = read_backups(store)
        for e in damaged:
            click.echo(f"warning: {e}", err=True)
        chosen = choose_backup(found, time_ms)
    if time_ms is not None and chosen.created_ms < time_ms:
        raise UsageError(f"{chosen.name} was made before {time_text(time_ms)}")
    if target.is_dir() and any(target.iterdir()):
        raise StorageError(f"{target} is not empty; name a new directory")
    disk = PosixDisk(target)
    with byte_bar("restoring") as show:
        restore_backup(store, chosen, disk, show, Rate(rate))
    if time_ms is not None:
        with progress_bar("cutting"):
            cut_after(disk, time_ms, now_ms())
    with progress_bar("checking") as show_share:
        report = verify_directory(disk, progress=lambda file, share: show_share(share, file))
    for finding in report.damage:
        click.echo(str(finding))
    until = f" up to {time_text(time_ms)}" if time_ms is not None else ""
    samples = f"{report.samples} samples in segments, {report.log_samples} in the log"
    click.echo(f"restored {chosen.name}{until} to {target}: {samples}, {size_text(report.bytes)}")
    ctx.exit(1 if report.damage else 0)
