"""`tinyobs tsdb analyze`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import attrs
import click

from ...errors import StorageError, UsageError
from ...storage.analysis import Analysis, Top
from ...storage.analysis import analyze as analyze_segments
from ...storage.layout import MANIFEST, segment_name
from ...storage.manifest import read_manifest
from ...storage.page_cache import PageCache
from ...storage.read_only_disk import ReadOnlyDisk
from ...storage.segment_reader import SegmentReader
from ...storage.time_text import time_text
from ..tables import echo_table
from .directories import require_data, warn_of_imports
from .figures import size_text
from .parameters import TIME_MAX, TIME_MIN, Time, json_option, path_option
from .progress import progress_bar

CACHE_BYTES: Final = 32 << 20
TABLES: Final = (
    ("series_by_metric", "Metrics with most series", "SERIES"),
    ("samples_by_metric", "Metrics with most samples", "SAMPLES"),
    ("bytes_by_metric", "Metrics that take most bytes", "BYTES"),
    ("values_by_label", "Labels with most values", "VALUES"),
    ("bytes_by_label", "Labels with the longest values together", "BYTES"),
    ("series_by_pair", "Pairs on most series", "SERIES"),
    ("churn_by_metric", "Metrics with most series that come and go", "SERIES"),
    ("churn_by_label", "Labels on most series that come and go", "SERIES"),
)


@click.command()
@path_option
@click.option("--segment", "numbers", type=int, multiple=True, help="Only this segment; repeatable.")
@click.option(
    "--start", type=Time(), default=TIME_MIN, show_default=False, help="Segments with samples from this time on."
)
@click.option("--end", type=Time(), default=TIME_MAX, show_default=False, help="Segments with samples up to this time.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="Entries of each list.")
@json_option
def analyze(path: Path, numbers: tuple[int, ...], start: int, end: int, limit: int, as_json: bool) -> None:
    """Tell what segments consist of: metrics, labels and pairs with most series and bytes, and what comes and goes.

    Reads indexes only, of a directory that a daemon may have open; samples that are not in segments yet are not seen.
    For the daemon's live figures ask /api/v1/status/tsdb.
    """
    disk = ReadOnlyDisk(path)
    require_data(disk, path)
    manifest = read_manifest(disk)
    if manifest is None:
        raise StorageError(f"{path} has no {MANIFEST}; `tinyobs tsdb repair` works one out from the files")
    warn_of_imports(disk)
    entries = [e for e in manifest.segments if e.maxt_ms >= start and e.mint_ms <= end and not e.tier_ms]
    if numbers:
        entries = [e for e in manifest.segments if e.sequence in numbers]
        missing = set(numbers) - {e.sequence for e in entries}
        if missing:
            raise UsageError(f"there is no segment {min(missing)}; `tinyobs tsdb list` shows those there are")
    cache = PageCache(CACHE_BYTES)
    try:
        readers = [SegmentReader(disk, segment_name(e.sequence), cache) for e in entries]
    except FileNotFoundError as e:
        raise StorageError(f"{e.filename} went away meanwhile; try again") from e
    with progress_bar("reading indexes") as show:
        found = analyze_segments(readers, limit, lambda share: show(share, ""))
    if as_json:
        click.echo(json.dumps(attrs.asdict(found), indent=2))
    elif found.segments:
        _print(found)
    else:
        click.echo(
            "no segments: samples become segments after two to three hours; /api/v1/status/cardinality has live figures"
        )


def _print(found: Analysis) -> None:
    click.echo(f"segments      {found.segments}, {time_text(found.mint_ms)} to {time_text(found.maxt_ms)}")
    click.echo(f"series        {found.series}, of which {found.churning_series} are not in every segment")
    click.echo(f"samples       {found.samples}")
    click.echo(f"bytes         {size_text(found.bytes)}, of which {size_text(found.index_bytes)} are index")
    click.echo(f"labels        {found.label_names} names, {found.label_pairs} pairs")
    for name, title, unit in TABLES:
        entries: Top = getattr(found, name)
        if entries:
            click.echo(f"\n{title}:")
            echo_table((unit, "NAME"), [(str(figure), text) for text, figure in entries])
