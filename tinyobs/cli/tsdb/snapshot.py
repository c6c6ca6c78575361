"""`tinyobs tsdb snapshot`."""

from __future__ import annotations

from pathlib import Path

import click

from ...storage.layout import snapshot_folder
from .admin import post
from .directories import warn_of_imports, work_engine
from .parameters import path_option, url_option


@click.command()
@path_option
@url_option
@click.option("--skip-head", is_flag=True, help="Without the samples that are not in segments yet.")
def snapshot(path: Path, url: str, skip_head: bool) -> None:
    """Keep the data as it is now, as a directory of its own below snapshots/, and print its path.

    Segments get a second name and take no space until the daemon drops or merges them.  A snapshot can be opened,
    verified, copied and removed as any directory.
    """
    if url:
        name = str(post(url, "snapshot", [("skip_head", "true")] if skip_head else []).get("name", ""))
        click.echo(path / snapshot_folder(name))
        return
    with work_engine(path) as engine:
        warn_of_imports(engine.disk)
        name = engine.snapshot(skip_head=skip_head)
    click.echo(path / snapshot_folder(name))
