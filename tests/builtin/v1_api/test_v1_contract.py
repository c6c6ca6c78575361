"""Pushes and imports keep the promises of receivers; the source that feeds the WebSocket those of components."""

from __future__ import annotations

import json

import pytest

from tinyobs.abc import ConfigSection
from tinyobs.builtin.v1_api import tinyobs_routes, tinyobs_sources
from tinyobs.builtin.v1_api.settings import SECTION, V1Settings
from tinyobs.config import loader
from tinyobs.testing.check_receiver import ReceiverCase, check_receiver, push, services_for
from tinyobs.testing.check_source import check_source
from tinyobs.testing.services import EPOCH_MS, FakeServices

SECTIONS = (ConfigSection(SECTION, V1Settings),)
METRICS = {
    "metrics": [
        {"name": "a", "type": "gauge", "value": 1.5, "labels": {"x": "1"}},
        {"name": "b_total", "type": "counter", "value": 2, "timestamp": "2023-11-14T22:13:20Z"},
    ]
}
INGEST = ReceiverCase("/v1/ingest", json.dumps(METRICS).encode(), 2, bad=b"?", sections=SECTIONS)
EXPORT = b"""{"metrics":[{"name":"a","type":"gauge","value":1,"timestamp":"2023-11-14T22:13:20Z"}%s]}"""
IMPORT = ReceiverCase(
    "/v1/import",
    EXPORT % b"",
    1,
    bad=b"{",
    mixed=EXPORT % b',{"name":"","type":"gauge","value":1}',
    mixed_samples=1,
    headers={"content-type": "application/json"},
    sections=SECTIONS,
)
TABLE = ReceiverCase(
    "/v1/import",
    b"timestamp,name,type,value,x\n2023-11-14T22:13:20Z,a,gauge,1,\n2023-11-14T22:13:20Z,a,gauge,2,y\n",
    2,
    bad=b"name\na\n",
    mixed=b"timestamp,name,type,value,x\n2023-11-14T22:13:20Z,a,gauge,1,\n?\n2023-11-14T22:13:20Z,a,gauge,q,y\n",
    mixed_samples=1,
    headers={"content-type": "text/csv"},
    sections=SECTIONS,
)


@pytest.mark.parametrize("case", [INGEST, IMPORT, TABLE], ids=["ingest", "import", "csv"])
async def test_the_contract_of_receivers(case, autojump_clock):
    """All keep every promise; a push is all or nothing."""
    assert abs(EPOCH_MS - 1_700_000_000_000) < 86_400_000
    await check_receiver(tinyobs_routes, case)


async def test_wrong_methods_are_told_as_errors_are(autojump_clock):
    """With the header that lets pages read it."""
    case = ReceiverCase("/v1/ingest", b"", 0, method="PUT", sections=SECTIONS)
    answer = await push(tinyobs_routes, services_for(case), case, b"", {"origin": "http://localhost:3000"})
    assert (answer.status, json.loads(answer.body)) == (
        405,
        {"error": "Method Not Allowed", "message": "Method Not Allowed"},
    )
    assert answer.headers["access-control-allow-origin"] == "http://localhost:3000"


async def test_the_contract_of_components(autojump_clock):
    """It starts, takes over a configuration, and stops."""
    config = loader.parse("", "test.yml", SECTIONS)
    await check_source(lambda: tinyobs_sources(FakeServices(config))[0], config)
