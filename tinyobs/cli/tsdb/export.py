"""`tinyobs tsdb export`."""

from __future__ import annotations

from pathlib import Path

import click

from ...errors import UsageError
from ...interchange.formats import Form, form_of
from ...interchange.streams import STANDARD
from .directories import read_engine
from .exporting import export, output
from .figures import counted
from .parameters import TIME_MAX, TIME_MIN, Time, path_option, selectors
from .progress import progress_bar


@click.command("export")
@path_option
@click.option("--match", "texts", multiple=True, default=('{__name__=~".*"}',), help="Series to export; repeatable.")
@click.option("--start", type=Time(), help="First time: RFC 3339 or Unix seconds.  [default: the oldest]")
@click.option("--end", type=Time(), help="Last time, included.  [default: the newest]")
@click.option(
    "--format",
    "form",
    type=click.Choice([str(f) for f in Form]),
    help="The format.  [default: by the name; jsonl on standard output]",
)
@click.option(
    "-o", "--output", "name", default=STANDARD, help="File; compressed for .gz and .zst.  [default: standard output]"
)
def export_(
    path: Path, texts: tuple[str, ...], start: int | None, end: int | None, form: str | None, name: str
) -> None:
    """Write samples of a data directory that nobody has open, or of a snapshot, in a format that others read.

    Formats: csv, jsonl (as VictoriaMetrics imports), openmetrics, remote-write, parquet.  All of them carry floats
    exactly; native histograms are carried by jsonl, remote-write and parquet.  A daemon that runs has its directory open:
    make a snapshot (tinyobs tsdb snapshot --url) and export that.
    """
    chosen = Form(form) if form else Form.JSON_LINES if name == STANDARD else form_of(name)
    sets = selectors(texts)
    first, last = TIME_MIN if start is None else start, TIME_MAX if end is None else end
    if first > last:
        raise UsageError("--start is after --end")
    with (
        read_engine(path) as engine,
        engine.querier(first, last) as querier,
        output(name) as out,
        progress_bar("exporting") as show,
    ):
        done = export(querier, sets, (first, last), chosen, out, show)
    click.echo(f"exported {done.samples - done.left_out} samples of {done.series} series", err=True)
    if done.left_out:
        click.echo(f"WARNING {counted(done.left_out, 'sample')} left out, for which this format has no place", err=True)
