"""`tinyobs tsdb compact`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import attrs
import click

from ...builtin.local_storage import engine_options
from ...config import loader
from ...errors import StorageError
from ...plugin_manager import build_plugin_manager
from ...storage.engine import Engine
from ...storage.options import EngineOptions
from ...storage.restore import KEEP_ALL
from .directories import now_ms, work_engine
from .figures import counted, size_text
from .parameters import Duration, config_option, path_option
from .progress import Show, progress_bar

SHARE_LEFT: Final = 0.02
"""How far the bar moves with a slice of work, of what is left of it: how much waits behind this slice nobody knows."""


@click.command()
@path_option
@click.option(
    "--storage.tsdb.retention.time",
    "retention_ms",
    type=Duration(),
    help="Drop what is older, and let no segment be wider than a tenth of it, as the daemon does.  [default: what the"
    " configuration says, else drop nothing for its age]",
)
@config_option
@click.option("--clean-tombstones", "clean", is_flag=True, help="Also regain the space of all that was deleted.")
@click.option("--all", "everything", is_flag=True, help="Also what waits for newer data: the head, the last segments.")
def compact(
    path: Path,
    retention_ms: int | None,
    config_file: Path | None,
    plugin_files: tuple[str, ...],
    clean: bool,
    everything: bool,
) -> None:
    """Do all background work that waits: cut, merge, take in imports, rewrite.  Needs the directory for itself.

    A daemon does the same by itself, a slice at a time; this is for directories that were imported or restored.
    Tiers are made, and selectors have a retention of their own, with --config.file only.
    """
    try:
        if config_file is None:
            options = attrs.evolve(KEEP_ALL, retention_ms=retention_ms or KEEP_ALL.retention_ms)
        else:
            options = _configured(config_file, plugin_files, retention_ms)
    except ValueError as e:
        raise click.BadParameter(str(e), param_hint="--storage.tsdb.retention.time") from e
    with work_engine(path, options) as engine, progress_bar("compacting") as show:
        before = engine.statistics()
        work_off(engine, show, clean=clean, everything=everything)
        after = engine.statistics()
    for word, figures in (("before", before), ("after", after)):
        samples, size = figures.segment_samples, figures.segment_bytes
        each = f", {size / samples:.3f} bytes a sample" if samples else ""
        click.echo(f"{word}: {counted(figures.segments, 'segment')}, {samples} samples, {size_text(size)}{each}")


def _configured(file: Path, plugin_files: Sequence[str], retention_ms: int | None) -> EngineOptions:
    """Return the options that a daemon has with this file; nothing goes for its age unless the file or a flag says so."""
    host = build_plugin_manager(plugin_files)
    config = loader.load(file, host.collect("tinyobs_config_sections"), host.collect("tinyobs_discoverers"))
    given = config.storage.tsdb.retention
    return engine_options(config, retention_ms or given.time_ms or KEEP_ALL.retention_ms, given.size_bytes)


def work_off(engine: Engine, show: Show, *, clean: bool = False, everything: bool = False) -> None:
    """Let an engine do its background work until none waits; raises `StorageError` when it fails.

    clean: regain the space of all deletes first.  everything: cut and merge the newest data as well.
    """
    done = 0.0
    failures = engine.statistics().maintenance_failures_total
    while (clean and engine.clean_tombstones()) or (engine.compact() if everything else engine.maintain(now_ms())):
        done += (1.0 - done) * SHARE_LEFT
        show(done, f"{len(engine.segments.entries)} segments")
    if engine.statistics().maintenance_failures_total > failures:
        raise StorageError(f"stopped: {engine.upkeep.last_failure}; what was there before is still there")
    show(1.0, "")
