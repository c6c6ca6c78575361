"""A plugin in one file: an exporter, a processor and notices.

- The exporter counts the files in a spool folder (`queue_files`) and shows what the notices told.
- The processor takes samples out whose metric name begins with a prefix, whichever way they come in.
- The notices count commits, segments and crashes of components.

Run it with `tinyobs run --plugin queue_watch.py`; its settings are the section `queue_watch` below `tinyobs:`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

import tinyobs
from tinyobs.abc import ConfigSection, Exporter, Processor, Services
from tinyobs.model.batch import AppendResult, Batch
from tinyobs.model.families import MetricFamily, counter, gauge
from tinyobs.model.labels import metric_name


@attrs.frozen(kw_only=True)
class QueueWatchSettings:
    """The section `queue_watch`."""

    folder: str = "."
    """The folder whose files are counted."""
    drop_prefix: str = ""
    """Samples of metrics that begin with this are not stored; "" stores all."""


@attrs.define
class Seen:
    """What the notices told; written in the event loop, read by the exporter's thread."""

    commits: int = 0
    samples: int = 0
    segments: int = 0
    crashes: int = 0


SEEN = Seen()
"""Every agent loads its own copy of this file, so this belongs to one agent."""


class QueueExporter(Exporter):
    """Counts files; `collect` runs in a worker thread on the exporter's interval."""

    name = "queue_watch"
    interval_ms = 5_000

    def __init__(self, services: Services) -> None:
        self._services = services

    def collect(self) -> Sequence[MetricFamily]:
        """Return what is true now.  An exception here shows as `up 0`."""
        folder = Path(_settings(self._services).folder)
        return [
            gauge("queue_files", "Files in the spool folder.", sum(1 for p in folder.iterdir() if p.is_file())),
            counter("queue_watch_commits_total", "Batches that became durable.", SEEN.commits),
            counter("queue_watch_samples_total", "Samples in them.", SEEN.samples),
            counter("queue_watch_segments_total", "Segments that the storage wrote.", SEEN.segments),
            counter("queue_watch_crashes_total", "Components that crashed.", SEEN.crashes),
        ]


class DropByPrefix(Processor):
    """Takes samples out of every batch: decides once per series, then costs one index per batch."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._prefix = ""
        self._wanted: NDArray[np.bool_] = np.empty(0, bool)

    def process(self, batch: Batch) -> Batch:
        """Return the batch without unwanted series; the very same object when there is nothing to do."""
        prefix = _settings(self._services).drop_prefix
        if not prefix:
            return batch
        if prefix != self._prefix:  # a reload changed it: decide afresh
            self._prefix, self._wanted = prefix, np.empty(0, bool)
        registry = self._services.registry
        fresh = range(len(self._wanted), len(registry))
        if fresh:
            more = [not metric_name(registry.labels(ref)).startswith(prefix) for ref in fresh]
            self._wanted = np.append(self._wanted, np.array(more, bool))
        keep = self._wanted[batch.refs]
        if keep.all():
            return batch
        return attrs.evolve(
            batch, refs=batch.refs[keep], timestamps_ms=batch.timestamps_ms[keep], values=batch.values[keep]
        )


@tinyobs.hookimpl
def tinyobs_config_sections() -> Sequence[ConfigSection]:
    """Declare the section."""
    return [ConfigSection("queue_watch", QueueWatchSettings)]


@tinyobs.hookimpl
def tinyobs_exporters(services: Services) -> Sequence[Exporter]:
    """Return the exporter."""
    return [QueueExporter(services)]


@tinyobs.hookimpl
def tinyobs_processors(services: Services) -> Sequence[Processor]:
    """Return the processor."""
    return [DropByPrefix(services)]


@tinyobs.hookimpl
def tinyobs_batch_committed(batch: Batch, result: AppendResult) -> None:
    """Count; this is called in the event loop and must return at once."""
    SEEN.commits += 1
    SEEN.samples += result.stored


@tinyobs.hookimpl
def tinyobs_segment_sealed(name: str) -> None:
    """Count; a hook may take fewer arguments than its specification has."""
    SEEN.segments += 1


@tinyobs.hookimpl
def tinyobs_component_status(name: str, status: str) -> None:
    """Count crashes: a component that crashed backs off before it starts again."""
    SEEN.crashes += status == "backing_off"


def _settings(services: Services) -> QueueWatchSettings:
    found: Any = services.config.tinyobs.section("queue_watch")
    assert isinstance(found, QueueWatchSettings)
    return found
