"""`tinyobs tsdb verify`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import attrs
import click

from ...errors import StorageError
from ...storage.findings import VerifyReport
from ...storage.read_only_disk import ReadOnlyDisk
from ...storage.verify import verify_directory
from .directories import locked_for_reading, require_data
from .figures import counted, size_text
from .parameters import json_option, path_option
from .progress import progress_bar

UNCHECKED: Final = 2


@click.command()
@path_option
@click.option("--quick", is_flag=True, help="Only the manifest and the ends of segments: no pages, no log.")
@click.option("--while-running", "live", is_flag=True, help="Check a directory that a daemon has open.")
@json_option
@click.pass_context
def verify(ctx: click.Context, path: Path, quick: bool, live: bool, as_json: bool) -> None:
    """Check everything in a data directory that has a checksum or an order, and change nothing.

    One line for each finding: file, byte, what is lost, what to do.  What a crash leaves behind (a torn end of the
    log, unlisted files) is told as normal.

    \b
    Exit code 0: sound.  1: damaged.  2: could not be checked (in use, not readable, newer format).
    """
    try:
        report = _check(path, quick, live)
    except (StorageError, OSError) as e:
        click.echo(f"tinyobs: could not check {path}: {e}", err=True)
        ctx.exit(UNCHECKED)
    if as_json:
        plain: dict[str, Any] = attrs.asdict(report)
        click.echo(json.dumps({"path": str(path), "sound": not report.damage, **plain}, indent=2))
    else:
        _print(path, report)
    ctx.exit(1 if report.damage else 0)


def _check(path: Path, quick: bool, live: bool) -> VerifyReport:
    with progress_bar("checking") as show:

        def told(file: str, share: float) -> None:
            show(share, file)

        if live:
            disk = ReadOnlyDisk(path)
            require_data(disk, path)
            return verify_directory(disk, quick=quick, live=True, progress=told)
        advice = "check a snapshot (`tinyobs tsdb snapshot --url ...`), or say --while-running"
        with locked_for_reading(path, advice=advice) as disk:
            require_data(disk, path)
            return verify_directory(disk, quick=quick, progress=told)


def _print(path: Path, report: VerifyReport) -> None:
    for finding in report.findings:
        click.echo(str(finding))
    seen = f"{counted(report.segments, 'segment')} with {counted(report.samples, 'sample')}, "
    seen += f"{counted(report.log_files, 'log file')} with {report.log_samples}, {size_text(report.bytes)}"
    damage = len(report.damage)
    verdict = "sound" if not damage else f"damaged: {counted(damage, 'finding')}"
    click.echo(f"{path}: {verdict} ({seen})")
