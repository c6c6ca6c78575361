"""`memory://` end to end: a daemon that scrapes itself, answers queries and pages, and writes nothing."""

from __future__ import annotations

import json

import pytest

from tinyobs.builtin.memory_storage import memory_options, tinyobs_storage
from tinyobs.errors import StorageError
from tinyobs.runtime.settings import AgentSettings
from tinyobs.testing.agents import running_agent, until
from tinyobs.testing.services import FakeServices


async def test_a_daemon_in_memory_scrapes_itself_and_answers(tmp_path, monkeypatch):
    """Query, series, labels, metadata, status, metrics and the page work; the folder stays empty."""
    monkeypatch.chdir(tmp_path)
    settings = AgentSettings(storage_url="memory://", listen=("127.0.0.1:0",), plugins_off=("host",))
    async with running_agent(settings) as running:
        await running.store("up", 1.0, job="node")
        assert await running.query("up{job='node'}") == {'up{job="node"}': 1.0}

        async def own():
            return await running.query("up{job='tinyobs'}")

        await until(own)
        assert list((await own()).values()) == [1.0]
        for path in ("/", "/metrics", "/api/v1/status/runtimeinfo", "/api/v1/metadata", "/api/v1/label/job/values"):
            status, body = await running.get(path)
            assert status == 200, path
        assert json.loads(body)["data"] == ["node", "tinyobs"]
        status, body = await running.get("/api/v1/status/tsdb?limit=1")
        assert json.loads(body)["data"]["headStats"]["numSeries"] > 5
        _, body = await running.get("/metrics")
        assert b"prometheus_tsdb_head_series " in body
    assert list(tmp_path.iterdir()) == []


def test_the_url_has_no_more_to_say():
    """Other URLs are for others; what stands behind is refused."""
    services = FakeServices()
    assert tinyobs_storage("file:data", services) is None
    assert tinyobs_storage("memory:x", services) is None
    with pytest.raises(StorageError, match="nothing may stand behind memory://"):
        tinyobs_storage("memory://x", services)


def test_bounds_are_those_of_the_retention():
    """Age and size as for the data directory; 512 MiB where none is given; too small a size is refused."""
    services = FakeServices()
    services.retention = lambda: (3_600_000, 0)
    assert memory_options(services).bytes_max == 512 << 20
    assert memory_options(services).retention_ms == 3_600_000
    services.retention = lambda: (3_600_000, 2 << 20)
    assert memory_options(services).bytes_max == 2 << 20
    services.retention = lambda: (3_600_000, 1000)
    with pytest.raises(StorageError, match="at least 1048576 bytes"):
        memory_options(services)
