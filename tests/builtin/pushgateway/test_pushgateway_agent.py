"""The pushgateway in a whole agent: client libraries, the page, restarts, kills, other storages."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import urllib.request
from pathlib import Path

import attrs
import pytest
import trio
from peers import daemon, free_port, query, wait_for

from tinyobs.builtin.pushgateway.settings import SECTION, PushgatewaySettings
from tinyobs.config.fields import plan
from tinyobs.errors import CorruptionError
from tinyobs.runtime.settings import AgentSettings
from tinyobs.testing.agents import running_agent, until

PAGE = Path(__file__).parents[3] / "docs" / "receivers" / "pushgateway.md"


def settings(folder, **changes):
    return AgentSettings(**{"storage_url": f"file:{folder / 'data'}", "listen": ("127.0.0.1:0",), **changes})


def push(url, path, body, method="PUT"):
    request = urllib.request.Request(f"{url}/metrics/{path}", body, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.status


async def test_the_python_client(tmp_path):
    """Its three functions do what they are documented to do, with any label values."""
    client = pytest.importorskip("prometheus_client")
    registry = client.CollectorRegistry()
    gauge = client.Gauge("g", "A gauge.", registry=registry)
    client.Histogram("h", "A histogram.", ["x"], registry=registry).labels("1").observe(0.2)
    key = {"path": "/var/tmp", "empty": "", "name": "Προμηθεύς"}
    async with running_agent(settings(tmp_path)) as running:

        async def call(function, registry=registry, **options):
            gateway = running.url.removeprefix("http://")
            keywords = {"registry": registry} if registry else {}
            await trio.to_thread.run_sync(lambda: function(gateway, job="a/b", grouping_key=key, **keywords, **options))

        gauge.set(1)
        await call(client.push_to_gateway)
        series = 'g{job="a/b", name="Προμηθεύς", path="/var/tmp"}'
        assert await running.query("g") == {series: 1.0}
        assert len(await running.query("h_bucket")) == 15
        gauge.set(2)
        alone = client.CollectorRegistry()
        client.Gauge("g", "A gauge.", registry=alone).set(3)
        await call(client.pushadd_to_gateway, alone)
        assert await running.query("g") == {series: 3.0}
        assert len(await running.query("h_count")) == 1
        await call(client.push_to_gateway, alone)
        assert await running.query("h_count") == {}
        await call(client.delete_from_gateway, None)
        assert await running.query("g or push_time_seconds") == {}


async def test_the_examples_of_the_page(tmp_path):
    """What is to be copied works as it stands."""
    pytest.importorskip("prometheus_client")
    text = PAGE.read_text()
    shell, python = (re.search(rf"```{kind}\n(.*?)```", text, re.DOTALL)[1] for kind in ("sh", "python"))
    async with running_agent(settings(tmp_path)) as running:
        address = running.url.removeprefix("http://")
        done = await trio.run_process(
            ["bash", "-ec", shell.replace("127.0.0.1:9090", address)], capture_stdout=True, stderr=subprocess.STDOUT
        )
        assert b'"1234"' in done.stdout
        assert b'backup_duration_seconds{instance="home",job="backup"} 42.5' in done.stdout
        code = python.replace("127.0.0.1:9090", address)
        await trio.to_thread.run_sync(lambda: exec(code, {}))
        assert len(await running.query('job_last_success_unixtime{job="nightly"}')) == 1
        assert await running.query("backup_files_total") == {}


def test_the_settings_of_the_page():
    """They are those of the code."""
    rows = dict(re.findall(rf"^\| `tinyobs\.{SECTION}\.([a-z0-9_]+)` \| (.+?) \| ", PAGE.read_text(), re.MULTILINE))
    assert set(rows) == {p.key for p in plan(PushgatewaySettings)}
    defaults = attrs.asdict(PushgatewaySettings())
    assert rows["groups_max"] == f"`{defaults['groups_max']}`"
    for key in ("consistency_check", "utf8_names"):
        assert rows[key] == f"`{str(defaults[key]).lower()}`"


async def test_restarts(tmp_path):
    """Groups are there again, their values are stored at once, and deletes are remembered."""
    at = settings(tmp_path)
    async with running_agent(at) as running:
        await trio.to_thread.run_sync(push, running.url, "job/a", b"m 1\n")
        await trio.to_thread.run_sync(push, running.url, "job/b", b"m 2\n")
        await trio.to_thread.run_sync(push, running.url, "job/b", b"", "DELETE")
    async with running_agent(at) as running:
        component = running.agent.component(SECTION)
        await until(lambda: component.statistics().stored_again_samples_total == 3)
        assert await running.query("m") == {'m{job="a"}': 1.0}
        _, body = await running.get("/pushgateway/metrics")
        assert b'm{instance="",job="a"} 1\n' in body
        assert b'job="b"' not in body


async def test_a_snapshot_has_the_groups(tmp_path):
    """An agent that is started on it has those of the moment when it was made."""
    at = settings(tmp_path, admin_api=True)
    async with running_agent(at) as running:
        await trio.to_thread.run_sync(push, running.url, "job/a", b"m 1\n")
        _, answer = await running.get("/api/v1/admin/tsdb/snapshot", "POST")
        await trio.to_thread.run_sync(push, running.url, "job/b", b"m 2\n")
    folder = tmp_path / "data" / "snapshots" / json.loads(answer)["data"]["name"]
    async with running_agent(attrs.evolve(at, storage_url=f"file:{folder}")) as running:
        _, body = await running.get("/pushgateway/metrics")
        assert b'm{instance="",job="a"} 1\n' in body
        assert b'job="b"' not in body
        assert await running.query("m") == {'m{job="a"}': 1.0}


@pytest.mark.parametrize("scheme", ["memory://", "log:"])
async def test_other_storages(tmp_path, scheme):
    """In memory groups end with the process; an agent that keeps the log alone keeps them."""
    url = scheme if scheme == "memory://" else f"log:{tmp_path / 'data'}"
    at = settings(tmp_path, storage_url=url, agent=scheme == "log:")
    for expected in (b"", b"" if scheme == "memory://" else b'm{instance="",job="a"} 1\n'):
        async with running_agent(at) as running:
            _, body = await running.get("/pushgateway/metrics")
            assert body == b"" if not expected else expected in body
            await trio.to_thread.run_sync(push, running.url, "job/a", b"m 1\n")


async def test_a_damaged_journal_is_named_and_nothing_is_lost(tmp_path):
    """Until it is moved away no push is acknowledged; the rest of the daemon works."""
    at = settings(tmp_path)
    journal = tmp_path / "data" / "pushgateway" / "journal"
    async with running_agent(at) as running:
        for value in (1, 2, 3):
            await trio.to_thread.run_sync(push, running.url, "job/a", b"m %d\n" % value)
    data = bytearray(journal.read_bytes())
    data[30] ^= 1
    journal.write_bytes(data)
    async with running_agent(at) as running:
        state = running.agent.supervisor.states[SECTION]
        assert CorruptionError.__name__ in state.reason
        assert "pushgateway/journal: damaged at byte 8" in state.reason
        with pytest.raises(urllib.error.HTTPError, match="503") as e:
            await trio.to_thread.run_sync(push, running.url, "job/a", b"m 4\n")
        e.value.close()
        assert await running.query("m") == {'m{job="a"}': 3.0}
    assert journal.read_bytes() == data


def test_kill(tmp_path):
    """Killed again and again while pushes come: what was answered is there, in groups and in the storage."""
    port, value = free_port(), 0
    acknowledged = 0
    for _ in range(3):
        with daemon(tmp_path, port=port) as (base, process):
            wait_for(f"{base}/pushgateway/metrics", process)
            if acknowledged:
                with urllib.request.urlopen(f"{base}/pushgateway/metrics") as answer:
                    found = [int(v) for v in re.findall(r'm\{instance="",job="a"\} (\d+)', answer.read().decode())]
                assert found
                assert found[0] in (acknowledged, acknowledged + 1)
                assert next(iter(query(base, "m").values())) >= acknowledged
            for _ in range(20):
                value += 1
                push(base, "job/a", b"m %d\n" % value)
                acknowledged = value
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
