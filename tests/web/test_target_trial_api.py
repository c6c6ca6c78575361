"""Testing a target over HTTP: what is shown, and who may ask for what."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tinyobs.web.services import StorageAdmin


def admin() -> StorageAdmin:
    async def done(*arguments: Any) -> Any:
        return None

    return StorageAdmin(done, done, done, done)


async def ask(client: Any, **parameters: str) -> Any:
    return await client.post("/api/v1/targets/test", data=parameters)


async def test_a_target_of_a_pool_is_tested(make_client: Any) -> None:
    """What a scrape would store, with its labels, synthetic series and metadata."""
    answer = await ask(make_client(), scrapePool="node", target="x:1")
    data = answer.json()["data"]
    assert (data["labels"], data["dropped"]) == ({"instance": "x:1", "job": "node"}, False)
    up = {"__name__": "up", "instance": "x:1", "job": "node"}
    assert data["series"] == [{"labels": up, "value": "1", "timestamp": 1_435_781_451.781}]
    assert data["reports"] == {"up": 1.0}
    assert data["metadata"] == {"up": {"type": "gauge", "help": "is it up", "unit": ""}}
    assert (data["metricRelabelling"]["kept"], data["staleCount"], data["stale"]) == (1, 1, [up])
    assert [s["keep"] for s in data["relabelSteps"]] == [True, False, False]


@pytest.mark.parametrize("parameters", [{"address": "10.0.0.1:22"}, {"labels": '{"__address__":"10.0.0.1:22"}'}])
async def test_only_the_admin_api_lets_somebody_choose_an_address(make_client: Any, parameters: dict[str, str]) -> None:
    """Without it the server sends no requests to where a client wants them."""
    answer = await ask(make_client(), scrapePool="node", **parameters)
    assert answer.status_code == 503
    assert "admin APIs disabled" in answer.json()["error"]
    answer = await ask(make_client(admin=admin()), scrapePool="node", **parameters)
    assert answer.status_code == 200


async def test_a_target_that_relabelling_drops_is_not_asked(make_client: Any) -> None:
    """It has no labels, and the step that dropped it."""
    data = (await ask(make_client(admin=admin()), scrapePool="node", address="drop:1")).json()["data"]
    assert (data["labels"], data["dropped"], data["status"]) == (None, True, 0)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "no scrapePool parameter provided"),
        ({"scrapePool": "no"}, 'scrape pool "no" not found'),
        ({"scrapePool": "node", "labels": "["}, "error parsing labels"),
        ({"scrapePool": "node", "limit": "10001"}, "at most 10000 series are shown"),
        ({"scrapePool": "node", "target": "a", "address": "b"}, "give either a target, or an address"),
    ],
)
async def test_what_is_refused(make_client: Any, parameters: dict[str, str], message: str) -> None:
    """With what is missing, or wrong."""
    answer = await ask(make_client(admin=admin()), **parameters)
    assert answer.status_code == 400
    assert message in answer.json()["error"]


async def test_it_takes_a_post_and_something_that_scrapes(make_client: Any) -> None:
    """A link must not cause a scrape; without scraping there is nothing to test."""
    client = make_client(test_target=None)
    assert (await client.get("/api/v1/targets/test?scrapePool=node")).status_code == 405
    answer = await ask(client, scrapePool="node")
    assert (answer.status_code, answer.json()["error"]) == (503, "nothing is scraped here")
    json.dumps(answer.json())
