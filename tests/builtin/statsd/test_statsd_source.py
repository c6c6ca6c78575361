"""The component of StatsD: when it stores, what ends, what a reload changes, and where it listens."""

from __future__ import annotations

import os
import socket
import stat
from contextlib import asynccontextmanager

import numpy as np
import pytest
import trio

from tinyobs.abc import ConfigSection
from tinyobs.builtin.statsd import tinyobs_sources
from tinyobs.builtin.statsd.settings import SECTION, StatsdSettings
from tinyobs.config import loader
from tinyobs.errors import ConfigError, Unavailable, UsageError
from tinyobs.model.staleness import is_stale
from tinyobs.testing.agents import until
from tinyobs.testing.check_source import check_source
from tinyobs.testing.services import EPOCH_MS, FakeServices


def configured(text=""):
    """A configuration with the settings of a text."""
    return loader.parse(f"tinyobs: {{statsd: {{{text}}}}}\n", "test.yml", [ConfigSection(SECTION, StatsdSettings)])


@asynccontextmanager
async def running(services):
    """Run the source of some services."""
    (source,) = tinyobs_sources(services)
    async with trio.open_nursery() as nursery:
        await nursery.start(_run, source)
        yield source
        nursery.cancel_scope.cancel()


async def _run(source, *, task_status):
    await source.run(task_status=task_status)


async def test_the_contract_of_components(autojump_clock):
    """It starts, takes over a configuration, and stops, without an address as by default."""
    await check_source(lambda: tinyobs_sources(FakeServices(configured()))[0], configured("ttl: 5s"))


async def test_it_stores_on_the_beat_and_at_the_end(autojump_clock):
    """Each interval, at whole multiples of it, also where nothing changed; and what came last when it stops."""
    services = FakeServices(configured())
    async with running(services) as source:
        await trio.sleep(3)
        await source._take(b"a:1|c\ng:5|g", "x")
        await trio.sleep(20)
        await source._take(b"a:2|c", "x")
    first = EPOCH_MS // 10_000 * 10_000 + 10_000
    times = [first, first + 10_000, services.clock.now_ms()]
    assert services.samples() == {
        "a": list(zip(times, [1.0, 1.0, 3.0], strict=True)),
        "g": [(at, 5.0) for at in times],
    }
    assert services.receptions.statistics().samples_total == {"statsd": 6}
    assert {batch.source for batch in services.batches} == {"statsd"}


async def test_series_end_when_nothing_comes(autojump_clock):
    """After the ttl they get a marker, and begin anew at zero with the next line."""
    services = FakeServices(configured("ttl: 15s"))
    async with running(services) as source:
        await trio.sleep(1)
        await source._take(b"a:4|c\nb:1|c\nt:5|ms\nu:x|s", "x")
        for _ in range(4):
            await trio.sleep(10)
            await source._take(b"b:1|c", "x")
        await source._take(b"a:1|c", "x")
        await trio.sleep(10)
        assert source.statistics().series == 2
        assert source.statistics().expired_total == 3
    values = np.array([value for _, value in services.samples()["a"]])
    assert is_stale(values).tolist() == [False, True, False, False]
    assert values[[0, 2]].tolist() == [4.0, 1.0]
    assert [value for _, value in services.samples()["b"]][:4] == [1.0, 2.0, 3.0, 4.0]
    assert is_stale(np.array([v for _, v in services.samples()["u"]])).any()


async def test_nothing_is_lost_while_the_storage_fails(autojump_clock):
    """Counters go on; markers and metadata come with the next samples that are stored."""
    services = FakeServices(configured("ttl: 25s"))
    async with running(services) as source:
        await source._take(b"a:1|c\nb:1|c", "x")
        services.fail_with = Unavailable("full")
        await trio.sleep(21)
        await source._take(b"a:1|c", "x")
        await trio.sleep(21)
        assert source.statistics().flushes_failed_total == 4
        services.fail_with = None
        await source._take(b"a:1|c", "x")
        await trio.sleep(10)
    assert services.samples()["a"][0][1] == 3.0
    assert is_stale(np.array([services.samples()["b"][0][1]]))[0]
    assert set(services.batches[0].metadata) == {"a"}


async def test_a_reload_of_mappings(tmp_path):
    """Other rules begin all series anew, the old ones end; the same rules change nothing; broken ones neither."""
    path = tmp_path / "map.yml"
    path.write_text("mappings: [{match: 'x.*', name: old, labels: {a: $1}}]")
    text = f"mapping_file: {path}, flush_interval: 1h"
    services = FakeServices(configured(text))
    async with running(services) as source:
        await source._take(b"x.1:1|c\nk:1|c", "x")
        await source.reconfigure(configured(text))
        await source._take(b"x.1:1|c", "x")
        path.write_text("mappings: [{match: 'x.*', name: new, labels: {a: $1}}]")
        await source.reconfigure(configured(text))
        await source._take(b"x.1:7|c\nk:1|c", "x")
        path.write_text("mappings: [{match: 'x.*'}]")
        with pytest.raises(ConfigError, match="didn't set a metric name"):
            await source.reconfigure(configured(text))
        await source._take(b"x.1:1|c", "x")
    old = services.samples()['old{a="1"}']
    assert old[0][1] == 2.0
    assert is_stale(np.array([v for _, v in old])).tolist() == [False, True]
    assert services.samples()['new{a="1"}'][0][1] == 8.0
    assert not is_stale(np.array([v for _, v in services.samples()["k"]])).any()


def test_a_broken_mapping_file_stops_the_start():
    """The message has its place."""
    with pytest.raises(ConfigError, match="cannot be read"):
        tinyobs_sources(FakeServices(configured("mapping_file: /nowhere")))


async def test_large_bunches_let_others_run(autojump_clock):
    """A megabyte of lines is taken in pieces; no line is cut."""
    services, turns = FakeServices(configured()), 0

    async def count():
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with running(services) as source, trio.open_nursery() as nursery:
        nursery.start_soon(count)
        await source._take(b"some.name:1|c|#with:tags\n" * 40_000, "x")
        nursery.cancel_scope.cancel()
    assert services.samples()['some_name{with="tags"}'][-1][1] == 40_000.0
    assert turns >= 10


@pytest.mark.parametrize("count", [10, 3000])
async def test_many_series_are_stored_from_a_thread(count):
    """Whether few or many, all come."""
    services = FakeServices(configured())
    async with running(services) as source:
        await source._take(b"\n".join(b"m:%d|%s|#i:%d" % (i, b"c", i) for i in range(count)), "x")
    assert sorted(v[-1][1] for v in services.samples("m").values()) == list(range(count))


async def test_all_listeners(tmp_path):
    """Lines come over UDP, TCP and both kinds of Unix sockets; the permissions are those of the setting."""
    gram, unix = tmp_path / "gram", tmp_path / "stream"
    where = f"listen_udp: '127.0.0.1:0', listen_tcp: '127.0.0.1:0', listen_unixgram: {gram}, listen_unix: {unix}"
    services = FakeServices(configured(where + ", unix_socket_mode: '722'"))
    async with running(services) as source:
        udp, unixgram, tcp, stream = source.bound
        assert (unixgram, stream) == (f"unixgram:{gram}", f"unix:{unix}")
        assert {stat.S_IMODE(os.stat(path).st_mode) for path in (gram, unix)} == {0o722}
        for family, kind, address in (
            (socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", int(udp.rpartition(":")[2]))),
            (socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", int(tcp.rpartition(":")[2]))),
            (socket.AF_UNIX, socket.SOCK_DGRAM, str(gram)),
            (socket.AF_UNIX, socket.SOCK_STREAM, str(unix)),
        ):
            with trio.socket.socket(family, kind) as sock:
                await sock.connect(address)
                await sock.send(b"a:1|c\nbad\na:1|c\n")
        await until(lambda: source.statistics().lines_total == 12)
        assert len(source.statistics().datagrams) == 1
        assert source.statistics().datagrams[0].datagrams_total == 2
        await source.reconfigure(configured(where))
        assert stat.S_IMODE(os.stat(gram).st_mode) == 0o755
    assert services.samples()["a"][-1][1] == 8.0
    assert services.receptions.statistics().refused_total == {("statsd", "malformed_line"): 4}
    assert not gram.exists()


async def test_an_address_that_cannot_be_had():
    """A reload to it says why, and the next reload tries again."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{other.getsockname()[1]}"
        services = FakeServices(configured())
        async with running(services) as source:
            config = configured(f"listen_udp: '{address}'")
            with pytest.raises((UsageError, ExceptionGroup)):
                await source.reconfigure(config)
            other.close()
            await source.reconfigure(config)
            assert source.bound == [f"udp://{address}"]
