"""`/metadata`, `/targets`, `/scrape_pools`, `/rules`, `/alerts`, `/status/...`, `/format_query`."""

from __future__ import annotations

from typing import Any

import pytest
from web_fakes import parse

from tinyobs.web.services import Readiness


async def data(client: Any, path: str) -> Any:
    """Return the data of a successful answer."""
    answer = await client.get("/api/v1" + path)
    assert answer.status_code == 200, answer.text
    assert answer.json()["status"] == "success"
    return answer.json()["data"]


async def test_metadata_is_sorted_limited_and_chosen(make_client: Any) -> None:
    """All metrics, the first few, or one; an unknown metric has none."""
    client = make_client()
    assert await data(client, "/metadata") == {
        "http_total": [{"type": "counter", "unit": "", "help": "requests"}],
        "up": [{"type": "gauge", "unit": "", "help": "is it up"}],
    }
    assert list(await data(client, "/metadata?limit=1")) == ["http_total"]
    assert await data(client, "/metadata?limit=0") == {}
    assert list(await data(client, "/metadata?metric=up")) == ["up"]
    assert await data(client, "/metadata?metric=nope") == {}


async def test_metadata_limits_must_be_numbers(make_client: Any) -> None:
    """The message names the parameter."""
    client = make_client()
    for name in ("limit", "limit_per_metric"):
        answer = await client.get(f"/api/v1/metadata?{name}=x")
        assert (answer.status_code, answer.json()["error"]) == (400, f"{name} must be a number")


async def test_targets_have_the_fields_of_prometheus(make_client: Any) -> None:
    """Active and dropped targets, and how many each pool dropped."""
    assert await data(make_client(), "/targets") == {
        "activeTargets": [
            {
                "discoveredLabels": {"__address__": "x:1", "job": "prometheus"},
                "labels": {"instance": "x:1", "job": "prometheus"},
                "scrapePool": "prometheus",
                "scrapeUrl": "http://x:1/metrics",
                "globalUrl": "http://x:1/metrics",
                "lastError": "",
                "lastScrape": "2015-07-01T20:10:51.781Z",
                "lastScrapeDuration": 0.005,
                "health": "up",
                "scrapeInterval": "15s",
                "scrapeTimeout": "10s",
            }
        ],
        "droppedTargets": [
            {"discoveredLabels": {"__address__": "z:1", "job": "dropped"}, "scrapePool": "dropped"},
        ],
        "droppedTargetCounts": {"dropped": 1, "prometheus": 0},
    }


@pytest.mark.parametrize(
    ("query", "active", "dropped", "counted"),
    [
        ("state=active", 1, 0, False),
        ("state=dropped", 0, 1, True),
        ("state=any", 1, 1, True),
        ("state=x", 0, 0, False),
        ("scrapePool=prometheus", 1, 0, True),
        ("scrapePool=nope", 0, 0, True),
    ],
)
async def test_targets_are_chosen_by_state_and_pool(
    make_client: Any, query: str, active: int, dropped: int, counted: bool
) -> None:
    """What is not asked for is an empty list; without dropped targets the counts are null."""
    found = await data(make_client(), f"/targets?{query}")
    assert (len(found["activeTargets"]), len(found["droppedTargets"])) == (active, dropped)
    assert (found["droppedTargetCounts"] is not None) is counted


async def test_scrape_pools_are_sorted(make_client: Any) -> None:
    """The names of all pools."""
    assert await data(make_client(), "/scrape_pools") == {"scrapePools": ["dropped", "prometheus"]}


async def test_rules_and_alerts_are_empty_but_well_formed(make_client: Any) -> None:
    """Grafana asks for them in any case."""
    client = make_client()
    assert await data(client, "/rules?type=alert") == {"groups": []}
    assert await data(client, "/alerts") == {"alerts": []}
    assert await data(client, "/alertmanagers") == {"activeAlertmanagers": [], "droppedAlertmanagers": []}
    answer = await client.get("/api/v1/rules?type=x")
    assert (answer.status_code, answer.json()["error"]) == (400, 'invalid parameter "type": not supported value "x"')


async def test_build_config_and_flags(make_client: Any) -> None:
    """What Grafana reads to know the version, and what people read to know the set-up."""
    client = make_client()
    build = await data(client, "/status/buildinfo")
    assert build == {
        "version": "3.14.0",
        "revision": "abc",
        "branch": "",
        "buildUser": "",
        "buildDate": "",
        "goVersion": "Python 3.11",
    }
    assert (await client.get("/version")).json() == build
    assert await data(client, "/status/config") == {"yaml": "global: {}\n"}
    assert list(await data(client, "/status/flags")) == ["config.file", "web.listen-address"]


async def test_runtime_information(make_client: Any) -> None:
    """Every field of Prometheus 3 is there."""
    found = await data(make_client(), "/status/runtimeinfo")
    assert found["startTime"] == found["serverTime"] == "2015-07-01T20:10:51.781Z"
    assert found["storageRetention"] == "15d"
    assert found["reloadConfigSuccess"] is True
    assert found.keys() == {
        *("startTime", "CWD", "hostname", "serverTime", "reloadConfigSuccess", "lastConfigTime", "corruptionCount"),
        *("goroutineCount", "GOMAXPROCS", "GOMEMLIMIT", "GOGC", "GODEBUG", "storageRetention"),
    }


async def test_replay_progress_is_shown_before_the_agent_is_ready(make_client: Any) -> None:
    """`/status/walreplay` answers while everything else is still 503."""
    client = make_client(readiness=lambda: Readiness(False, "replaying", 0, 9, 4))
    assert await data(client, "/status/walreplay") == {"min": 0, "max": 9, "current": 4}
    assert (await client.get("/api/v1/labels")).status_code == 503


async def test_format_query_prints_the_tree_or_says_what_is_wrong(make_client: Any) -> None:
    """The parser and the printer are the agent's; without a printer the endpoint is not there."""
    client = make_client(format=lambda expr: f"<{expr.name}>")
    assert await data(client, "/format_query?query=up") == "<up>"
    answer = await client.get("/api/v1/format_query?query=up(")
    assert answer.json()["error"] == 'invalid parameter "query": 1:1: parse error: unexpected character'
    assert parse("up") is not None
    assert (await make_client().get("/api/v1/format_query?query=up")).status_code == 404


async def test_exemplars_are_none_but_parameters_are_checked(make_client: Any) -> None:
    """Grafana asks for them; a query that cannot be read is refused as elsewhere."""
    client = make_client()
    assert await data(client, "/query_exemplars?query=up&start=1&end=2") == []
    answer = await client.get("/api/v1/query_exemplars?query=up&start=2&end=1")
    assert answer.json()["error"] == "end timestamp must not be before start timestamp"
    assert (await client.get("/api/v1/query_exemplars?query=up(")).status_code == 400
