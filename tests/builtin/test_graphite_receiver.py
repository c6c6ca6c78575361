"""Graphite over sockets: what hosts send is stored, and a reload listens elsewhere."""

from __future__ import annotations

import pickle
import socket
import subprocess

import pytest
import trio
from peers import free_port, program
from receiver_pages import agent_of, blocks, run_commands, with_free_ports

from tinyobs.abc import ConfigSection
from tinyobs.builtin.graphite import NAME, GraphiteSettings, tinyobs_sources
from tinyobs.config import loader
from tinyobs.errors import ConfigError, UsageError
from tinyobs.testing.agents import until
from tinyobs.testing.check_source import check_source
from tinyobs.testing.services import FakeServices


def configured(tcp="", udp="", **more):
    """A configuration with listeners."""
    text = ", ".join(f"{k}: {v}" for k, v in more.items())
    lists = f'listen_tcp: [{tcp and f"{tcp!r}"}], listen_udp: "{udp}", {text}'
    sections = [ConfigSection(NAME, GraphiteSettings)]
    return loader.parse(f"tinyobs: {{graphite: {{{lists}}}}}\n", "test.yml", sections)


async def test_the_contract_of_components(autojump_clock):
    """It starts, takes over a configuration, and stops, with no address as by default."""
    config = configured()
    await check_source(lambda: tinyobs_sources(FakeServices(config))[0], config)


async def test_lines_over_both(nursery):
    """Connections and datagrams end in the same series; a bad line is counted."""
    services = FakeServices(configured("127.0.0.1:0", "127.0.0.1:0"))
    source = tinyobs_sources(services)[0]
    await nursery.start(_run, source)
    udp, tcp = (int(b.rpartition(":")[2]) for b in source.bound)
    async with await trio.open_tcp_stream("127.0.0.1", tcp) as stream:
        await stream.send_all(b"a.b;x=1 1 1700000000\nbad\na.b;x=1 2 1700000001\n")
    with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        await sender.sendto(b"c 3 1700000000", ("127.0.0.1", udp))
        await sender.sendto(b"c 4 1700000001\nd 5 1700000000\n", ("127.0.0.1", udp))
    await until(lambda: sum(map(len, services.batches)) == 5)
    assert services.samples() == {
        'a_b{x="1"}': [(1_700_000_000_000, 1.0), (1_700_000_001_000, 2.0)],
        "c": [(1_700_000_000_000, 3.0), (1_700_000_001_000, 4.0)],
        "d": [(1_700_000_000_000, 5.0)],
    }
    assert services.receptions.statistics().refused_total == {("graphite", "malformed"): 1}
    assert {batch.source for batch in services.batches} == {"127.0.0.1"}


async def test_the_pickle_protocol(nursery):
    """Messages with their lengths come over an address of their own, cut anywhere; a bad one costs no other."""
    services = FakeServices(configured("127.0.0.1:0", listen_pickle="['127.0.0.1:0']"))
    source = tinyobs_sources(services)[0]
    await nursery.start(_run, source)
    messages = [pickle.dumps([("a.b", (1_700_000_000 + i, i)), ("c", (1_700_000_000 + i, "x"))], 2) for i in range(3)]
    messages.insert(1, b"garbage")
    data = b"".join(len(m).to_bytes(4, "big") + m for m in messages)
    async with await trio.open_tcp_stream("127.0.0.1", int(source.bound[1].rpartition(":")[2])) as stream:
        for at in range(0, len(data), 7):
            await stream.send_all(data[at : at + 7])
    await until(lambda: sum(map(len, services.batches)) == 3)
    assert services.samples() == {"a_b": [(1_700_000_000_000 + 1000 * i, float(i)) for i in range(3)]}
    assert services.receptions.statistics().refused_total == {("graphite", "malformed"): 4}


async def _run(source, *, task_status):
    await source.run(task_status=task_status)


async def test_a_reload_listens_elsewhere(nursery):
    """The old address is free again; what did not change goes on; names follow the setting."""
    services = FakeServices(configured("127.0.0.1:0"))
    source = tinyobs_sources(services)[0]
    await nursery.start(_run, source)
    old = source.bound
    services.config = configured("127.0.0.1:0", names="keep")
    await source.reconfigure(services.config)
    assert source.bound == old
    services.config = configured(f"127.0.0.1:{free_port()}", names="keep")
    await source.reconfigure(services.config)
    assert source.bound != old
    with pytest.raises(OSError, match=r"refused|connect"):
        await trio.open_tcp_stream("127.0.0.1", int(old[0].rpartition(":")[2]))
    async with await trio.open_tcp_stream("127.0.0.1", int(source.bound[0].rpartition(":")[2])) as stream:
        await stream.send_all(b"a.b 1 1\n")
    await until(lambda: bool(services.batches))
    assert list(services.samples()) == ['{"a.b"}']


async def test_an_address_that_cannot_be_had(nursery):
    """A reload to it fails and says why; the next one is tried."""
    services = FakeServices(configured())
    source = tinyobs_sources(services)[0]
    await nursery.start(_run, source)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises((UsageError, ExceptionGroup)):
            await source.reconfigure(configured(f"127.0.0.1:{port}"))
    await source.reconfigure(configured(f"127.0.0.1:{port}"))
    assert source.bound == [f"tcp://127.0.0.1:{port}"]


async def test_the_example_of_the_page():
    """The configuration and the commands do what the page says."""
    config, commands = with_free_ports([blocks("graphite", "yaml")[0], *blocks("graphite", "sh")])
    listen = commands.partition("http://")[2].partition("/")[0]
    async with agent_of(config, listen) as running:
        assert '"__name__":"web_requests","env":"prod","host":"a"' in await run_commands(commands)
        assert await running.query("web_errors") == {'web_errors{env="prod", host="a"}': 1.0}


async def test_collectd_writes_to_it(tmp_path):
    """A real collector's metrics can be queried."""
    collectd, port = program("collectd"), free_port()
    conf = tmp_path / "collectd.conf"
    conf.write_text(
        f"""
        Hostname "box.example"
        Interval 1
        BaseDir "{tmp_path}"
        PIDFile "{tmp_path}/collectd.pid"
        LoadPlugin load
        LoadPlugin memory
        LoadPlugin write_graphite
        <Plugin write_graphite>
          <Node "tinyobs">
            Host "127.0.0.1"
            Port "{port}"
            Protocol "tcp"
            EscapeCharacter "_"
          </Node>
        </Plugin>
        """
    )
    config = f'tinyobs: {{graphite: {{listen_tcp: ["127.0.0.1:{port}"]}}}}\n'
    async with agent_of(config, "127.0.0.1:0") as running:
        process = subprocess.Popen(  # noqa: ASYNC220 - ended by this test, not by its scope
            [collectd, "-f", "-C", str(conf)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:

            async def arrived():
                return len(await running.query('{__name__=~"box_example_(load|memory)_.*"}')) >= 4

            await until(arrived)
            assert "box_example_load_load_shortterm" in await running.query("box_example_load_load_shortterm")
        finally:
            process.terminate()
            process.wait(60)


async def send_to(config, lines):
    """Return what is stored of lines with a configuration."""
    services = FakeServices(config)
    source = tinyobs_sources(services)[0]
    source._graphite.use(config)
    await source._graphite.take(lines, "x")
    return services


async def test_the_mappings_of_the_page():
    """Parts of paths become labels; what is dropped is counted; what no rule fits is stored as ever."""
    config = loader.parse(blocks("graphite", "yaml")[1], "test.yml", [ConfigSection(NAME, GraphiteSettings)])
    services = await send_to(config, b"servers.a.cpu.user;dc=x 1 1\nnoise.b 2 1\nother.path 3 1\n")
    assert list(services.samples()) == ['server_cpu_user{dc="x", host="a"}', "other_path"]
    assert services.receptions.statistics().refused_total == {("graphite", "dropped_by_mapping"): 1}


async def test_a_file_of_graphite_exporter(tmp_path):
    """It is read as it is; with `strict_match` nothing else is stored."""
    file = tmp_path / "graphite_mapping.yml"
    file.write_text(
        """mappings:
- match: test.dispatcher.*.*.*
  name: dispatcher_events_total
  labels:
    action: $2
    job: test_dispatcher
    outcome: $3
    processor: $1
- match: '(.+)\\.(.+)'
  match_type: regex
  name: ${1}_total
  labels: {last: $2}
"""
    )
    config = configured(mapping_file=str(file), strict_match="true")
    services = await send_to(config, b"test.dispatcher.p.send.ok 1 1\nweb.x 2 1\nlonely 3 1\n")
    assert list(services.samples()) == [
        'dispatcher_events_total{action="send", job="test_dispatcher", outcome="ok", processor="p"}',
        'web_total{last="x"}',
    ]


def test_a_mapping_file_that_cannot_be_read(tmp_path):
    """The configuration is refused, with the place in that file."""
    with pytest.raises(ConfigError, match="missing"):
        configured(mapping_file=str(tmp_path / "missing.yml"))
    (tmp_path / "bad.yml").write_text("mappings:\n- match: a.*\n  nome: x\n")
    with pytest.raises(ConfigError, match=r"bad.yml:3:"):
        configured(mapping_file=str(tmp_path / "bad.yml"))


def test_mappings_that_cannot_be():
    """They are told with their place."""
    with pytest.raises(ConfigError, match="mappings"):
        configured(mappings='[{match: "a.(", match_type: regex, name: x}]')
