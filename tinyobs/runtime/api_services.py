"""What the HTTP handlers need, filled from an agent (see `tinyobs.web.services`)."""

from __future__ import annotations

import os
import platform
import socket
import threading
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..abc import TargetGroup
from ..exposition.negotiate import choose
from ..exposition.writer import write
from ..model.durations import format_duration
from ..model.families import MetricFamily
from ..model.matchers import Matcher
from ..model.sizes import format_size
from ..promql.printer import pretty
from ..web.services import ApiServices, BuildInfo, RuntimeInfo, StorageAdmin, TargetsView
from ..web.target_trial import TargetQuestion, TargetTest
from .features import features_of
from .relabel_services import relabel_services

if TYPE_CHECKING:
    from ..config.schema import Config
    from .agent import Agent

PROMETHEUS_VERSION = "3.14.0"
"""The Prometheus whose behaviour the API has; clients choose features by it."""


def api_services(agent: Agent) -> ApiServices:
    """Return the services of an agent."""
    settings = agent.settings
    shown = _ShownConfig(agent)
    return ApiServices(
        clock=agent.clock,
        queryable=agent,
        promql=agent.query_engine,
        parse=agent.query_engine.parse,
        functions=agent.query_engine.functions.signatures,
        metadata=agent.metadata,
        exemplars=lambda sets, mint_ms, maxt_ms: agent.open_storage().exemplars(sets, mint_ms, maxt_ms),
        targets=lambda: _targets(agent),
        discovered=lambda: _discovered(agent),
        config_yaml=shown.text,
        flags=settings.flags,
        build=BuildInfo(version=PROMETHEUS_VERSION, revision=f"tinyobs-{__version__}", go_version=_python()),
        runtime=lambda: _runtime(agent),
        cardinality=lambda query: agent.open_storage().cardinality(query),
        limits=lambda: agent.registry.gate.report() if agent.registry.gate is not None else {},
        gather=agent.gather,
        expose=_expose,
        readiness=agent.readiness,
        reload=agent.reload,
        desk=agent.query_desk,
        relabelling=relabel_services(lambda: agent.config),
        test_target=partial(_test_target, agent),
        series_count=lambda: len(agent.registry),
        quit=agent.quit,
        admin=_admin(agent) if settings.admin_api else None,
        format=pretty,
        notifications=agent.notifications,
        blocks=lambda: agent.open_storage().blocks(),
        features=lambda: features_of(agent),
        external_labels=lambda: agent.config.global_config.external_labels,
        lookback_ms=settings.lookback_ms,
        search_enabled=lambda: "search-api" in agent.config.features,
    )


def _admin(agent: Agent) -> StorageAdmin:
    """Return what the admin API does; all of it is the writer's work."""
    on_writer = agent.ingest.run_on_writer

    async def delete(sets: Sequence[Sequence[Matcher]], mint_ms: int, maxt_ms: int) -> None:
        await on_writer(lambda storage: storage.delete(sets, mint_ms, maxt_ms))

    async def clean_tombstones() -> None:
        while await on_writer(lambda storage: storage.clean_tombstones()):
            pass  # between two slices the writer stores what has come

    async def compact() -> None:
        while await on_writer(lambda storage: storage.compact()):
            pass

    async def snapshot(skip_head: bool) -> str:
        return await on_writer(lambda storage: storage.snapshot(skip_head=skip_head))

    return StorageAdmin(delete, clean_tombstones, snapshot, compact)


class _ShownConfig:
    """The text of the running configuration; made once for each configuration."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._of: Config | None = None
        self._text = ""

    def text(self) -> str:
        """Return the running configuration as YAML."""
        config = self._agent.config
        if config is not self._of:
            self._of, self._text = config, config.to_yaml()
        return self._text


def _expose(families: Sequence[MetricFamily], accept: str) -> tuple[bytes, str]:
    """Return families in the format that an Accept header asks for, and its content type."""
    answer = choose(accept)
    return write(families, answer), answer.content_type


def _python() -> str:
    return f"python{platform.python_version()}"


def _targets(agent: Agent) -> TargetsView:
    view: Any = getattr(agent.component("scrape"), "targets_view", None)
    return view() if view is not None else TargetsView()


def _discovered(agent: Agent) -> Mapping[str, Sequence[TargetGroup]]:
    groups: Any = getattr(agent.component("scrape"), "discovered", None)
    return groups() if groups is not None else {}


async def _test_target(agent: Agent, question: TargetQuestion) -> TargetTest:
    test: Any = getattr(agent.component("scrape"), "test_target", None)
    if test is None:
        raise LookupError("nothing is scraped here")
    found: TargetTest = await test(question)
    return found


def _runtime(agent: Agent) -> RuntimeInfo:
    statistics = agent.storage.statistics() if agent.storage is not None else None
    return RuntimeInfo(
        start_ms=agent.started_ms,
        working_directory=os.getcwd(),
        hostname=socket.gethostname(),
        reload_succeeded=agent.config_source.successful,
        last_reload_ms=agent.config_source.last_reload_ms,
        storage_retention=_retention(agent),
        corruption_count=int(getattr(statistics, "corruptions_total", 0)),
        task_count=threading.active_count(),
        processors_max=os.cpu_count() or 1,
    )


def _retention(agent: Agent) -> str:
    """Return the retention as Prometheus words it: `15d or 10GB`."""
    time_ms, size_bytes = agent.retention()
    return format_duration(time_ms) + (f" or {format_size(size_bytes)}" if size_bytes else "")
