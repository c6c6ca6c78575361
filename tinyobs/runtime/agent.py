"""The agent: the composition root.  It makes every part, joins them, and starts and stops them in nesting order.

    storage                     opened in a thread, closed last
      listeners                 answer "not ready" while the storage opens
      writer                    the one way into storage; stores what is left when it stops
        sinks                   follow the log; at the end they get some time for what is left
          components            sources and watchers, each under the supervisor

This is the only module that sees all layers below the built-ins; the built-ins come in through the plugin host.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, TypeVar

import structlog
import trio

from ..abc import (
    Changes,
    Clock,
    Component,
    ConfigSection,
    CursorStart,
    DiscovererKind,
    Exporter,
    LogFollower,
    Processor,
    Querier,
    Reception,
    Route,
    Sink,
    Storage,
    Then,
)
from ..config.schema import Config
from ..config.web_config import WebConfig, load_web_config
from ..errors import PluginError, TinyObsError, Unavailable
from ..model.batch import AppendResult, Batch
from ..model.families import MetricFamily, merge
from ..model.metadata import MetricMetadata
from ..model.registry import SeriesRegistry
from ..plugin_manager import PluginHost, build_plugin_manager
from ..promql.plugin_functions import function_set
from ..web.notifications import Notifications
from ..web.queries.desk import QueryDesk
from ..web.services import Readiness
from .api_services import api_services
from .clock import SystemClock
from .component import Status
from .config_source import ConfigSource, ConfigWatcher
from .following import Followers
from .gather import gather
from .ingest import Ingest
from .listeners import Listeners, web_options
from .query_engine import ConfiguredEngine
from .reception import Receptions
from .settings import AgentSettings
from .supervisor import Supervisor

RETENTION_MS: Final = 15 * 86_400_000
"""How long samples are kept where nothing else is said."""

NOT_RELOADED: Final = "Configuration reload has failed."
STARTING: Final = "TinyObs is starting and replaying its log."
STOPPING: Final = "TinyObs is shutting down and gracefully stopping all operations."

log = structlog.get_logger("agent")
T = TypeVar("T")


class Agent:
    """One TinyObs: `await agent.run()` runs it until `quit()` or cancellation.  It is the `Services` of its parts."""

    def __init__(
        self, settings: AgentSettings | None = None, clock: Clock | None = None, host: PluginHost | None = None
    ) -> None:
        """Read plugins and configuration.  Raises `PluginError` or `ConfigError`; nothing is running yet."""
        self.settings = settings or AgentSettings()
        self.clock: Clock = clock or SystemClock()
        self.host = host or build_plugin_manager(
            self.settings.plugin_files, self.settings.plugins_off, agent=self.settings.agent
        )
        self.registry = SeriesRegistry()
        self.started_ms = self.clock.now_ms()
        self.storage: Storage | None = None
        self.notifications = Notifications(self.clock.now_ms, self.settings.notification_subscribers_max)
        functions = function_set(self.host.collect_named("tinyobs_promql_functions"))
        self.config_source = ConfigSource(
            self.settings, self.clock, self._sections, lambda: list(self.discoverer_kinds().values()), functions
        )
        self._config = self.config_source.read()
        queue = self._config.tinyobs.ingest
        self.ingest = Ingest(
            self.clock, self._committed, self._sealed, queue.samples_queued_max, queue.samples_per_commit_max
        )
        self.ingest.on_trouble = self._note
        self.followers = Followers(self.open_storage)
        self.receptions = Receptions(self)
        self.supervisor = Supervisor(self.clock, self._status, lambda: self._config)
        self._web_config = self._read_web_config()
        self.web_options = web_options(self.settings, self._web_config, self._config.tinyobs)
        self.query_engine = ConfiguredEngine(self.settings, lambda: self._config, functions)
        self.query_desk = QueryDesk(self.web_options, self.clock.now_ms, self.query_engine.memory)
        self.api = api_services(self)
        self.listeners: Listeners | None = None
        self._reloading = trio.Lock()
        self._tasks: trio.Nursery | None = None
        self.statistics_failures: dict[str, int] = {}
        """Component -> how often its statistics could not be had."""
        self._stop = trio.Event()
        self.stopped = trio.Event()
        """Set when everything is stored and closed."""

    # -- what parts may use ------------------------------------------------------------------------------------

    @property
    def config(self) -> Config:
        """The running configuration."""
        return self._config

    async def append(self, batch: Batch, *, may_wait: bool = False, then: Then | None = None) -> AppendResult:
        """Store a batch; see `abc.Services.append`."""
        return await self.ingest.append(batch, may_wait=may_wait, then=then)

    async def append_from(self, make: Callable[[], Batch], samples: int) -> AppendResult:
        """Store the batch that `make` returns; see `abc.Services.append_from`."""
        return await self.ingest.append_from(make, samples)

    async def run_on_writer(self, work: Callable[[Storage], T]) -> T:
        """Do work on the thread that alone changes the storage; see `abc.Services.run_on_writer`."""
        return await self.ingest.run_on_writer(work)

    def reception(self, protocol: str) -> Reception:
        """Return the way into storage for pushed samples; see `abc.Services.reception`."""
        return self.receptions.of(protocol)

    async def follow(self, name: str, start: CursorStart) -> LogFollower:
        """Return a follower of the log; see `abc.Services.follow`."""
        return await self.followers.follow(name, start)

    def querier(self, mint_ms: int, maxt_ms: int) -> Querier:
        """Return a view of the storage; raises `Unavailable` while it is not open."""
        return self.open_storage().querier(mint_ms, maxt_ms)

    @property
    def changes(self) -> Changes | None:
        """What changed in the storage since when, for those who remember answers."""
        return None if self.storage is None else self.storage.changes

    def open_storage(self) -> Storage:
        """Return the storage; raises `Unavailable` while it is not open."""
        if self.storage is None:
            raise Unavailable("the storage is not open yet")
        return self.storage

    def metadata(self) -> Mapping[str, MetricMetadata]:
        """Return what is known of metric families."""
        return self.open_storage().metadata()

    def gather(self) -> list[MetricFamily]:
        """Return the agent's own metrics."""
        return merge(gather(self))

    def discoverer_kinds(self) -> Mapping[str, DiscovererKind]:
        """Return the kinds of discovery, by key; raises `PluginError` when two plugins offer one."""
        kinds: dict[str, DiscovererKind] = {}
        for kind in self.host.collect("tinyobs_discoverers"):
            if kind.key in kinds:
                raise PluginError(f"two plugins offer the discovery {kind.key!r}")
            kinds[kind.key] = kind
        return kinds

    def retention(self) -> tuple[int, int]:
        """Return (age in ms, size in bytes): what the flags say, else the configuration, else 15 days."""
        given = self._config.storage.tsdb.retention
        time_ms = self.settings.retention_ms or given.time_ms or RETENTION_MS
        return time_ms, self.settings.retention_bytes or given.size_bytes

    def readiness(self) -> Readiness:
        """Return whether requests are served."""
        return self.listeners.readiness if self.listeners is not None else Readiness(False, "starting")

    def report_progress(self, share: float) -> None:
        """Take note of how far the replay of the log is."""
        if self.listeners is not None:
            self.listeners.report(False, "replaying the log", round(share * 100), 100)

    def exporters(self) -> Sequence[Exporter]:
        """Return the in-process exporters of all plugins."""
        return self.host.collect("tinyobs_exporters", services=self)

    def component(self, name: str) -> Component | None:
        """Return a running component."""
        return self.supervisor.components.get(name)

    async def reload(self) -> None:
        """Read the configuration again and hand it to the components; raises `ConfigError` when it has faults.

        It goes on when whoever asked for it has gone: a configuration must not be taken over in part.
        """
        if self._tasks is None:
            await self._reload()
            return
        outcome: list[Exception | None] = []
        done = trio.Event()

        async def work() -> None:
            try:
                await self._reload()
                outcome.append(None)
            except Exception as e:  # noqa: BLE001 - raised below, to whoever asked
                outcome.append(e)
            finally:
                done.set()

        self._tasks.start_soon(work)
        await done.wait()
        error = outcome[0] if outcome else Unavailable("the daemon is stopping")
        if error is not None:
            raise error

    def quit(self) -> None:
        """Stop; `run` returns when everything is stored and closed."""
        self._stop.set()

    # -- running -----------------------------------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[Sequence[str]] = trio.TASK_STATUS_IGNORED) -> None:
        """Run until `quit()`; `task_status.started(addresses)` tells the URLs that the daemon answers on."""
        self.listeners = Listeners(self.settings, self._web_config, self.web_options, self._routes())
        self.ingest.processors = self._processors()
        self.notifications.add(STARTING)
        try:
            async with trio.open_nursery() as outer:
                self._tasks = outer
                addresses = await outer.start(self.listeners.run)
                await trio.to_thread.run_sync(self._open)
                await outer.start(self.ingest.run, self.open_storage())
                await outer.start(self.followers.run)
                async with trio.open_nursery() as sinks:
                    await self._run_inputs(sinks, addresses, task_status)
                    await self.ingest.wait_stored()
                    self.followers.drain()
                    with trio.move_on_after(self.settings.flush_seconds):
                        await self.followers.wait_closed()
                    sinks.cancel_scope.cancel()
                outer.cancel_scope.cancel()
        finally:
            self._tasks = None
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(self._close)
            self.stopped.set()

    async def _run_inputs(
        self, sinks: trio.Nursery, addresses: Sequence[str], task_status: trio.TaskStatus[Sequence[str]]
    ) -> None:
        """Start sinks and sources; return when all sources have ended because the agent stops."""
        assert self.listeners is not None
        async with trio.open_nursery() as inputs:
            async with self._reloading:  # a reload waits until all have started with the configuration of now
                outputs, components = self._sinks(), self._components()
                _check_names([*outputs, *components])
                for nursery, started in ((sinks, outputs), (inputs, components)):
                    for component in started:
                        await nursery.start(self.supervisor.supervise, component)
            self.listeners.report(True)
            self.notifications.remove(STARTING)
            task_status.started(addresses)
            await self._stop.wait()
            log.info("stopping")
            self.notifications.add(STOPPING)
            self.notifications.close()
            await self.listeners.drain()
            inputs.cancel_scope.cancel()

    async def watch_signals(self) -> None:
        """Stop on SIGINT and SIGTERM, reload on SIGHUP; a task for programs whose only job is the agent."""
        async with trio.open_nursery() as reloads:
            with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as received:
                async for number in received:
                    if number != signal.SIGHUP:
                        break
                    if not self._reloading.statistics().tasks_waiting:  # the one that waits reads the file as it is now
                        reloads.start_soon(self._try_reload)
            self.quit()
            reloads.cancel_scope.cancel()

    # -- private -----------------------------------------------------------------------------------------------

    async def _reload(self) -> None:
        async with self._reloading:
            try:
                await self.config_source.reload(self._apply)
            except TinyObsError:
                self.notifications.add(NOT_RELOADED)
                raise
            self.notifications.remove(NOT_RELOADED)

    async def _try_reload(self) -> None:
        with suppress(TinyObsError):  # logged and counted where it happened; the running configuration stays
            await self.reload()

    def _open(self) -> None:
        self.storage = self.host.hook.tinyobs_storage(url=self.settings.storage_url, services=self)
        if self.storage is None:
            raise PluginError(f"no plugin can open the storage {self.settings.storage_url!r}")

    def _close(self) -> None:
        if self.storage is not None:
            self.followers.close()
            self.storage.close()

    def _sections(self) -> list[ConfigSection]:
        return self.host.collect("tinyobs_config_sections")

    def _processors(self) -> list[Processor]:
        return self.host.collect("tinyobs_processors", services=self)

    def _routes(self) -> list[Route]:
        return self.host.collect("tinyobs_routes", services=self)

    def _components(self) -> list[Component]:
        found: list[Component] = self.host.collect("tinyobs_sources", services=self)
        file, every = self.settings.config_file, self.settings.auto_reload_seconds
        if file is not None and every:
            found.append(ConfigWatcher(file, every, self.reload))
        return found

    def _sinks(self) -> list[Sink]:
        return self.host.collect("tinyobs_sinks", services=self)

    def _read_web_config(self) -> WebConfig | None:
        file = self.settings.web_config_file
        return load_web_config(file) if file is not None else None

    async def _apply(self, config: Config) -> None:
        """Hand a new configuration to every running component; raises `PluginError` when one cannot take it over."""
        web = await trio.to_thread.run_sync(self._read_web_config)  # may have faults: before anything is changed
        self._config = config
        options = web_options(self.settings, web, config.tinyobs)
        self.query_desk.reconfigure(options)
        if self.listeners is not None:
            self.listeners.application.reconfigure(options)
        if web is not None and self._web_config is not None and _of_listener(web) != _of_listener(self._web_config):
            log.warning("a change of the web config file takes effect at the next start only", section="tls, http2")
        failed = []
        for name, component in list(self.supervisor.components.items()):
            if self.supervisor.states[name].status is not Status.RUNNING:
                continue  # the supervisor sees to it that what starts gets the newest one
            try:
                await component.reconfigure(config)
            except Exception as e:  # whatever a component raises, the others take over the configuration
                log.error("component did not take over the configuration", component=name, exc_info=e)
                failed.append(f"{name} ({type(e).__name__}: {e})")
        if failed:
            raise PluginError(f"the configuration was read, but not taken over by {', '.join(failed)}")

    def _note(self, text: str, holds: bool) -> None:
        (self.notifications.add if holds else self.notifications.remove)(text)

    def _committed(self, batch: Batch, result: AppendResult) -> None:
        self.followers.wake()
        self._notify("tinyobs_batch_committed", batch=batch, result=result)

    def _sealed(self, name: str, statistics: object) -> None:
        self._notify("tinyobs_segment_sealed", name=name, statistics=statistics)

    def _status(self, name: str, status: str, reason: str) -> None:
        self._notify("tinyobs_component_status", name=name, status=status, reason=reason)

    def _notify(self, hook: str, **arguments: Any) -> None:
        for plugin, error in self.host.notify(hook, **arguments):
            log.error("plugin failed in a notice", plugin=plugin, hook=hook, error=f"{type(error).__name__}: {error}")


def _check_names(components: Sequence[Component]) -> None:
    """Raise `PluginError` where a component has no name, or that of another."""
    names = [getattr(component, "name", None) for component in components]
    for component, name in zip(components, names, strict=True):
        kind = "sink" if isinstance(component, Sink) else "source"
        if not isinstance(name, str) or not name:
            raise PluginError(f"the {kind} {type(component).__qualname__} has no name")
        if names.count(name) > 1:
            raise PluginError(f"two {kind}s are called {name!r}")


def _of_listener(web: WebConfig) -> tuple[object, bool]:
    """Return what of a web config file is read at the start only."""
    return web.tls_server_config, web.http_server_config.http2
