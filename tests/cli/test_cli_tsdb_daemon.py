"""`tinyobs tsdb` beside a running daemon: snapshots, deletes and backups through its admin API."""

from __future__ import annotations

import time

import numpy as np
import pytest
import trio

from tinyobs.cli.main import run
from tinyobs.model.batch import Batch
from tinyobs.model.labels import from_mapping
from tinyobs.runtime.settings import AgentSettings
from tinyobs.testing.agents import running_agent, until


@pytest.fixture
async def daemon(tmp_path):
    """A daemon with some samples; gives its URL."""
    settings = AgentSettings(
        storage_url=f"file:{tmp_path / 'data'}",
        listen=("127.0.0.1:0",),
        plugins_off=("host",),
        admin_api=True,
        config_text=" ",
    )
    async with running_agent(settings) as running:
        agent = running.agent
        refs = agent.registry.intern_many(from_mapping({"__name__": "m", "i": str(i)}) for i in range(3))
        now = time.time_ns() // 1_000_000
        for k in range(5):
            await agent.append(Batch(refs, np.full(3, now - 5000 + k * 1000), np.arange(3.0) + k))
        yield running


async def cli(*arguments):
    """Run a command line in a thread, as another process would; return its exit code."""
    return await trio.to_thread.run_sync(run, ["tsdb", *arguments])


async def dumped(path, capsys):
    """Return the lines of a dump."""
    capsys.readouterr()
    assert await cli("dump", "--match=m", f"--storage.tsdb.path={path}") == 0
    return capsys.readouterr().out.splitlines()


async def test_a_snapshot_of_a_running_daemon(daemon, tmp_path, capsys):
    """Its path is printed, and it is a sound directory with all that was stored."""
    data = f"--storage.tsdb.path={tmp_path / 'data'}"
    assert await cli("snapshot", f"--url={daemon.url}", data) == 0
    path = capsys.readouterr().out.split()[-1]
    assert await cli("verify", f"--storage.tsdb.path={path}") == 0
    assert len(await dumped(path, capsys)) == 15
    assert await cli("verify", "--while-running", data) == 0
    assert await cli("verify", data) == 2
    assert await cli("list", data) == 0


async def test_a_backup_of_a_running_daemon(daemon, tmp_path, capsys):
    """Through a snapshot, which does not stay; what is restored has all that was stored."""
    data, store = f"--storage.tsdb.path={tmp_path / 'data'}", tmp_path / "store"
    assert await cli("backup", f"--to={store}", f"--url={daemon.url}", data) == 0
    assert list((tmp_path / "data" / "snapshots").iterdir()) == []
    assert await cli("restore", f"--from={store}", f"--to={tmp_path / 'restored'}") == 0
    assert len(await dumped(tmp_path / "restored", capsys)) == 15
    assert await cli("backup", f"--to={store}", f"--url={daemon.url}", f"--storage.tsdb.path={tmp_path}") == 3
    assert "say --storage.tsdb.path" in capsys.readouterr().err


async def test_a_delete_by_a_running_daemon(daemon, tmp_path, capsys):
    """The samples are gone from its answers at once."""
    assert await cli("delete", "--match=m{i='1'}", f"--url={daemon.url}", "--yes") == 0
    with daemon.agent.querier(0, 2**60) as querier:
        selection = querier.select((), 0, 2**60)
        columns = selection.read(0, len(selection.labels))
    assert {dict(columns.labels[i]).get("i") for i in range(len(columns)) if len(columns.one(i)[1])} >= {"0", "2"}
    assert not any(len(columns.one(i)[1]) for i in range(len(columns)) if dict(columns.labels[i]).get("i") == "1")


async def test_what_the_daemon_says_is_shown(daemon, tmp_path, capsys):
    """An API that is off, a request that it refuses, a server that is not there."""
    assert await cli("delete", "--match=m{i=~'.*", f"--url={daemon.url}", "--yes") == 2
    capsys.readouterr()
    settings = AgentSettings(storage_url=f"file:{tmp_path / 'other'}", listen=("127.0.0.1:0",), plugins_off=("host",))
    async with running_agent(settings) as closed:
        assert await cli("snapshot", f"--url={closed.url}") == 1
        assert "dmin API" in capsys.readouterr().err
    assert await cli("snapshot", "--url=http://127.0.0.1:1") == 1
    assert "is a daemon running there?" in capsys.readouterr().err


async def test_scheduled_backups_of_a_running_daemon(tmp_path):
    """With the section in its configuration a daemon backs itself up."""
    store = tmp_path / "store"
    settings = AgentSettings(
        storage_url=f"file:{tmp_path / 'data'}",
        listen=("127.0.0.1:0",),
        plugins_off=("host",),
        config_text=f"tinyobs: {{backup: {{to: {store}}}}}",
    )
    async with running_agent(settings) as running:
        schedule = running.agent.component("backup")
        with trio.fail_after(90):
            await until(lambda: schedule.statistics().successes_total == 1)
        text = (await running.get("/metrics"))[1].decode()
    assert "tinyobs_backup_successes_total 1" in text
    assert await cli("backup", "verify", f"--from={store}") == 0
