"""Builds the plugin manager of an agent: specs, built-ins, installed distributions, files given by `--plugin`.

There is no global manager: every agent has its own.  The two tuples below are the table of contents of the features;
names are strings so that nothing is imported before it is asked for.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pluggy
from attrs import frozen

from . import hookspecs
from .errors import PluginError

ESSENTIAL: Final = (
    "local_storage",
    "log_storage",
    "query_api",
    "management",
)
"""Built-in plugins without which a daemon makes no sense; they cannot be switched off."""

BUILTIN: Final = (
    "static_sd",
    "file_sd",
    "http_sd",
    "dns_sd",
    "docker_sd",
    "consul_sd",
    "kubernetes_sd",
    "nomad_sd",
    "scrape",
    "inprocess",
    "self_metrics",
    "host",
    "replicas",
    "limits",
    "stream_aggregation",
    "remote_write_receiver",
    "statsd",
    "otlp_receiver",
    "graphite",
    "bulk_import",
    "influx",
    "prometheus_import",
    "pushgateway",
    "memory_storage",
    "event_log",
    "query_log",
    "over_time_functions",
    "backup",
    "file_sinks",
    "remote_write",
    "v1_api",
)
"""Built-in plugins that `--no-plugin NAME` switches off."""

SERVER_ONLY: Final = ("local_storage", "memory_storage", "query_log", "over_time_functions", "backup")
"""Built-in plugins that agent mode has no use for, and which it does not import."""

ENTRY_POINT_GROUP: Final = "tinyobs"
TRACE_VARIABLE: Final = "TINYOBS_TRACE_HOOKS"


@frozen
class PluginInfo:
    """What `tinyobs plugins` shows of one plugin."""

    name: str
    version: str
    origin: str
    """`built-in`, the distribution's name, or the file."""
    hooks: tuple[str, ...]
    status: str
    """`active` or `off`."""


class PluginHost:
    """A plugin manager and what is known of its plugins."""

    def __init__(self, manager: pluggy.PluginManager, off: Sequence[str] = ()) -> None:
        self.manager = manager
        self.off = tuple(off)
        self.notice_failures: dict[str, int] = {}
        """Plugin name -> notices in which it raised."""
        self._origin: dict[str, tuple[str, str]] = {}

    @property
    def hook(self) -> Any:
        """The hook caller: `host.hook.tinyobs_sources(services=...)`."""
        return self.manager.hook

    def describe(self, name: str, origin: str, version: str) -> None:
        """Remember where a plugin came from."""
        self._origin[name] = (origin, version)

    def plugins(self) -> list[PluginInfo]:
        """Return all plugins, built-in ones first, in order of registration."""
        found = []
        for name, plugin in self.manager.list_name_plugin():
            if plugin is None:
                continue
            callers = self.manager.get_hookcallers(plugin) or []
            origin, version = self._origin[name]
            found.append(PluginInfo(name, version, origin, tuple(sorted(c.name for c in callers)), "active"))
        return found + [PluginInfo(name, "", "built-in", (), "off") for name in self.off]

    def collect(self, hook: str, **arguments: Any) -> list[Any]:
        """Call a hook that returns lists and return the items, in order of registration.

        Raises `PluginError` that names the plugin when it fails or returns something else than a list.
        """
        return [item for _, item in self.collect_named(hook, **arguments)]

    def collect_named(self, hook: str, **arguments: Any) -> list[tuple[str, Any]]:
        """Do the same, and return (name of the plugin, item)."""
        items: list[tuple[str, Any]] = []
        for impl in self._implementations(hook):
            try:
                found: Any = impl.function(*(arguments[a] for a in impl.argnames))
                items.extend((impl.plugin_name, item) for item in found)
            except Exception as e:
                raise PluginError(f"plugin {impl.plugin_name!r} failed in {hook}: {type(e).__name__}: {e}") from e
        return items

    def notify(self, hook: str, **arguments: Any) -> list[tuple[str, Exception]]:
        """Give a notice to every plugin; return (plugin, exception) of those that raised, which are also counted."""
        failed = []
        for impl in self._implementations(hook):
            try:
                impl.function(*(arguments[a] for a in impl.argnames))
            except Exception as e:  # noqa: BLE001 - one bad plugin must not silence the others
                self.notice_failures[impl.plugin_name] = self.notice_failures.get(impl.plugin_name, 0) + 1
                failed.append((impl.plugin_name, e))
        return failed

    def _implementations(self, hook: str) -> list[pluggy.HookImpl]:
        """Return the implementations in order of registration, `tryfirst` before and `trylast` after the others."""
        found: list[pluggy.HookImpl] = getattr(self.manager.hook, hook).get_hookimpls()
        if any(impl.tryfirst or impl.trylast for impl in found):  # rare, and a notice is given for every batch
            return sorted(found, key=lambda impl: (not impl.tryfirst, impl.trylast))
        return found


def build_plugin_manager(
    files: Iterable[str | os.PathLike[str]] = (),
    off: Iterable[str] = (),
    *,
    entry_points: bool = True,
    agent: bool = False,
) -> PluginHost:
    """Return a new host with everything registered and checked.

    files: plugins given as Python files.  off: built-in plugins to leave out.  entry_points: also load installed
    distributions.  agent: for agent mode.  Raises `PluginError` for a plugin that cannot be loaded, a misspelt hook, a built-in that does not
    exist or may not be switched off.
    """
    off = tuple(dict.fromkeys(off))
    for name in off:
        if name not in BUILTIN:
            known = ", ".join(BUILTIN)
            raise PluginError(f"cannot switch off plugin {name!r}: choose from {known}")
    manager = pluggy.PluginManager("tinyobs")
    manager.add_hookspecs(hookspecs)
    host = PluginHost(manager, off)
    own_version = metadata.version("tinyobs")
    for name in (*ESSENTIAL, *BUILTIN):
        if name not in off and not (agent and name in SERVER_ONLY):
            _register(host, importlib.import_module(f"tinyobs.builtin.{name}"), name, "built-in", own_version)
    if entry_points:
        _load_entry_points(host)
    for file in files:
        path = Path(file)
        _register(host, _load_file(path), path.stem, str(path), "")
    _check(host)
    if os.environ.get(TRACE_VARIABLE):
        manager.trace.root.setwriter(lambda text: sys.stderr.write(text))
        manager.enable_tracing()
    return host


def _register(host: PluginHost, plugin: object, name: str, origin: str, version: str) -> None:
    try:
        host.manager.register(plugin, name)
    except (ValueError, pluggy.PluginValidationError) as e:
        raise PluginError(f"plugin {name!r} ({origin}) cannot be registered: {e}") from e
    host.describe(name, origin, version)


def _load_entry_points(host: PluginHost) -> None:
    """Register the plugins of installed distributions; a broken one is named, not skipped."""
    for entry in sorted(metadata.entry_points(group=ENTRY_POINT_GROUP), key=lambda e: e.name):
        if host.manager.has_plugin(entry.name):
            raise PluginError(f"two plugins are called {entry.name!r}; one comes from {entry.value}")
        dist = entry.dist
        origin = f"{dist.name}" if dist else entry.value
        try:
            plugin = entry.load()
        except Exception as e:
            raise PluginError(
                f"plugin {entry.name!r} of distribution {origin} cannot be loaded: {type(e).__name__}: {e}"
            ) from e
        _register(host, plugin, entry.name, origin, dist.version if dist else "")


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise PluginError(f"plugin file {path} does not exist")
    spec = importlib.util.spec_from_file_location(f"tinyobs_plugin_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise PluginError(f"plugin file {path} is no Python file: its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as e:
        raise PluginError(f"plugin file {path} cannot be loaded: {type(e).__name__}: {e}") from e
    return module


def _check(host: PluginHost) -> None:
    """Refuse hooks that no specification has: a misspelt hook would silently never be called."""
    try:
        host.manager.check_pending()
    except pluggy.PluginValidationError as e:
        raise PluginError(f"{e}; see docs/hooks.md for the hooks there are") from e
