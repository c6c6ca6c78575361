"""The agent's own metrics: the statistics of every part, under one naming rule and the names that dashboards know."""

from __future__ import annotations

import gc
import os
import platform
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import attrs
import psutil
import structlog

from .. import __version__
from ..model.batch import Refused
from ..model.families import MetricFamily, Point, counter, gauge
from ..model.labels import from_mapping
from ..model.metadata import MetricType
from .component import Status
from .statistics import families

if TYPE_CHECKING:
    from ..abc import Component, Processor
    from .agent import Agent

STORAGE_NAMES: Final = {
    "head_series": "prometheus_tsdb_head_series",
    "head_chunks": "prometheus_tsdb_head_chunks",
    "head_min_time_ms": "prometheus_tsdb_head_min_time",
    "head_max_time_ms": "prometheus_tsdb_head_max_time",
    "head_series_created_total": "prometheus_tsdb_head_series_created_total",
    "head_series_removed_total": "prometheus_tsdb_head_series_removed_total",
    "exemplars_appended_total": "prometheus_tsdb_exemplar_exemplars_appended_total",
    "wal_file": "prometheus_tsdb_wal_segment_current",
    "segments": "prometheus_tsdb_blocks_loaded",
    "segment_bytes": "prometheus_tsdb_storage_blocks_bytes",
    "maintenance_failures_total": "prometheus_tsdb_compactions_failed_total",
    "time_retentions_total": "prometheus_tsdb_time_retentions_total",
    "size_retentions_total": "prometheus_tsdb_size_retentions_total",
    "replay_seconds": "prometheus_tsdb_data_replay_duration_seconds",
    "min_time_ms": "prometheus_tsdb_lowest_timestamp",
}
"""Fields of the engine's statistics that carry a name of Prometheus."""


REFUSED_NAMES: Final = {
    Refused.OUT_OF_ORDER: "prometheus_tsdb_out_of_order_samples_total",
    Refused.OUT_OF_BOUNDS: "prometheus_tsdb_out_of_bound_samples_total",
    Refused.TOO_OLD: "prometheus_tsdb_too_old_samples_total",
}
"""Reasons of refusal that Prometheus counts under a name of their own; all are float samples."""

log = structlog.get_logger("metrics")


def gather(agent: Agent) -> Iterator[MetricFamily]:
    """Yield the families of all parts; a part that is not there yet is left out, as is one whose statistics fail."""
    yield from _of_agent(agent)
    yield from families("config", agent.config_source.statistics())
    yield from families("ingest", agent.ingest.statistics())
    yield from families("receivers", agent.receptions.statistics())
    if agent.storage is not None:
        yield from _contained(agent, "storage", partial(_of_storage, agent))
    yield from families("query", agent.query_engine.statistics(agent.query_desk.queue_figures()))
    yield from families("query", agent.query_desk.statistics())
    for part in agent.ingest.processors:
        yield from _contained(agent, part.name, partial(_of_component, part))
    for component in list(agent.supervisor.components.values()):
        yield from _contained(agent, component.name, partial(_of_component, component))
    if agent.listeners is not None:
        yield from agent.listeners.families()
    yield from agent.api.statistics.families()
    yield from families("notifications", agent.notifications.statistics())
    yield from process_families()
    yield _failures(agent)


def _contained(agent: Agent, name: str, produce: Callable[[], Iterable[MetricFamily]]) -> list[MetricFamily]:
    """Return what `produce` yields, nothing when it raises: one broken part must not take away the metrics of all."""
    try:
        return list(produce())
    except Exception as e:  # a plugin may raise anything
        failures = agent.statistics_failures
        failures[name] = failures.get(name, 0) + 1
        if failures[name] == 1:
            log.error("statistics failed; told once, later ones are only counted", component=name, exc_info=e)
        return []


def _failures(agent: Agent) -> MetricFamily:
    return MetricFamily(
        "tinyobs_component_statistics_failures_total",
        MetricType.COUNTER,
        "How often the statistics of a component could not be had.",
        tuple(Point(float(n), from_mapping({"component": c})) for c, n in sorted(agent.statistics_failures.items())),
    )


def _of_component(component: Component | Processor) -> list[MetricFamily]:
    statistics = component.statistics()
    return [] if statistics is None else families(component.name, statistics)


def _of_storage(agent: Agent) -> Iterator[MetricFamily]:
    statistics = agent.open_storage().statistics()
    if agent.settings.agent:
        yield from families("storage", statistics, {"wal_file": STORAGE_NAMES["wal_file"]})
        yield from log_aliases(statistics)
        return
    yield from families("storage", statistics, STORAGE_NAMES)
    yield from storage_aliases(statistics)
    yield from _of_retention(agent)


def _of_agent(agent: Agent) -> Iterator[MetricFamily]:
    ready = agent.listeners is not None and agent.listeners.readiness.ready
    yield gauge(
        "tinyobs_build_info", "What is running; always 1.", 1, version=__version__, python=platform.python_version()
    )
    yield gauge(
        "prometheus_build_info",
        "The same, for dashboards that expect it.",
        1,
        version=__version__,
        branch="",
        revision="",
        goversion=f"python{platform.python_version()}",
    )
    yield gauge("prometheus_ready", "Whether the daemon is up and serves requests.", ready)
    yield gauge("tinyobs_registry_series", "Series ever seen by this process.", len(agent.registry))
    yield gauge("tinyobs_registry_pairs", "Distinct label pairs ever seen by this process.", agent.registry.pair_count)
    states = list(agent.supervisor.states.values())
    yield MetricFamily(
        "tinyobs_component_running",
        MetricType.GAUGE,
        "Whether a component runs.",
        tuple(Point(float(s.status is Status.RUNNING), from_mapping({"component": s.name})) for s in states),
    )
    yield MetricFamily(
        "tinyobs_component_crashes_total",
        MetricType.COUNTER,
        "How often a component crashed.",
        tuple(Point(float(s.crashes), from_mapping({"component": s.name})) for s in states),
    )
    yield MetricFamily(
        "tinyobs_plugin_notice_failures_total",
        MetricType.COUNTER,
        "Notices in which a plugin raised.",
        tuple(Point(float(n), from_mapping({"plugin": p})) for p, n in sorted(agent.host.notice_failures.items())),
    )


def storage_aliases(statistics: Any) -> Iterator[MetricFamily]:
    """Yield figures of the local engine that have another shape in Prometheus; those that a storage lacks are left out.

    Names and meanings: prometheus tsdb/db.go, tsdb/head.go, tsdb/wlog/wlog.go.
    """
    values: dict[str, Any] = attrs.asdict(statistics, recurse=False)
    yield from _of_intake(values)
    if "cuts_total" in values and "compactions_total" in values:
        yield counter(
            "prometheus_tsdb_compactions_total",
            "Cuts of the head into segments, and merges of segments, that were completed.",
            values["cuts_total"] + values["compactions_total"],
        )
    if "job_seconds_total" in values and "jobs_total" in values:
        kinds = ("cut", "merge")
        yield MetricFamily(
            "prometheus_tsdb_compaction_duration_seconds",
            MetricType.SUMMARY,
            "Duration of cuts of the head and of merges, without the time between their slices.",
            (
                Point(float(sum(values["job_seconds_total"].get(k, 0.0) for k in kinds)), suffix="_sum"),
                Point(float(sum(values["jobs_total"].get(k, 0) for k in kinds)), suffix="_count"),
            ),
        )
    if "wal_fsyncs_total" in values and "wal_fsync_seconds_total" in values:
        yield MetricFamily(
            "prometheus_tsdb_wal_fsync_duration_seconds",
            MetricType.SUMMARY,
            "Duration of write log fsync.",
            (
                Point(float(values["wal_fsync_seconds_total"]), suffix="_sum"),
                Point(float(values["wal_fsyncs_total"]), suffix="_count"),
            ),
        )
    for name, help, key in (
        (
            "prometheus_tsdb_exemplar_last_exemplars_timestamp_seconds",
            "Time of the exemplar that came last.",
            "exemplar_newest_time_ms",
        ),
        ("prometheus_tsdb_head_min_time_seconds", "Oldest time in memory.", "head_min_time_ms"),
        ("prometheus_tsdb_head_max_time_seconds", "Newest time in memory.", "head_max_time_ms"),
        ("prometheus_tsdb_lowest_timestamp_seconds", "Oldest time stored.", "min_time_ms"),
    ):
        if key in values:
            yield gauge(name, help, values[key] / 1000)


def log_aliases(statistics: Any) -> Iterator[MetricFamily]:
    """Yield figures of the log of agent mode that have another shape in Prometheus.

    Names and meanings: prometheus tsdb/agent/db.go.
    """
    values: dict[str, Any] = attrs.asdict(statistics, recurse=False)
    histograms = values.get("native_samples_appended_total", 0)
    counts = {"float": values.get("samples_appended_total", 0) - histograms, "histogram": histograms}
    points = [Point(float(n), from_mapping({"type": kind})) for kind, n in counts.items()]
    name = "prometheus_agent_samples_appended_total"
    yield MetricFamily(name, MetricType.COUNTER, "Total number of samples appended to the storage.", tuple(points))
    late = values.get("samples_refused_total", {}).get(str(Refused.OUT_OF_ORDER), 0)
    name = "prometheus_agent_out_of_order_samples_total"
    yield counter(name, "Total number of out of order samples ingestion failed attempts.", late)


def _of_intake(values: Mapping[str, Any]) -> Iterator[MetricFamily]:
    """Yield what was accepted and refused."""
    if "samples_refused_total" in values:
        for reason, name in REFUSED_NAMES.items():
            count = values["samples_refused_total"].get(str(reason), 0)
            yield counter(name, f"Samples refused: {reason.replace('_', ' ')}.", count, type="float")
    if "head_samples_appended_total" in values:
        histograms = values.get("head_native_samples_appended_total", 0)
        counts = {"float": values["head_samples_appended_total"] - histograms, "histogram": histograms}
        points = [Point(float(n), from_mapping({"type": kind})) for kind, n in counts.items()]
        name = "prometheus_tsdb_head_samples_appended_total"
        yield MetricFamily(name, MetricType.COUNTER, "Samples accepted, by type.", tuple(points))
    if "exemplars_refused_total" in values:
        count = values["exemplars_refused_total"].get("out_of_order", 0)
        name = "prometheus_tsdb_exemplar_out_of_order_exemplars_total"
        yield counter(name, "Exemplars refused because they are older than the newest of their series.", count)


def _of_retention(agent: Agent) -> Iterator[MetricFamily]:
    time_ms, size_bytes = agent.retention()
    yield gauge("prometheus_tsdb_retention_limit_seconds", "Age at which samples may go.", time_ms / 1000)
    yield gauge("prometheus_tsdb_retention_limit_bytes", "Size above which the oldest go; 0: no limit.", size_bytes)


def process_families() -> Iterator[MetricFamily]:
    """Yield what every Prometheus client library says of its process (https://prometheus.io/docs/instrumenting)."""
    process = psutil.Process()
    with process.oneshot():
        times, memory = process.cpu_times(), process.memory_info()
        yield counter(
            "process_cpu_seconds_total", "Total user and system CPU time spent in seconds.", times.user + times.system
        )
        yield gauge("process_resident_memory_bytes", "Resident memory size in bytes.", memory.rss)
        yield gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.", memory.vms)
        yield gauge(
            "process_start_time_seconds",
            "Start time of the process since unix epoch in seconds.",
            process.create_time(),
        )
    if sys.platform == "linux":
        yield gauge("process_open_fds", "Number of open file descriptors.", len(os.listdir("/proc/self/fd")))
        import resource

        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        yield gauge("process_max_fds", "Maximum number of open file descriptors.", limit)
    yield gauge("tinyobs_threads", "Threads of the process.", threading.active_count())
    collections = MetricFamily(
        "python_gc_collections_total",
        MetricType.COUNTER,
        "Runs of the garbage collector.",
        tuple(
            Point(float(s["collections"]), from_mapping({"generation": str(i)})) for i, s in enumerate(gc.get_stats())
        ),
    )
    yield collections
