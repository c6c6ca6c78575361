"""docs/receivers/influx.md: its example works, its settings are those of the code; and what comes over sockets."""

from __future__ import annotations

import re
import socket

import trio
from receiver_pages import FOLDER, agent_of, blocks, run_commands, with_free_ports

from tinyobs.abc import ConfigSection
from tinyobs.builtin.influx import InfluxSettings, tinyobs_sources
from tinyobs.config import loader
from tinyobs.config.fields import plan
from tinyobs.model.durations import DurationMs, format_duration
from tinyobs.testing.agents import until
from tinyobs.testing.check_source import check_source
from tinyobs.testing.services import FakeServices


def configured(text=""):
    return loader.parse(f"tinyobs: {{influx: {{{text}}}}}\n", "test.yml", [ConfigSection("influx", InfluxSettings)])


async def test_the_example_of_the_page():
    """The configuration and the commands do what the page says."""
    config, commands = with_free_ports([*blocks("influx", "yaml"), *blocks("influx", "sh")])
    listen = commands.partition("http://")[2].partition("/")[0]
    async with agent_of(config, listen) as running:
        printed = await run_commands(commands)
        assert '"__name__":"room_temperature","db":"telegraf","name":"kitchen"' in printed
        assert await running.query("room_temperature") == {
            'room_temperature{db="telegraf", name="kitchen"}': 21.5,
            'room_temperature{db="local", name="attic"}': 30.0,
            'room_temperature{db="local", name="hall"}': 19.0,
            'room_temperature{db="local", name="cellar"}': 12.0,
        }
        assert await running.query("room_open") == {'room_open{db="telegraf", name="kitchen"}': 0.0}
        status, body = await running.get("/influx/query?q=SHOW+DATABASES")
        assert (status, b"_internal" in body) == (200, True)


def test_the_settings_are_those_of_the_code():
    """Every key is on the page with its default."""
    rows = re.findall(r"^\| `([a-z_]+)` \| `([^`]*)` \|", (FOLDER / "influx.md").read_text(), re.MULTILINE)
    expected = {}
    for p in plan(InfluxSettings):
        value = p.default()
        if p.type is DurationMs:
            shown = format_duration(value)
        elif isinstance(value, tuple):
            shown = f"[{', '.join(value)}]"
        else:
            shown = '""' if value == "" else str(value).lower()
        expected[p.key] = shown
    assert dict(rows) == expected


async def test_the_contract_of_components(autojump_clock):
    """It starts, takes over a configuration, and stops, with no address as by default."""
    config = configured()
    await check_source(lambda: tinyobs_sources(FakeServices(config))[0], config)


async def test_lines_over_both(nursery):
    """Connections and datagrams end in the same series; a bad line is counted; a reload changes what names become."""
    section = 'listen_tcp: ["127.0.0.1:0"], listen_udp: "127.0.0.1:0", precision: s, database: d'
    services = FakeServices(configured(section))
    source = tinyobs_sources(services)[0]

    async def run(*, task_status):
        await source.run(task_status=task_status)

    await nursery.start(run)
    udp, tcp = (int(b.rpartition(":")[2]) for b in source.bound)
    async with await trio.open_tcp_stream("127.0.0.1", tcp) as stream:
        await stream.send_all(b"a,x=1 v=1 1700000000\nbad\na,x=1 v=2 17000")
        await stream.send_all(b"00001\n")
    with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        await sender.sendto(b"c v=3,w=4i 1700000000", ("127.0.0.1", udp))
        await sender.sendto(b"c v=4 1700000001\nd v=5 1700000000\n", ("127.0.0.1", udp))
    await until(lambda: sum(map(len, services.batches)) == 6)
    assert services.samples() == {
        'a_v{db="d", x="1"}': [(1_700_000_000_000, 1.0), (1_700_000_001_000, 2.0)],
        'c_v{db="d"}': [(1_700_000_000_000, 3.0), (1_700_000_001_000, 4.0)],
        'c_w{db="d"}': [(1_700_000_000_000, 4.0)],
        'd_v{db="d"}': [(1_700_000_000_000, 5.0)],
    }
    assert services.receptions.statistics().refused_total == {("influx", "malformed"): 1}
    services.config = configured(section + ", skip_measurement: true")
    await source.reconfigure(services.config)
    async with await trio.open_tcp_stream("127.0.0.1", tcp) as stream:
        await stream.send_all(b"a v=9 1700000009\n")
    await until(lambda: sum(map(len, services.batches)) == 7)
    assert 'v{db="d"}' in services.samples()
