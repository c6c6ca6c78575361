"""Every hook of TinyObs, grouped by phase.  The first file that the author of a plugin reads.

A plugin is a module (or any object) with functions marked `@tinyobs.hookimpl` that are named as below; it may take
fewer arguments than the specification has.  It is found by the entry-point group `tinyobs` of an installed
distribution, or given as `--plugin FILE.py`.

Hooks are never async and never called per sample: they *declare* parts and return objects, and the objects do the
work, under the supervisor where they are components.  Hooks that return lists may return an empty one.  An exception
in a hook of the start-up or parts phase stops the start with a message that names the plugin; one in a notice is
caught, counted (`tinyobs_plugin_notice_failures_total`) and logged, and the other plugins are told all the same.

docs/hooks.md has an example for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from .abc import ConfigSection, DiscovererKind, Exporter, Processor, Route, Services, Sink, Source, Storage
    from .model.batch import AppendResult, Batch
    from .model.functions import PromqlFunction

hookspec = pluggy.HookspecMarker("tinyobs")
hookimpl = pluggy.HookimplMarker("tinyobs")

# -- start-up --------------------------------------------------------------------------------------------------


@hookspec
def tinyobs_config_sections() -> Sequence[ConfigSection]:  # type: ignore[empty-body]
    """Return the plugin's sections below the top-level key `tinyobs:` of the configuration file.

    Called before the configuration is read, and again before each reload.  The value of a section is found as
    `services.config.tinyobs.section("name")`.
    """


# -- parts -----------------------------------------------------------------------------------------------------


@hookspec
def tinyobs_discoverers() -> Sequence[DiscovererKind]:  # type: ignore[empty-body]
    """Return kinds of target discovery: the key in `scrape_configs`, its schema and how to make a `Discoverer`."""


@hookspec
def tinyobs_promql_functions() -> Sequence[PromqlFunction]:  # type: ignore[empty-body]
    """Return functions of PromQL, for queries, rules and whatever else reads expressions.

    Called once, before the configuration is read.  A name of the language, or one that two plugins claim, stops the
    start, as does a declaration that does not fit its function.
    """


@hookspec
def tinyobs_sources(services: Services) -> Sequence[Source]:  # type: ignore[empty-body]
    """Return components that make batches.  They start after the storage is open."""


@hookspec
def tinyobs_sinks(services: Services) -> Sequence[Sink]:  # type: ignore[empty-body]
    """Return components that hand committed samples on.  They start before the sources and stop after them."""


@hookspec
def tinyobs_exporters(services: Services) -> Sequence[Exporter]:  # type: ignore[empty-body]
    """Return in-process exporters; the built-in `inprocess` source collects them on their interval."""


@hookspec
def tinyobs_processors(services: Services) -> Sequence[Processor]:  # type: ignore[empty-body]
    """Return steps that every batch passes on its way into storage, in order of plugin registration."""


@hookspec(firstresult=True)
def tinyobs_storage(url: str, services: Services) -> Storage | None:
    """Open the storage that a URL names (`file:data`, a scheme of the plugin's own), or return None.

    Called once, in a worker thread; the first plugin that returns an object wins.
    """


@hookspec
def tinyobs_routes(services: Services) -> Sequence[Route]:  # type: ignore[empty-body]
    """Return HTTP routes.  A path that two plugins claim stops the start."""


# -- notices ---------------------------------------------------------------------------------------------------


@hookspec
def tinyobs_batch_committed(batch: Batch, result: AppendResult) -> None:
    """A batch is durable.  Called in the event loop after each group commit; must return at once."""


@hookspec
def tinyobs_segment_sealed(name: str, statistics: object) -> None:
    """The storage has written a segment; `statistics` is its `SegmentInfo`."""


@hookspec
def tinyobs_component_status(name: str, status: str, reason: str) -> None:
    """A component changed its status (`starting`, `running`, `backing_off`, `stopped`)."""
