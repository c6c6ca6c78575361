"""The file sink: every sample once, over failures, restarts and crashes; rotation, compression, selectors."""

from __future__ import annotations

import errno
import gzip
import json
import os

import pytest
import trio
import zstandard

from tinyobs.builtin.file_sinks.rotated_file import RotatedFile
from tinyobs.builtin.file_sinks.sinks import FileSinks
from tinyobs.config.loader import parse
from tinyobs.errors import ConfigError, PluginError
from tinyobs.plugin_manager import build_plugin_manager
from tinyobs.runtime.settings import AgentSettings
from tinyobs.testing.agents import running_agent
from tinyobs.testing.check_sink import check_sink
from tinyobs.testing.inline_threads import inline_threads
from tinyobs.testing.services import FakeServices

HOST = build_plugin_manager(entry_points=False)
SECTIONS = HOST.collect("tinyobs_config_sections")


@pytest.fixture
def inline():
    """Work in threads is done at once."""
    with inline_threads():
        yield


def config(text):
    return parse(f"tinyobs: {{file_sinks: [{text}]}}", "test.yml", sections=SECTIONS)


def lines(path):
    data = path.read_bytes() if path.exists() else b""
    return [json.loads(line) for line in data.splitlines()]


def samples(found, name=""):
    """(labels, time, value) of each sample of some lines."""
    rows = [(line["metric"], t, v) for line in found for t, v in zip(line["timestamps"], line["values"], strict=True)]
    return [r for r in rows if not name or r[0]["__name__"] == name]


async def test_it_keeps_the_contract_of_sinks(tmp_path, autojump_clock, monkeypatch):
    """Nothing is lost over refusals, ends and restarts."""
    path = tmp_path / "out.jsonl"
    plain, refusing = RotatedFile.write, []

    def write(self, data, now_ms):
        if refusing:
            raise OSError(errno.ENOSPC, "test")
        plain(self, data, now_ms)

    monkeypatch.setattr(RotatedFile, "write", write)

    def refuse(yes):
        refusing[:] = [1] * yes

    services = FakeServices(config(f"{{name: a, path: {path}}}"))
    await check_sink(FileSinks, lambda: delivered(path), refuse, services)
    found = delivered(path)
    assert len(found) == len(set(found)), "nothing is written twice"


def delivered(path):
    return [(int(labels["n"]), v) for labels, _, v in samples(lines(path))]


def settings(tmp_path, text, **more):
    own = f"tinyobs: {{file_sinks: [{text}]}}"
    return AgentSettings(
        config_text=own, storage_url=f"file:{tmp_path / 'data'}", listen=("127.0.0.1:0",), plugins_off=("host",), **more
    )


async def test_a_daemon_writes_what_it_stores(tmp_path):
    """All of it is there when the daemon has stopped; the next goes on behind it."""
    path = tmp_path / "out.jsonl"
    for begin in (0, 3):
        async with running_agent(settings(tmp_path, f"{{name: a, path: {path}, match: ['x']}}")) as running:
            for n in range(begin, begin + 3):
                assert (await running.store("x", float(n), n=str(n))).stored == 1
                await running.store("y", float(n), n=str(n))
    assert [v for _, _, v in samples(lines(path), "x")] == [0, 1, 2, 3, 4, 5]
    assert samples(lines(path), "y") == []


async def test_selectors_and_starts(tmp_path):
    """Series that fulfil any selector are written; a sink may begin with the oldest that the log has."""
    async with running_agent(settings(tmp_path, "")) as running:
        for n in range(3):
            await running.store("x", float(n), n=str(n))
            await running.store("y", float(n), n=str(n))
    path = tmp_path / "out.jsonl"
    one = f"{{name: a, path: {path}, start: oldest, match: ['x{{n=\"1\"}}', 'y{{n!=\"1\"}}']}}"
    async with running_agent(settings(tmp_path, one)):
        pass
    assert [(labels["__name__"], v) for labels, _, v in samples(lines(path))] == [("y", 0), ("x", 1), ("y", 2)]


@pytest.mark.parametrize("compress", ["none", "gzip", "zstd"])
async def test_full_files_are_followed_by_the_next(tmp_path, compress, autojump_clock, inline):
    """They are compressed, and the oldest go; nothing is written twice."""
    path = tmp_path / "out.jsonl"
    text = f"{{name: a, path: {path}, rotate_size: 4KiB, keep: 3, compress: {compress}}}"
    services = FakeServices(config(text))
    sink = FileSinks(services)
    async with trio.open_nursery() as nursery:
        await nursery.start(services.followers.run)
        await nursery.start(sink.run)
        for n in range(400):
            services.commit(one(services, n))
            await trio.sleep(0.5)
        services.followers.drain()
        await services.followers.wait_closed()
        nursery.cancel_scope.cancel()
    full = sorted(p for p in tmp_path.iterdir() if p.name.startswith("out.jsonl.2"))
    assert len(full) == 3
    opened = {"none": lambda d: d, "gzip": gzip.decompress, "zstd": unpack}[compress]
    data = b"".join(opened(p.read_bytes()) for p in full) + path.read_bytes()
    found = [v for _, _, v in samples([json.loads(line) for line in data.splitlines()])]
    assert found == [float(n) for n in range(400)][-len(found) :]
    assert sink.statistics().rotations_total["a"] > 3
    assert sink.statistics().samples_total["a"] == 400


def unpack(data):
    return zstandard.ZstdDecompressor().decompressobj().decompress(data)


def one(services, n):
    import numpy as np

    from tinyobs.model.batch import Batch

    refs = services.registry.intern_many([(("__name__", "x" * 100),)])
    return Batch(refs, np.array([services.clock.now_ms() + n]), np.array([float(n)]), "test")


async def test_a_file_becomes_old(tmp_path, autojump_clock, inline):
    """After `rotate_every` the next one begins, where something is written."""
    path = tmp_path / "out.jsonl"
    services = FakeServices(config(f"{{name: a, path: {path}, rotate_every: 1h}}"))
    sink = FileSinks(services)
    async with trio.open_nursery() as nursery:
        await nursery.start(services.followers.run)
        await nursery.start(sink.run)
        for n in range(30):
            services.commit(one(services, n))
            await trio.sleep(600)
        nursery.cancel_scope.cancel()
    assert sink.statistics().rotations_total["a"] == 4


async def test_a_crash_anywhere_writes_nothing_twice(tmp_path, autojump_clock, inline):
    """What the place in the log has not come to is cut off the file, however often the process dies."""
    path = tmp_path / "out.jsonl"
    services = FakeServices(config(f"{{name: a, path: {path}, rotate_size: 4KiB, keep: 1000}}"))
    count = 0
    for life in range(40):
        services.restart()
        async with trio.open_nursery() as nursery:
            await nursery.start(services.followers.run)
            await nursery.start(FileSinks(services).run)
            for _ in range(7):
                services.commit(one(services, count))
                count += 1
                await trio.sleep(0.3)
            await trio.sleep(life % 11 / 10)
            before = dict(services.log.places)
            nursery.cancel_scope.cancel()
        services.log.places = before  # a process that is killed saves nothing at its end
    services.restart()
    async with trio.open_nursery() as nursery:
        await nursery.start(services.followers.run)
        await nursery.start(FileSinks(services).run)
        services.followers.drain()
        await services.followers.wait_closed()
        nursery.cancel_scope.cancel()
    full = sorted(p for p in tmp_path.iterdir() if p.name.startswith("out.jsonl.2"))
    found = [v for p in [*full, path] for _, _, v in samples(lines(p))]
    assert sorted(set(found)) == [float(n) for n in range(count)], "nothing is lost"
    in_file = [v for _, _, v in samples(lines(path))]
    assert len(in_file) == len(set(in_file))
    assert len(found) - count <= 10, "only what went into a file just before it was full may be there twice"


async def test_a_reload_starts_and_stops_files(tmp_path, autojump_clock, inline):
    """Those that stay are not disturbed."""
    a, b = tmp_path / "a", tmp_path / "b"
    both = config(f"{{name: a, path: {a}}}, {{name: b, path: {b}}}")
    services = FakeServices(config(f"{{name: a, path: {a}}}"))
    sink = FileSinks(services)
    async with trio.open_nursery() as nursery:
        await nursery.start(services.followers.run)
        await nursery.start(sink.run)
        services.commit(one(services, 0))
        await trio.sleep(3)
        await sink.reconfigure(both)
        await trio.sleep(3)
        services.commit(one(services, 1))
        await trio.sleep(3)
        await sink.reconfigure(config(f"{{name: b, path: {b}}}"))
        services.commit(one(services, 2))
        await trio.sleep(3)
        nursery.cancel_scope.cancel()
    assert [v for _, _, v in samples(lines(a))] == [0, 1]
    assert [v for _, _, v in samples(lines(b))] == [1, 2]


def test_faults_of_the_section():
    """Bad selectors, starts and names are told with their place; two files of one name stop the start."""
    for text, told in (
        ("{name: a, path: x, match: ['{']}", "is not a series selector"),
        ("{name: a, path: x, start: tomorrow}", "now, oldest or an age"),
        ("{name: '', path: x}", "a name has 1 to 60 printable characters"),
        ("{path: x}", "name"),
    ):
        with pytest.raises(ConfigError, match=told):
            config(text)
    plugin = HOST.manager.get_plugin("file_sinks")
    with pytest.raises(PluginError, match="two files are called 'a'"):
        plugin.tinyobs_sinks(FakeServices(config("{name: a, path: x}, {name: a, path: y}")))


def test_a_failed_write_leaves_no_part_of_a_line(tmp_path, monkeypatch):
    """What was written of it is cut off before the next try."""
    (settings,) = config(f"{{name: a, path: {tmp_path / 'out'}}}").tinyobs.section("file_sinks")
    file = RotatedFile(settings)
    file.write(b"one\n", 0)
    half = file._file

    class Torn:
        def __getattr__(self, name):
            return getattr(half, name)

        def write(self, data):
            half.write(data[:2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    file._file = Torn()
    with pytest.raises(OSError, match="space"):
        file.write(b"two\n", 0)
    file.write(b"two\n", 0)
    file.close()
    assert (tmp_path / "out").read_bytes() == b"one\ntwo\n"
