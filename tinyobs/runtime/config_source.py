"""Where an agent's configuration comes from, and how it is read again.

A reload reads the file, checks it with every plugin's sections, and only then hands the new value to the components;
a file with faults leaves the running configuration untouched and shows in the log, the API and the metric
`prometheus_config_last_reload_successful`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog
import trio
from attrs import field, frozen

from ..abc import Clock, Component, ConfigSection, DiscovererKind
from ..config import feature_flags, loader
from ..config.agent_mode import refuse_for_agent
from ..config.effect import waits_for_restart
from ..config.member_number import with_member_number
from ..config.schema import Config
from ..errors import ConfigError, TinyObsError
from ..promql.functions.registry import BUILT_IN, FunctionSet
from ..promql.parser import parse as parse_expression
from .settings import DEFAULT_CONFIG, DEFAULT_CONFIG_NAME, DEFAULT_HOST, AgentSettings

log = structlog.get_logger("config")


@frozen
class ConfigStatistics:
    """How the configuration fares."""

    last_reload_successful: bool = field(metadata={"metric": "prometheus_config_last_reload_successful"})
    """Whether the last configuration reload attempt was successful."""
    last_reload_seconds: float = field(metadata={"metric": "prometheus_config_last_reload_success_timestamp_seconds"})
    """Timestamp of the last successful configuration reload."""
    reloads_total: int
    """Reloads that were tried and are over: what it says of the last one holds when it has grown."""
    reload_failures_total: int
    """Reloads that failed."""


class ConfigSource:
    """Reads the configuration of one agent; knows how the last reading went."""

    def __init__(
        self,
        settings: AgentSettings,
        clock: Clock,
        sections: Callable[[], Sequence[ConfigSection]],
        kinds: Callable[[], Sequence[DiscovererKind]],
        functions: FunctionSet = BUILT_IN,
    ) -> None:
        self._settings, self._clock = settings, clock
        self._sections, self._kinds, self._functions = sections, kinds, functions
        self._reloads = self._failures = 0
        self._current: Config | None = None
        self.successful = True
        self.last_error = ""
        self.last_reload_ms = 0

    def read(self) -> Config:
        """Return the configuration as it is now on disk.  Raises `ConfigError` with every fault."""
        settings = self._settings
        if settings.config_file is None:
            sections = self._sections()
            text = settings.config_text or default_config(sections)
            config = loader.parse(text, DEFAULT_CONFIG_NAME, sections, self._kinds(), features=settings.features)
        else:
            config = loader.load(
                settings.config_file,
                self._sections(),
                self._kinds(),
                check_expression=self._check_expression,
                features=settings.features,
            )
        if settings.scrape_member:
            config = with_member_number(config, settings.scrape_member, "--scrape.cluster.member-number")
        if settings.agent:
            refuse_for_agent(config)
        self._current = config
        self.successful, self.last_error, self.last_reload_ms = True, "", self._clock.now_ms()
        return config

    def _check_expression(self, text: str, features: frozenset[str]) -> None:
        parse_expression(text, features=features, functions=self._functions.signatures)

    async def reload(self, apply: Callable[[Config], Awaitable[None]]) -> None:
        """Read the file again and apply it; raises `ConfigError` and changes nothing when it has faults."""
        try:
            running = self._current
            config = await trio.to_thread.run_sync(self.read)
            await apply(config)
        except (ConfigError, TinyObsError) as e:
            self.successful, self.last_error = False, str(e)
            self._failures += 1
            log.error("configuration was not reloaded; the running one stays", error=str(e))
            raise
        finally:
            self._reloads += 1
        warn(config)
        for section in waits_for_restart(running, config) if running is not None else ():
            log.warning("a changed section takes effect at the next start only", section=section)
        log.info("configuration reloaded")

    def statistics(self) -> ConfigStatistics:
        """Return the counters."""
        return ConfigStatistics(self.successful, self.last_reload_ms / 1000, self._reloads, self._failures)


def warn(config: Config) -> None:
    """Log what is not wrong in a configuration, but worth a look, and what is configured in vain."""
    for problem in config.warnings:
        log.warning("worth a look in the configuration", problem=str(problem))
    for problem in config.not_yet_effective():
        log.warning("configured, but without effect in this version", problem=str(problem))
    for name, reason in feature_flags.notes(config.features):
        log.info("naming this feature changes nothing", feature=name, reason=reason)


def default_config(sections: Sequence[ConfigSection]) -> str:
    """Return the embedded configuration for the plugins that are there."""
    has_host = any(section.name == "host" for section in sections)
    return DEFAULT_CONFIG + (DEFAULT_HOST if has_host else "")


class ConfigWatcher(Component):
    """Reloads when the content of the configuration file changes (`--config.auto-reload`)."""

    name = "config_watcher"

    def __init__(self, file: Path, every_seconds: float, reload: Callable[[], Awaitable[None]]) -> None:
        self._file, self._every, self._reload = file, every_seconds, reload

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Look at the file again and again until cancelled."""
        seen = await trio.to_thread.run_sync(_digest, self._file)
        task_status.started()
        while True:
            await trio.sleep(self._every)
            now = await trio.to_thread.run_sync(_digest, self._file)
            if now == seen:
                continue
            seen = now
            with suppress(TinyObsError):  # logged and counted by the source; the next change is another chance
                await self._reload()


def _digest(file: Path) -> Any:
    """Return what changes when the content changes; None while the file cannot be read."""
    try:
        return hashlib.sha256(file.read_bytes()).digest()
    except OSError:
        return None
