"""StatsD as others speak it: Datadog's client over datagrams and streams, and the commands of the page."""

from __future__ import annotations

import re
from pathlib import Path

import attrs
import pytest
import trio
from peers import free_port
from receiver_pages import agent_of, blocks, run_commands, with_free_ports

from tinyobs.builtin.statsd.settings import SECTION, StatsdSettings
from tinyobs.config.fields import plan
from tinyobs.model.durations import DurationMs, format_duration
from tinyobs.testing.agents import until

PAGE = Path(__file__).parents[3] / "docs" / "receivers" / "statsd.md"
ROW = re.compile(r"^\| `tinyobs\.statsd\.([a-z_]+)` \| `([^`]*)` \| [A-Z][^|]+ \|$", re.MULTILINE)


def shown(value, p):
    """Return a default as the page has it."""
    if p.type is DurationMs:
        return format_duration(int(value))
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "{}" if p.key == "labels" else "[" + ", ".join(f"{v:g}" for v in value) + "]"
    return '""' if value == "" else "{}" if attrs.has(type(value)) else str(value)


def test_the_page_has_every_setting_with_its_default():
    """Keys and defaults are those of the code."""
    documented = dict(ROW.findall(PAGE.read_text()))
    assert documented == {p.key: shown(p.default(), p) for p in plan(StatsdSettings)}


async def test_the_example_of_the_page():
    """The configuration and the commands do what the page says."""
    config, commands = with_free_ports([*blocks("statsd", "yaml")[:1], *blocks("statsd", "sh")[:1]])
    listen = commands.partition("http://")[2].partition("/")[0]
    with trio.fail_after(90):
        async with agent_of(config, listen) as running:
            assert '"__name__":"web_requests","env":"prod"' in await run_commands(commands)
            assert await running.query("histogram_count(web_latency)") == {'{env="prod"}': 1.0}


@pytest.mark.parametrize("over", ["udp", "unixgram", "unixstream"])
async def test_datadogs_client(tmp_path, over):
    """What its methods send arrives: counters, gauges, sets, timers, distributions, with constant tags and rates."""
    dogstatsd = pytest.importorskip("datadog.dogstatsd.base")
    port, path = free_port(), tmp_path / "dsd.sock"
    listen = {
        "udp": f"listen_udp: '127.0.0.1:{port}'",
        "unixgram": f"listen_unixgram: {path}",
        "unixstream": f"listen_unix: {path}",
    }[over]
    config = f"tinyobs: {{{SECTION}: {{{listen}, flush_interval: 100ms, container_id: false}}}}\n"
    options = {"host": "127.0.0.1", "port": port} if over == "udp" else {"socket_path": f"{over}://{path}"}

    def send():
        with dogstatsd.DogStatsd(
            **options, constant_tags=["env:prod"], disable_telemetry=True, namespace="app", disable_buffering=False
        ) as client:
            client.increment("page.views", 3, tags=["page:home"])
            client.increment("page.views", 4, tags=["page:home"])
            client.decrement("queue")
            client.gauge("temperature", 21.5)
            client.set("users", "alice")
            client.timing("query", 250)
            client.histogram("size", 42)
            client.distribution("spread", 7)
            with client.timed("timed"):
                pass
            client.event("title", "text | with : all", tags=["a:b"])
            client.service_check("db", 1, message="slow: very")
            client.flush()
            client.disable_buffering = True  # ends the thread that flushes, which leaving the block does not
            client.close_socket()

    with trio.fail_after(90):
        async with agent_of(config, "127.0.0.1:0") as running:
            await trio.to_thread.run_sync(send)

            await until(lambda: _has_lines(running, 11))
            await _say(
                running,
                {
                    "app_page_views": {'app_page_views{env="prod", page="home"}': 7.0},
                    "app_temperature": {'app_temperature{env="prod"}': 21.5},
                    "histogram_sum(app_query)": {'{env="prod"}': 0.25},
                    "histogram_sum(app_size)": {'{env="prod"}': 42.0},
                    "histogram_count(app_timed)": {'{env="prod"}': 1.0},
                    "histogram_avg(app_spread)": {'{env="prod"}': 7.0},
                },
            )
            statistics = running.agent.supervisor.components[SECTION].statistics()
            refused = running.agent.receptions.statistics().refused_total
    assert (statistics.events_total, statistics.service_checks_total, statistics.bad_tags_total) == (1, 1, 0)
    # Counters of Prometheus only go up.
    assert refused == {(SECTION, "illegal_negative_counter"): 1}


def _has_lines(running, count):
    return running.agent.supervisor.components[SECTION].statistics().lines_total >= count


async def _say(running, expected):
    """Wait until expressions say what is expected; what came at one moment may be stored at two."""
    found = {}

    async def all_there():
        found.update({expression: await running.query(expression) for expression in expected})
        return found == expected

    with trio.move_on_after(60):
        await until(all_there)
    assert found == expected


async def test_lines_sent_before_the_end_are_stored():
    """An agent that stops stores what came since the last flush."""
    port = free_port()
    config = f"tinyobs: {{{SECTION}: {{listen_tcp: '127.0.0.1:{port}', flush_interval: 1h}}}}\n"
    with trio.fail_after(60):
        async with agent_of(config, "127.0.0.1:0") as running:
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                await stream.send_all(b"last.words:1|c\n")
            await until(lambda: _has_lines(running, 1))
        assert running.agent.receptions.statistics().samples_total[SECTION] == 1
