"""`tinyobs tsdb import`."""

from __future__ import annotations

import gc
import os
from datetime import UTC, datetime
from pathlib import Path

import click

from ...errors import TinyObsError
from ...interchange.csv_columns import ColumnChoice, TimeForm
from ...interchange.formats import Form
from ...model.durations import format_duration
from ...storage.bulk import BulkOptions
from ...storage.layout import INCOMING_FOLDER
from ...storage.read_only_disk import ReadOnlyDisk
from .directories import now_ms, require_data
from .figures import counted
from .importing import ImportPlan, Outcome, expand, incoming_disk, run_import
from .parameters import Duration, Size, path_option
from .progress import progress_bar

NICENESS = 10
"""How much an import steps back behind other processes."""


class RefusedLines(TinyObsError):
    """The import is done, but some lines were refused."""


@click.command("import")
@path_option
@click.option("--format", "form", type=click.Choice([str(f) for f in Form]), help="The format.  [default: by the name]")
@click.option("--columns", default="", help="CSV without a header: the names of its columns, with commas.")
@click.option("--time-column", default="", help="Tables: the column of times.  [default: timestamp, time, ts, ...]")
@click.option(
    "--time-format", type=click.Choice([str(f) for f in TimeForm]), help="Tables: its form.  [default: by its looks]"
)
@click.option("--value-column", "value_columns", multiple=True, help="Tables: a column of values; repeatable.")
@click.option("--name", "metric", default="", help="Tables: the metric name.")
@click.option("--strict", is_flag=True, help="Stop at the first bad line.")
@click.option("--again", is_flag=True, help="Import what was imported before.")
@click.option("--create", is_flag=True, help="Create the data directory where there is none.")
@click.option("--memory", type=Size(), default="256MB", show_default=True, help="Memory for samples being sorted.")
@click.option(
    "--rate", type=click.IntRange(0), default=0, show_default=True, help="Samples a second at most; 0: no bound."
)
@click.option("--round", "round_samples", type=click.IntRange(1000), default=200_000_000, show_default=True,
              help="Samples after which segments are handed over; what an interrupted import repeats at most.")  # fmt: skip
@click.option("--storage.tsdb.retention.time", "keeps_ms", type=Duration(), default="15d", show_default=True,
              help="What the daemon keeps: older samples bring a warning.")  # fmt: skip
@click.argument("names", metavar="FILE...", nargs=-1, required=True)
def import_(
    path: Path,
    form: str | None,
    columns: str,
    time_column: str,
    time_format: str | None,
    value_columns: tuple[str, ...],
    metric: str,
    strict: bool,
    again: bool,
    create: bool,
    memory: int,
    rate: int,
    round_samples: int,
    keeps_ms: int,
    names: tuple[str, ...],
) -> None:
    """Bring samples of any age into a data directory, while its daemon runs or not.

    FILE may be compressed (gzip, zstd), a pattern, or - for standard input.  Formats: csv, jsonl (as VictoriaMetrics
    exports), openmetrics (with a timestamp on every sample), remote-write, parquet.  A daemon that runs takes the result
    over by itself within seconds, any other at its next start.  The same command again goes on where an import was
    interrupted.  Exit code 1 when lines were refused; all others are imported then.
    """
    try:
        options = BulkOptions(memory_bytes_max=memory, round_samples_max=round_samples)
    except ValueError as e:
        raise click.UsageError(str(e)) from None
    names_of_columns = tuple(c.strip() for c in columns.split(",")) if columns else ()
    choice = ColumnChoice(
        names_of_columns, time_column, TimeForm(time_format) if time_format else None, value_columns, metric
    )
    plan = ImportPlan(expand(names), Form(form) if form else None, choice, options, strict, again, rate)
    if not create and not (path / INCOMING_FOLDER).is_dir():
        require_data(ReadOnlyDisk(path), path)
    os.nice(NICENESS)
    gc.disable()  # looking for cycles, of which there are none, among millions of fields costs a third of the time
    try:
        with incoming_disk(path) as disk, progress_bar("importing") as show:
            outcome = run_import(disk, plan, show)
    finally:
        gc.enable()
    _tell(outcome, keeps_ms)


def _tell(outcome: Outcome, keeps_ms: int) -> None:
    journal = outcome.journal
    before = f", {outcome.resumed} of them in an earlier run" if outcome.resumed else ""
    span = ""
    if journal.mint_ms is not None and journal.maxt_ms is not None:
        span = f" from {_text(journal.mint_ms)} to {_text(journal.maxt_ms)}"
    click.echo(
        f"imported {journal.samples} samples{before}, {outcome.series} series{span}; {counted(journal.segments, 'segment')}"
    )
    if journal.mint_ms is not None and journal.mint_ms < now_ms() - keeps_ms:
        click.echo(
            f"WARNING some samples are older than {format_duration(keeps_ms)}: a daemon that keeps no more drops them at"
            " once (--storage.tsdb.retention.time)",
            err=True,
        )
    if outcome.refused:
        for problem in outcome.examples:
            click.echo(str(problem), err=True)
        shown = len(outcome.examples)
        above = "" if shown == outcome.refused else f", the first {shown} are above"
        raise RefusedLines(f"{counted(outcome.refused, 'line')} refused{above}")


def _text(time_ms: int) -> str:
    """Return a time as RFC 3339, or in ms where that has no room for it."""
    try:
        return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return f"{time_ms} ms"
