"""Loading plugins, refusing broken ones by name, and notices that one bad plugin cannot silence."""

from __future__ import annotations

import pytest

import tinyobs
from tinyobs import plugin_manager
from tinyobs.errors import PluginError
from tinyobs.plugin_manager import BUILTIN, ESSENTIAL, build_plugin_manager

GOOD = """
import tinyobs

@tinyobs.hookimpl
def tinyobs_component_status(name, status):
    SEEN.append((name, status))

SEEN = []
"""


def write(folder, name, text):
    path = folder / f"{name}.py"
    path.write_text(text)
    return path


def test_the_builtin_features_are_plugins():
    """Every feature is registered under its name, through the same hooks as a stranger's."""
    host = build_plugin_manager(entry_points=False)
    assert [p.name for p in host.plugins()] == [*ESSENTIAL, *BUILTIN]
    assert all(p.hooks for p in host.plugins())
    assert {p.version for p in host.plugins()} == {tinyobs.__version__}


def test_a_builtin_plugin_can_be_switched_off_but_not_an_essential_one():
    """`off` shows in the list; what a daemon cannot do without is refused."""
    host = build_plugin_manager(off=["host"], entry_points=False)
    assert {p.name: p.status for p in host.plugins()}["host"] == "off"
    with pytest.raises(PluginError, match="cannot switch off plugin 'local_storage'"):
        build_plugin_manager(off=["local_storage"])


def test_every_manager_is_its_own(tmp_path):
    """Two hosts in one process do not share plugins."""
    write(tmp_path, "own", GOOD)
    one, other = build_plugin_manager([tmp_path / "own.py"]), build_plugin_manager()
    assert one.manager.has_plugin("own")
    assert not other.manager.has_plugin("own")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import tinyobs\n@tinyobs.hookimpl\ndef tinyobs_sorces(services): return []\n", "tinyobs_sorces"),
        ("import tinyobs\n@tinyobs.hookimpl\ndef tinyobs_sources(service): return []\n", "service"),
        ("import nowhere_to_be_found\n", "cannot be loaded: ModuleNotFoundError"),
        ("this is no python\n", "cannot be loaded: SyntaxError"),
        ("import sys\nsys.exit(7)\n", "cannot be loaded: SystemExit"),
    ],
)
def test_a_broken_file_is_named(tmp_path, text, message):
    """A misspelt hook or argument, a missing import and a syntax error are each told."""
    with pytest.raises(PluginError, match=message):
        build_plugin_manager([write(tmp_path, "broken", text)])


def test_a_missing_file_is_told(tmp_path):
    """The path is in the message."""
    with pytest.raises(PluginError, match=r"nothing\.py does not exist"):
        build_plugin_manager([tmp_path / "nothing.py"])


class FakeEntry:
    """An entry point of an installed distribution."""

    dist = None

    def __init__(self, name, plugin):
        self.name, self.value, self._plugin = name, f"module_of_{name}", plugin

    def load(self):
        if isinstance(self._plugin, Exception):
            raise self._plugin
        return self._plugin


class Plugin:
    """A plugin object with one hook that may fail."""

    def __init__(self, error=None, items=()):
        self.error, self.items, self.told = error, items, []

    @tinyobs.hookimpl
    def tinyobs_exporters(self, services):
        if self.error:
            raise self.error
        return self.items

    @tinyobs.hookimpl
    def tinyobs_component_status(self, name):
        if self.error:
            raise self.error
        self.told.append(name)


def host_with(monkeypatch, **plugins):
    entries = [FakeEntry(name, plugin) for name, plugin in plugins.items()]
    monkeypatch.setattr(plugin_manager.metadata, "entry_points", lambda group: entries)
    return build_plugin_manager()


def test_installed_distributions_are_found(monkeypatch):
    """Entry points of the group are registered after the built-ins."""
    host = host_with(monkeypatch, extra=Plugin())
    assert host.plugins()[-1].name == "extra"


def test_a_distribution_that_cannot_be_loaded_is_named(monkeypatch):
    """A broken installation stops the start instead of missing silently."""
    with pytest.raises(PluginError, match=r"plugin 'extra'.*ImportError: gone"):
        host_with(monkeypatch, extra=ImportError("gone"))


def test_two_plugins_of_one_name_are_refused(monkeypatch):
    """A plugin cannot stand in for a built-in by taking its name."""
    with pytest.raises(PluginError, match="two plugins are called 'host'"):
        host_with(monkeypatch, host=Plugin())


def test_collect_names_the_plugin_that_failed(monkeypatch):
    """An error in a hook that declares parts stops the start, with the plugin's name."""
    host = host_with(monkeypatch, bad=Plugin(RuntimeError("no")))
    with pytest.raises(PluginError, match="plugin 'bad' failed in tinyobs_exporters: RuntimeError: no"):
        host.collect("tinyobs_exporters", services=FakeServicesLike())


class FakeServicesLike:
    """Enough of the services for the built-in exporters to say that they are off."""

    class config:
        class tinyobs:
            class self_metrics:
                enabled = False

            @staticmethod
            def section(name):
                return type("Section", (), {"enabled": False})


def test_one_bad_plugin_does_not_silence_the_others(monkeypatch):
    """A notice reaches every plugin; failures are counted per plugin."""
    good, bad, late = Plugin(), Plugin(ValueError("broken")), Plugin()
    host = host_with(monkeypatch, a_good=good, b_bad=bad, c_late=late)
    for _ in range(2):
        failed = host.notify("tinyobs_component_status", name="x", status="running", reason="")
    assert [plugin for plugin, _ in failed] == ["b_bad"]
    assert good.told == late.told == ["x", "x"]
    assert host.notice_failures == {"b_bad": 2}


def test_tracing_writes_every_call(monkeypatch, capsys):
    """With the variable set, pluggy's trace goes to standard error."""
    monkeypatch.setenv(plugin_manager.TRACE_VARIABLE, "1")
    host = build_plugin_manager(entry_points=False)
    host.hook.tinyobs_discoverers()
    assert "tinyobs_discoverers" in capsys.readouterr().err
