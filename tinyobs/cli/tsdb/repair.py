"""`tinyobs tsdb repair`."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from pathlib import Path

import click

from ...storage.layout import SEGMENT_FOLDER
from ...storage.posix_disk import PosixDisk
from ...storage.read_only_disk import ReadOnlyDisk
from ...storage.repair import apply_repair, plan_repair
from ...storage.verify import verify_directory
from .directories import lock, now_ms, require_data
from .figures import counted
from .parameters import path_option
from .progress import Show, progress_bar


@click.command()
@path_option
@click.option("--yes", is_flag=True, help="Carry the plan out without asking.")
@click.option("--dry-run", is_flag=True, help="Show the plan and stop.")
@click.pass_context
def repair(ctx: click.Context, path: Path, yes: bool, dry_run: bool) -> None:
    """Make a damaged data directory usable again with all that is sound in it.

    Shows what would be done and what is lost, and asks.  Nothing is deleted: what is taken out of use is kept below
    damaged/TIME/ in the directory.  Segments are written anew from their sound pages, the log is cut where it is
    damaged, a lost manifest is worked out from the files.  It may be interrupted and begun again.

    \b
    Exit code 0: repaired, or nothing to do.  1: a plan that was not carried out.
    """
    require_data(ReadOnlyDisk(path), path)
    disk = PosixDisk(path)
    lock(disk, "stop it first")
    try:
        with progress_bar("looking for damage") as show:
            plan = plan_repair(disk, _each_file(show, len(disk.list(SEGMENT_FOLDER))))
        if not plan.steps:
            click.echo(f"{path}: nothing to repair")
            return
        click.echo(f"{path}: {counted(len(plan.steps), 'step')}")
        for step in plan.steps:
            click.echo(f"  {step}")
        if dry_run or not (yes or _agreed()):
            click.echo("nothing was changed; --yes carries the plan out", err=True)
            ctx.exit(1)
        with progress_bar("repairing") as show:
            folder = apply_repair(disk, plan, now_ms(), _each_file(show, len(plan.steps)))
        with progress_bar("checking") as show:
            damage = verify_directory(disk, progress=lambda file, share: show(share, file)).damage
    finally:
        disk.unlock()
    click.echo(f"repaired; what was taken out of use is in {path / folder}" if folder else "repaired")
    for finding in damage:
        click.echo(str(finding))
    ctx.exit(1 if damage else 0)


def _each_file(show: Show, files: int) -> Callable[[str], None]:
    """Return what moves a bar with each file that is begun, of about so many."""
    begun = itertools.count()

    def told(file: str) -> None:
        show(min(next(begun) / max(files, 1), 1.0), file)

    return told


def _agreed() -> bool:
    return sys.stdin.isatty() and click.confirm("Carry this out?", err=True)
