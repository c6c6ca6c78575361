"""Targets from the services that Nomad knows.

Debian has no Nomad: these tests ask a fake server that speaks its HTTP API, blocking queries included.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fake_http_api import serving
from fake_nomad import FakeNomad, instance
from published import Published, running

from tinyobs.builtin import nomad_sd
from tinyobs.builtin.nomad_sd import NomadDiscoverer, tinyobs_discoverers
from tinyobs.config.nomad_sd import NomadSdConfig
from tinyobs.model.durations import DurationMs
from tinyobs.testing.check_discoverer import check_discoverer

ONE = instance("hashicups", 1, "10.0.0.1", 30456)
TWO = instance("hashicups", 2, "fd00::2", 30457, Tags=None)
DB = instance("db/x", 3, "10.0.0.3", 5432, Tags=["a", "b"])


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refresh soon after a change."""
    monkeypatch.setattr(nomad_sd, "PAUSE_SECONDS", 0.01)


@asynccontextmanager
async def watching(nomad: FakeNomad, interval_ms: int = 20, **more: Any) -> AsyncIterator[Published]:
    """Run a discovery of a fake server."""
    async with serving(nomad) as address:
        config = NomadSdConfig(server=f"http://{address}", refresh_interval_ms=DurationMs(interval_ms), **more)
        async with running(NomadDiscoverer, config) as published:
            yield published


async def test_all_labels_of_a_target() -> None:
    """Tags stand between separators; without tags there is no such label."""
    async with watching(FakeNomad([ONE, TWO, DB]), 60_000, tag_separator="|") as published:
        assert list(published.groups) == ["Nomad"]
        first, second, third = published.labels
    assert first == {
        "__address__": "10.0.0.1:30456",
        "__meta_nomad_address": "10.0.0.1",
        "__meta_nomad_dc": "dc1",
        "__meta_nomad_namespace": "default",
        "__meta_nomad_node_id": "node-1",
        "__meta_nomad_service": "hashicups",
        "__meta_nomad_service_address": "10.0.0.1",
        "__meta_nomad_service_id": "_nomad-task-hashicups-1",
        "__meta_nomad_service_port": "30456",
        "__meta_nomad_tags": "|metrics|",
    }
    assert second["__meta_nomad_tags"] == "|a|b|"
    assert third["__address__"] == "[fd00::2]:30457"
    assert "__meta_nomad_tags" not in third


async def test_a_change_is_seen_before_the_interval_is_over() -> None:
    """A query waits for it at the server; without a change nothing is published."""
    nomad = FakeNomad([ONE])
    async with watching(nomad, 60_000) as published:
        await published.until(lambda: nomad.waiting)
        nomad.put(ONE, DB)
        await published.until(lambda: published.addresses == ["10.0.0.1:30456", "10.0.0.3:5432"])
        nomad.put(DB)
        await published.until(lambda: published.addresses == ["10.0.0.3:5432"])
        nomad.put()
        await published.until(lambda: published.addresses == [])
        assert published.times == 4
        await published.until(lambda: len([r for r in nomad.requests if r.parameter("index") == "43"]) >= 2)
        assert (published.times, published.failures) == (4, 0)


async def test_without_an_index_the_interval_counts() -> None:
    """As with an old server, or one behind something that drops headers."""
    nomad = FakeNomad([ONE], index=0)
    async with watching(nomad) as published:
        nomad.instances = [DB]
        await published.until(lambda: published.addresses == ["10.0.0.3:5432"])
    assert not any(r.parameter("index") for r in nomad.requests)


async def test_options_of_the_questions() -> None:
    """Namespace, region and consistency; the list of all namespaces is followed by a question in each."""
    nomad = FakeNomad([ONE, instance("hashicups", 9, "10.0.0.9", 1, Namespace="prod")])
    async with watching(nomad, 60_000) as published:
        assert published.addresses == ["10.0.0.1:30456"]
    assert dict(nomad.requests[0].query) == {"namespace": ["default"], "region": ["global"], "stale": [""]}
    nomad.requests.clear()
    async with watching(nomad, 60_000, namespace="*", region="eu", allow_stale=False) as published:
        assert published.addresses == ["10.0.0.1:30456", "10.0.0.9:1"]
    assert [dict(r.query) for r in nomad.requests[:3]] == [
        {"namespace": [space], "region": ["eu"]} for space in ("*", "default", "prod")
    ]


async def test_errors_keep_the_last_good_targets() -> None:
    """They are counted, and the server is asked again at the interval."""
    nomad = FakeNomad([ONE])
    async with watching(nomad) as published:
        nomad.broken = True
        nomad.bump()
        await published.until(lambda: published.failures >= 2)
        assert published.addresses == ["10.0.0.1:30456"]
        assert published.discoverer.statistics().failures_total >= 2
        nomad.broken = False
        nomad.put({**DB, "Port": "x"})
        count = published.failures
        await published.until(lambda: published.failures >= count + 2)
        assert published.addresses == ["10.0.0.1:30456"]
        nomad.put(DB)
        await published.until(lambda: published.addresses == ["10.0.0.3:5432"])


async def test_the_number_of_services_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """More of them are an error."""
    monkeypatch.setattr(nomad_sd, "SERVICES_MAX", 1)
    async with watching(FakeNomad([ONE, DB]), 60_000) as published:
        assert (published.failures, published.addresses) == (1, [])


async def test_the_contract_is_kept() -> None:
    """As every kind of discovery."""
    async with serving(FakeNomad([ONE])) as address:
        (kind,) = tinyobs_discoverers()
        assert len(await check_discoverer(kind, NomadSdConfig(server=f"http://{address}"))) == 1
