"""`/api/v1/http_sd`: what discovery found, as other agents read it."""

from __future__ import annotations

from typing import Any

import attrs
from web_fakes import targets

from tinyobs.abc import TargetGroup
from tinyobs.discovery.group_lists import read_list
from tinyobs.model.labels import from_mapping
from tinyobs.web.services import TargetsView

FOUND = {
    "prometheus": [
        TargetGroup("1", ({"__address__": "a:1"}, {"__address__": "a:2"}), {"env": "prod", "none": ""}),
        TargetGroup("2", ({"__address__": "b:1", "__meta_rack": "7"}, {"__address__": "a:1"}), {"env": "prod"}),
    ],
    "dropped": [TargetGroup("1", ({"__address__": "c:1"},), {"env": "test"})],
}


async def ask(client: Any, query: str = "") -> Any:
    """Return the list of a successful answer, which agents can read."""
    answer = await client.get(f"/api/v1/http_sd{query}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert read_list(answer.content, "here")
    return answer.json()


async def test_what_discovery_found_is_listed(make_client: Any) -> None:
    """Before relabelling, in groups of the same labels; a target of two groups is listed once."""
    client = make_client(discovered=lambda: FOUND)
    one = [
        {"targets": ["a:1", "a:2"], "labels": {"env": "prod"}},
        {"targets": ["b:1"], "labels": {"__meta_rack": "7", "env": "prod"}},
    ]
    other = {"targets": ["c:1"], "labels": {"env": "test"}}
    assert await ask(client, "?scrapePool=prometheus") == one
    assert await ask(client, "?scrapePool=dropped&state=discovered") == [other]
    assert await ask(client) == [other, *one]


async def test_what_is_scraped_is_listed(make_client: Any) -> None:
    """After relabelling, with what it takes to scrape the same URL."""
    one = targets().active[0]
    url = "https://[::1]:9/probe?module=icmp&module=http&target=x%20y"
    labels = from_mapping({"instance": "i", "job": "probe"})
    view = TargetsView(("prometheus",), (one, attrs.evolve(one, scrape_url=url, labels=labels, scrape_pool="p")))
    client = make_client(targets=lambda: view)
    plain = {
        "targets": ["x:1"],
        "labels": {
            "__metrics_path__": "/metrics",
            "__scheme__": "http",
            "__scrape_interval__": "15s",
            "__scrape_timeout__": "10s",
            "instance": "x:1",
            "job": "prometheus",
        },
    }
    assert await ask(client, "?state=active&scrapePool=prometheus") == [plain]
    assert (await ask(client, "?state=active"))[1] == {
        "targets": ["[::1]:9"],
        "labels": {
            "__metrics_path__": "/probe",
            "__param_module": "icmp",
            "__param_target": "x y",
            "__scheme__": "https",
            "__scrape_interval__": "15s",
            "__scrape_timeout__": "10s",
            "instance": "i",
            "job": "probe",
        },
    }


async def test_a_pool_without_targets_is_an_empty_list(make_client: Any) -> None:
    """And one that there is not is told, so that a wrong name does not pass for an empty one."""
    client = make_client(discovered=dict)
    answer = await client.get("/api/v1/http_sd?scrapePool=dropped")
    assert (answer.status_code, answer.json()) == (200, [])
    answer = await client.get("/api/v1/http_sd?scrapePool=nope")
    assert (answer.status_code, answer.json()["error"]) == (404, 'scrape pool "nope" not found')
    answer = await client.get("/api/v1/http_sd?state=dropped")
    assert answer.status_code == 400
    assert answer.json()["error"] == "state must be one of discovered, active, got 'dropped'"
