"""`tinyobs run`: flags become settings, upstream's names hold, and what has no effect is refused by name."""

from __future__ import annotations

from pathlib import Path

import attrs
import click
import pytest

from tinyobs.cli import run as run_module
from tinyobs.cli.flags import LATER, MEANINGLESS, refusal
from tinyobs.cli.main import run
from tinyobs.errors import UsageError
from tinyobs.runtime.settings import AgentSettings


@pytest.fixture
def settings_of(monkeypatch, tmp_path):
    """Return a function that gives the settings which a command line leads to, without running anything."""
    monkeypatch.chdir(tmp_path)
    made = []

    class FakeAgent:
        def __init__(self, settings):
            made.append(settings)

    monkeypatch.setattr(run_module, "Agent", FakeAgent)
    monkeypatch.setattr(run_module.trio, "run", lambda main, agent: None)
    monkeypatch.setattr(run_module.logs, "configure", lambda level, format: None)

    def give(*arguments):
        assert run(["run", *arguments]) == 0
        return made[-1]

    return give


def test_without_flags_the_settings_are_the_defaults(settings_of):
    """The command line adds nothing to the defaults of the library, but the list of flags."""
    assert attrs.evolve(settings_of(), flags={}) == AgentSettings()


@pytest.mark.parametrize(
    ("flag", "field", "value"),
    [
        ("--config.file=x.yml", "config_file", Path("x.yml")),
        ("--storage.tsdb.path=/var/x", "storage_url", "file:/var/x"),
        ("--storage.tsdb.path=memory://", "storage_url", "memory://"),
        ("--storage.tsdb.retention.time=30d", "retention_ms", 30 * 86_400_000),
        ("--storage.tsdb.retention.size=10GB", "retention_bytes", 10 << 30),
        ("--web.listen-address=0.0.0.0:1", "listen", ("0.0.0.0:1",)),
        ("--web.config.file=w.yml", "web_config_file", Path("w.yml")),
        ("--web.read-timeout=1m", "read_seconds", 60.0),
        ("--web.max-connections=7", "connections_max", 7),
        ("--web.search.max-limit=7", "search_limit_max", 7),
        ("--storage.remote.read-sample-limit=5", "read_samples_max", 5),
        ("--storage.remote.read-concurrent-limit=0", "reads_max", 0),
        ("--storage.remote.read-max-bytes-in-frame=100", "read_frame_bytes_max", 100),
        ("--web.max-notifications-subscribers=3", "notification_subscribers_max", 3),
        ("--web.external-url=http://x/y", "external_url", "http://x/y"),
        ("--web.route-prefix=/p", "route_prefix", "/p"),
        ("--web.cors.origin=a|b", "cors_origin", "a|b"),
        ("--web.page-title=T", "page_title", "T"),
        ("--web.enable-lifecycle", "lifecycle", True),
        ("--web.enable-admin-api", "admin_api", True),
        ("--no-web.enable-lifecycle", "lifecycle", False),
        ("--web.enable-remote-write-receiver", "remote_write_receiver", True),
        ("--web.enable-otlp-receiver", "otlp_receiver", True),
        ("--query.lookback-delta=1m", "lookback_ms", 60_000),
        ("--query.timeout=90s", "query_seconds", 90.0),
        ("--query.max-concurrency=3", "queries_max", 3),
        ("--query.max-samples=5", "query_samples_max", 5),
        ("--plugin=a.py", "plugin_files", ("a.py",)),
        ("--no-plugin=host", "plugins_off", ("host",)),
        ("--config.auto-reload", "auto_reload_seconds", 30.0),
    ],
)
def test_a_flag_becomes_a_setting(settings_of, flag, field, value):
    """Each flag changes its own setting and no other."""
    settings = settings_of(flag)
    assert getattr(settings, field) == value
    assert attrs.evolve(settings, flags={}, **{field: getattr(AgentSettings(), field)}) == AgentSettings()


def test_every_setting_is_read():
    """No flag is taken and then forgotten: something beside the command line uses each setting."""
    root = Path(run_module.__file__).parents[1]
    source = "".join(p.read_text() for p in root.rglob("*.py") if p.parent.name != "cli" and p.name != "settings.py")
    for field in attrs.fields(AgentSettings):
        assert f"settings.{field.name}" in source, field.name


def test_flags_may_be_repeated(settings_of):
    """Addresses, features and plugins add up."""
    settings = settings_of(
        "--web.listen-address=:1",
        "--web.listen-address=:2",
        "--enable-feature=promql-duration-expr",
        "--enable-feature=promql-experimental-functions,promql-at-modifier",
    )
    assert settings.listen == (":1", ":2")
    assert settings.features == {"promql-duration-expr", "promql-experimental-functions", "promql-at-modifier"}


def test_the_interval_of_auto_reload_needs_auto_reload(settings_of):
    """The interval alone changes nothing, as with Prometheus."""
    assert settings_of("--config.auto-reload-interval=5s").auto_reload_seconds == 0
    assert settings_of("--config.auto-reload-interval=5s", "--config.auto-reload").auto_reload_seconds == 5


def test_a_prometheus_yml_in_the_folder_is_taken(settings_of, tmp_path):
    """Without a flag the file in the working directory counts, if there is one."""
    assert settings_of().config_file is None
    (tmp_path / "prometheus.yml").touch()
    assert settings_of().config_file == Path("prometheus.yml")
    assert settings_of("--config.file=other.yml").config_file == Path("other.yml")


def test_all_flags_are_shown_as_given(settings_of):
    """`/api/v1/status/flags` gets upstream's names, with defaults, durations and switches as text."""
    flags = settings_of("--query.timeout=90s", "--storage.tsdb.retention.time=30d", "--web.listen-address=:1").flags
    assert flags["query.timeout"] == "1m30s"
    assert flags["storage.tsdb.retention.time"] == "30d"
    assert flags["web.listen-address"] == ":1"
    assert flags["web.enable-lifecycle"] == "false"
    assert flags["query.max-samples"] == "50000000"
    assert flags["config.file"] == ""


@pytest.mark.parametrize("name", [*LATER, *MEANINGLESS])
def test_a_flag_of_upstream_without_effect_is_refused_by_name(name, capsys):
    """Never ignored silently: the message names the flag and the reason, in every spelling."""
    for spelling in (name, name + "=1", name.replace("--", "--no-", 1)):
        assert run(["run", spelling]) == 2
        message = capsys.readouterr().err
        assert name in message
        assert {**LATER, **MEANINGLESS}[name] in message


def test_no_flag_is_both_known_and_refused():
    """The lists of refused flags hold none that `run` takes."""
    known = {name for p in run_module.run_daemon.params if isinstance(p, click.Option) for name in p.opts}
    assert known.isdisjoint({*LATER, *MEANINGLESS})
    assert refusal("--config.file") is None


def test_an_unknown_feature_is_refused(capsys):
    """The message lists those that have an effect."""
    assert run(["run", "--enable-feature=time-travel"]) == 2
    message = capsys.readouterr().err
    assert "--enable-feature: feature time-travel is not supported by this version; it has " in message
    assert "promql-experimental-functions" in message


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--query.timeout=5"], "Invalid value for '--query.timeout': not a valid duration"),
        (["--storage.tsdb.retention.size=5"], "write for example 512MB"),
        (["--web.listen-address=nonsense"], 'listen address "nonsense" is not host:port'),
        (["--web.listen-address=:70000"], "the port must be a number from 0 to 65535"),
        (["--web.cors.origin=("], "--web.cors.origin is no regular expression"),
        (["--web.max-connections=0"], "0 is not in the range x>=1"),
        (["--log.level=loud"], "'loud' is not one of 'debug', 'info', 'warn', 'error'"),
        (["--storage.tsdb.pth=x"], "Did you mean"),
        (["argument"], "unexpected extra argument (argument)"),
    ],
)
def test_a_wrong_command_line_is_explained(arguments, part, capsys, monkeypatch, tmp_path):
    """Exit code 2 and a message that names the flag; nothing is created."""
    monkeypatch.chdir(tmp_path)
    assert run(["run", *arguments]) == 2
    assert part in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_settings_refuse_a_bad_address():
    """The check of addresses happens before anything is opened."""
    with pytest.raises(UsageError):
        run_module.parse_address("[::1")
