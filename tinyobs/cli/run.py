"""`tinyobs run`: the daemon, a drop-in for the `prometheus` command."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import click
import structlog
import trio

from .. import __version__
from ..model.durations import parse_duration
from ..model.sizes import parse_size
from ..runtime.agent import Agent
from ..runtime.config_source import warn
from ..runtime.settings import REMOTE_WRITE_MESSAGES, AgentSettings
from ..web.listener import parse_address
from . import logs
from .flags import enabled_features, refusal, refuse_other_mode

DEFAULT_FILE: Final = Path("prometheus.yml")
"""Read when it exists and no --config.file is given."""
COLLECT_AFTER: Final = (20_000, 20, 20)
"""New containers before the collector looks for cycles among them, and how many such looks before it looks wider."""
SWITCH_SECONDS: Final = 0.001
"""How long a thread may keep the interpreter while others want it; Python's 5 ms make storing wait for large queries."""


class _RunCommand(click.Command):
    """Refuses flags of upstream that have no effect by name, and takes upstream's `--no-x` for switches."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        for argument in args:
            name = argument.partition("=")[0]
            reason = refusal(name) or refusal(name.replace("--no-", "--", 1))
            if reason is not None:
                raise click.UsageError(reason, ctx)
        return super().parse_args(ctx, args)


class _Parsed(click.ParamType[int]):
    """A value that one of our parsers reads."""

    def __init__(self, name: str, parse: Callable[[str], int]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            return int(self._parse(value))
        except ValueError as e:
            self.fail(str(e), param, ctx)


DURATION: Final = _Parsed("duration", parse_duration)
SIZE: Final = _Parsed("size", parse_size)
option = partial(click.option, show_default=True)


@click.command("run", cls=_RunCommand)
@option(
    "--config.file",
    "config_file",
    type=click.Path(path_type=Path),
    help="Configuration file.  [default: prometheus.yml if there is one, else embedded defaults]",
    show_default=False,
)
@option(
    "--config.auto-reload/--no-config.auto-reload", "auto_reload", default=False, help="Reload when the file changes."
)
@option(
    "--config.auto-reload-interval",
    "auto_reload_interval",
    type=DURATION,
    default="30s",
    help="How often to look at it.",
)
@option("--agent", "agent", is_flag=True, default=False, help="Agent mode: collect and pass on, nothing to query.")
@option("--storage.agent.path", "agent_path", default="data-agent/", help="Where agent mode keeps its log.")
@option(
    "--storage.agent.retention.min-time",
    "agent_min",
    type=DURATION,
    default="5m",
    help="How long agent mode keeps its log though all sinks have read it.",
)
@option(
    "--storage.agent.retention.max-time",
    "agent_max",
    type=DURATION,
    help="Age at which its log goes though some sink has not read it.  [default: no limit but tinyobs.storage.log_size]",
    show_default=False,
)
@option(
    "--storage.tsdb.path",
    "storage_path",
    default="data",
    help="Where samples are kept; memory:// keeps them in memory only.",
)
@option(
    "--storage.tsdb.retention.time",
    "retention_time",
    type=DURATION,
    help="How long samples are kept.  [default: 15d]",
    show_default=False,
)
@option("--storage.tsdb.retention.size", "retention_size", type=SIZE, help="How large the data may grow, e.g. 10GB.")
@option(
    "--storage.remote.read-sample-limit",
    "read_samples",
    type=click.IntRange(0),
    default=50_000_000,
    help="Samples in an answer of remote read that is not streamed; 0 for no limit.",
)
@option(
    "--storage.remote.read-concurrent-limit",
    "read_concurrency",
    type=click.IntRange(0),
    default=10,
    help="Remote reads at one time; 0 for no limit.",
)
@option(
    "--storage.remote.read-max-bytes-in-frame",
    "read_frame_bytes",
    type=click.IntRange(1),
    default=1 << 20,
    help="Bytes of a frame of streamed remote read.",
)
@option(
    "--storage.remote.flush-deadline",
    "flush_deadline",
    type=DURATION,
    default="1m",
    help="How long sinks may go on sending at shutdown.",
)
@option(
    "--web.listen-address",
    "listen",
    multiple=True,
    default=("127.0.0.1:9090",),
    help="Address to listen on; repeatable; 0.0.0.0:9090 for all interfaces.",
)
@option(
    "--web.config.file", "web_config_file", type=click.Path(path_type=Path), help="File with TLS settings and users."
)
@option(
    "--web.read-timeout",
    "read_timeout",
    type=DURATION,
    default="5m",
    help="How long a connection may be idle; 0s: for ever.",
)
@option("--web.max-connections", "max_connections", type=click.IntRange(1), default=512, help="Open connections.")
@option(
    "--web.max-notifications-subscribers",
    "max_subscribers",
    type=click.IntRange(0),
    default=16,
    help="Listeners to live notifications at one time.",
)
@option(
    "--web.search.max-limit",
    "search_limit",
    type=click.IntRange(0),
    default=10_000,
    help="Results that a search may ask for; 0 for no limit.",
)
@option("--web.external-url", "external_url", default="", help="URL under which users reach the daemon.")
@option(
    "--web.route-prefix",
    "route_prefix",
    default="",
    help="Path below which everything is served.  [default: that of the external URL]",
    show_default=False,
)
@option(
    "--web.cors.origin", "cors_origin", default=".*", help="Origins that may read answers, as a regular expression."
)
@option("--web.page-title", "page_title", default="TinyObs", help="Title of the pages.")
@option(
    "--web.enable-lifecycle/--no-web.enable-lifecycle", "lifecycle", default=False, help="Allow /-/reload and /-/quit."
)
@option(
    "--web.enable-admin-api/--no-web.enable-admin-api",
    "admin_api",
    default=False,
    help="Allow deletes and snapshots over HTTP.",
)
@option(
    "--web.enable-remote-write-receiver/--no-web.enable-remote-write-receiver",
    "receiver",
    default=False,
    help="Accept remote write at /api/v1/write.",
)
@option(
    "--web.enable-otlp-receiver/--no-web.enable-otlp-receiver",
    "otlp_receiver",
    default=False,
    help="Accept OTLP metrics at /api/v1/otlp/v1/metrics.",
)
@option(
    "--web.remote-write-receiver.accepted-protobuf-messages",
    "receiver_messages",
    multiple=True,
    type=click.Choice(REMOTE_WRITE_MESSAGES),
    default=REMOTE_WRITE_MESSAGES,
    show_default=False,
    help="Message of remote write that is accepted; repeatable.  [default: both]",
)
@option("--enable-feature", "features", multiple=True, help="Feature flags, comma separated; repeatable.")
@option(
    "--scrape.cluster.member-number",
    "scrape_member",
    default="",
    help="Number of this agent among those that share the targets, instead of the configuration's.",
    show_default=False,
)
@option(
    "--query.lookback-delta", "lookback", type=DURATION, default="5m", help="How far back an instant selector looks."
)
@option("--query.timeout", "query_timeout", type=DURATION, default="2m", help="How long a query may take.")
@option("--query.max-concurrency", "query_concurrency", type=click.IntRange(1), default=20, help="Queries at one time.")
@option(
    "--query.max-samples", "query_samples", type=click.IntRange(1), default=50_000_000, help="Samples a query may load."
)
@option(
    "--log.level", "log_level", type=click.Choice(logs.LEVELS), default="info", help="Least severity that is logged."
)
@option("--log.format", "log_format", type=click.Choice(logs.FORMATS), default="logfmt", help="Format of log lines.")
@option("--plugin", "plugin_files", multiple=True, help="Load a plugin from a Python file; repeatable.")
@option("--no-plugin", "plugins_off", multiple=True, help="Switch a built-in plugin off; repeatable.")
@click.pass_context
def run_daemon(ctx: click.Context, /, **given: Any) -> None:
    """Start the daemon.

    With no configuration at all it collects its own and the host's metrics, keeps them in ./data and answers on
    http://127.0.0.1:9090.  SIGHUP reloads the configuration, SIGTERM stops in order.
    """
    logs.configure(given["log_level"], given["log_format"])
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # by default it would end the daemon while it starts or stops
    sys.setswitchinterval(SWITCH_SECONDS)
    refuse_other_mode(_given(ctx), given["agent"])
    settings = settings_of(given, _shown(ctx))
    agent = Agent(settings)
    _let_collector_rest()
    trio.run(_main, agent)


def _let_collector_rest() -> None:
    """Look for cycles seldom, and never among what is there from the start.

    By default Python looks after every 700 containers that stay, and walks over all modules now and then: a tenth of the
    time of a daemon that scrapes.  Cycles are few here; what is not in one is freed at once in any case.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


def settings_of(given: dict[str, Any], flags: dict[str, str]) -> AgentSettings:
    """Return the settings for parsed flags; raises `UsageError` for what only a whole look can tell."""
    config_file = given["config_file"]
    if config_file is None and DEFAULT_FILE.is_file():
        config_file = DEFAULT_FILE
    for address in given["listen"]:
        parse_address(address)
    path = given["storage_path"]
    url = path if "://" in path else f"file:{path}"
    return AgentSettings(
        agent=given["agent"],
        agent_min_ms=given["agent_min"],
        agent_max_ms=given["agent_max"] or 0,
        config_file=config_file,
        auto_reload_seconds=given["auto_reload_interval"] / 1000 if given["auto_reload"] else 0.0,
        storage_url=f"log:{given['agent_path']}" if given["agent"] else url,
        retention_ms=given["retention_time"] or 0,
        retention_bytes=given["retention_size"] or 0,
        listen=tuple(given["listen"]),
        web_config_file=given["web_config_file"],
        external_url=given["external_url"],
        route_prefix=given["route_prefix"],
        cors_origin=given["cors_origin"],
        page_title=given["page_title"],
        connections_max=given["max_connections"],
        notification_subscribers_max=given["max_subscribers"],
        read_seconds=given["read_timeout"] / 1000,
        lifecycle=given["lifecycle"],
        admin_api=given["admin_api"],
        remote_write_receiver=given["receiver"],
        remote_write_messages=tuple(dict.fromkeys(given["receiver_messages"])),
        otlp_receiver=given["otlp_receiver"],
        features=enabled_features(given["features"]),
        scrape_member=given["scrape_member"],
        lookback_ms=given["lookback"],
        query_seconds=given["query_timeout"] / 1000,
        queries_max=given["query_concurrency"],
        query_samples_max=given["query_samples"],
        search_limit_max=given["search_limit"],
        read_samples_max=given["read_samples"],
        reads_max=given["read_concurrency"],
        read_frame_bytes_max=given["read_frame_bytes"],
        flush_seconds=given["flush_deadline"] / 1000,
        plugin_files=tuple(given["plugin_files"]),
        plugins_off=tuple(given["plugins_off"]),
        flags=flags,
    )


def _given(ctx: click.Context) -> list[str]:
    """Return the flags that were given."""
    default = click.core.ParameterSource.DEFAULT
    return [p.opts[0] for p in ctx.command.params if p.name and ctx.get_parameter_source(p.name) is not default]


def _shown(ctx: click.Context) -> dict[str, str]:
    """Return all flags by upstream's names, as /api/v1/status/flags shows them."""
    shown = {}
    for parameter in ctx.command.params:
        if not isinstance(parameter, click.Option) or parameter.name not in ctx.params:
            continue
        value = ctx.params[parameter.name]
        if isinstance(value, tuple):
            text = ",".join(map(str, value))
        elif isinstance(value, bool):
            text = str(value).lower()
        elif value is None:
            text = ""
        else:
            text = _as_written(parameter, value)
        shown[parameter.opts[0].removeprefix("--")] = text
    return shown


def _as_written(parameter: click.Option, value: Any) -> str:
    from ..model.durations import format_duration

    return format_duration(value) if parameter.type is DURATION else str(value)


async def _main(agent: Agent) -> None:
    """Run the agent until a signal; say where to look."""
    log = structlog.get_logger("main")
    warn(agent.config)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(agent.watch_signals)
        addresses = await nursery.start(agent.run)
        _greet(agent, addresses)
        log.info("TinyObs is ready", version=__version__, addresses=" ".join(addresses), pid=os.getpid())
        await agent.stopped.wait()
        nursery.cancel_scope.cancel()
    log.info("stopped")


def _greet(agent: Agent, addresses: Sequence[str]) -> None:
    """Tell a person at a terminal where to look; log lines are for machines.  That nobody can read it stops nothing."""
    if sys.stdout is None:
        return
    try:
        _write_greeting(agent, addresses)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the interpreter complains at its end


def _write_greeting(agent: Agent, addresses: Sequence[str]) -> None:
    source = agent.settings.config_file or "embedded defaults (its own and the host's metrics)"
    click.echo(
        f"TinyObs {__version__}\n  configuration  {source}\n  data           {agent.settings.storage_url}",
        file=sys.stdout,
    )
    for address in addresses:
        if address.startswith("unix:"):
            click.echo(f"  listening on   {address}")
            continue
        base = address + agent.web_options.route_prefix
        if agent.settings.agent:
            click.echo(f"  agent mode     {base}/api/v1/targets\n  own metrics    {base}/metrics")
            continue
        click.echo(
            f"  look at        {base}/\n  query          {base}/api/v1/query?query=up\n  own metrics    {base}/metrics"
        )
    sys.stdout.flush()
