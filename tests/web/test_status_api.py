"""`/metadata`, `/targets`, `/scrape_pools`, `/rules`, `/alerts`, `/status/...`, `/format_query`."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from web_fakes import parse, targets

from tinyobs.errors import StorageError
from tinyobs.model.blocks import StoredBlock, ulid
from tinyobs.model.families import MetricFamily, Point, counter
from tinyobs.model.labels import from_mapping
from tinyobs.model.metadata import MetricMetadata, MetricType
from tinyobs.web.services import Readiness, TargetsView


async def data(client: Any, path: str) -> Any:
    """Return the data of a successful answer."""
    answer = await client.get("/api/v1" + path)
    assert answer.status_code == 200, answer.text
    assert answer.json()["status"] == "success"
    return answer.json()["data"]


def two_targets() -> TargetsView:
    """Return targets that say different things of one metric."""
    one = targets().active[0]
    counter, gauge = MetricMetadata(MetricType.COUNTER, "h"), MetricMetadata(MetricType.GAUGE, "h")
    other = from_mapping({"instance": "y:1", "job": "b"})
    return TargetsView(
        active=(
            attrs.evolve(one, metadata={"go_b": gauge, "go_a": counter}),
            attrs.evolve(one, labels=other, metadata={"go_a": gauge}),
        )
    )


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


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", [("x:1", "go_a", "counter"), ("x:1", "go_b", "gauge"), ("y:1", "go_a", "gauge")]),
        ("metric=go_a", [("x:1", None, "counter"), ("y:1", None, "gauge")]),
        ("metric=nope", []),
        ("match_target={instance='y:1'}", [("y:1", "go_a", "gauge")]),
        ("limit=1", [("x:1", "go_a", "counter"), ("x:1", "go_b", "gauge")]),
        ("limit=1&metric=go_a", [("x:1", None, "counter")]),
        ("limit=0", []),
    ],
)
async def test_metadata_of_targets(make_client: Any, query: str, found: list[tuple[str, str | None, str]]) -> None:
    """Each target says for itself; with `metric` the name is left out; the limit counts whole targets."""
    answer = await data(make_client(targets=two_targets), f"/targets/metadata?{query}")
    assert [(e["target"]["instance"], e.get("metric"), e["type"]) for e in answer] == found
    assert all(("metric" in e) is ("metric=" not in query) and e["unit"] == "" for e in answer)


async def test_metadata_of_a_metric_is_that_of_its_targets(make_client: Any) -> None:
    """What targets say differently stands side by side, up to the limit per metric; the storage knows the rest."""
    client = make_client(targets=two_targets)
    assert [e["type"] for e in (await data(client, "/metadata"))["go_a"]] == ["counter", "gauge"]
    assert [e["type"] for e in (await data(client, "/metadata?metric=go_a&limit_per_metric=1"))["go_a"]] == ["counter"]
    assert list(await data(client, "/metadata")) == ["go_a", "go_b", "http_total", "up"]


async def test_parameters_of_the_metadata_of_targets_are_checked(make_client: Any) -> None:
    """The texts are those of Prometheus."""
    client = make_client()
    for query, error in (
        ("limit=x", "limit must be a number"),
        ("match_target=sum(", 'invalid parameter "match_target": 1:4: parse error: unexpected "("'),
    ):
        answer = await client.get(f"/api/v1/targets/metadata?{query}")
        assert (answer.status_code, answer.json()["error"]) == (400, error)


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


async def test_segments_are_shown_as_blocks(make_client: Any) -> None:
    """Names are ULIDs that never change, the end of the time is excluded, and a tier says so."""
    blocks = [
        StoredBlock(number=5, level=2, mint_ms=1000, maxt_ms=1999, series=3, samples=30, chunks=2, bytes=400),
        StoredBlock(number=6, level=1, mint_ms=0, maxt_ms=9, series=3, samples=3, chunks=1, bytes=40, tier_ms=300_000),
    ]
    first, second = (await data(make_client(blocks=lambda: blocks), "/status/tsdb/blocks"))["blocks"]
    assert first == {
        "ulid": "00000001YF0000000000000005",
        "minTime": 1000,
        "maxTime": 2000,
        "stats": {"numSamples": 30, "numSeries": 3, "numChunks": 2},
        "compaction": {"level": 2, "sources": [first["ulid"]]},
        "version": 1,
    }
    assert second["compaction"]["hints"] == ["tier-5m"]
    assert await data(make_client(), "/status/tsdb/blocks") == {"blocks": []}

    def fail() -> list[StoredBlock]:
        raise StorageError("broken")

    failed = await make_client(blocks=fail).get("/api/v1/status/tsdb/blocks")
    assert (failed.status_code, failed.json()["error"]) == (500, "error getting block metadata: broken")


def test_ulids_sort_as_their_times_do() -> None:
    """26 characters, the time first; the highest time and number fit."""
    assert ulid(0, 0) == "0" * 26
    assert ulid((1 << 48) - 1, (1 << 80) - 1) == "7" + "Z" * 25
    assert ulid(1, 5) < ulid(2, 1) < ulid(2, 2)


async def test_own_metrics_as_json(make_client: Any) -> None:
    """The JSON of protobuf; the pattern fits whole names; one that is no regular expression is refused."""
    families = [
        counter("a_total", "Help.", float("inf"), x="1"),
        MetricFamily("b", MetricType.HISTOGRAM, "", (Point(2, (("le", "+Inf"),), "_bucket"), Point(1.5, (), "_sum"))),
    ]
    client = make_client(gather=lambda: families)
    (only,) = await data(client, "/status/self_metrics?metric_name_pattern=a_.*")
    assert only == {
        "name": "a_total",
        "help": "Help.",
        "type": "COUNTER",
        "metric": [{"label": [{"name": "x", "value": "1"}], "counter": {"value": "Infinity"}}],
    }
    assert [f["name"] for f in await data(client, "/status/self_metrics?metric_name_pattern=a|b")] == ["b"]
    both = await data(client, "/status/self_metrics")
    assert both[1]["metric"][0]["histogram"]["bucket"] == [{"cumulativeCount": "2", "upperBound": "Infinity"}]
    bad = await client.get("/api/v1/status/self_metrics?metric_name_pattern=(")
    assert bad.status_code == 400
    assert bad.json()["error"].startswith('invalid parameter "metric_name_pattern": ')


async def test_features_are_those_of_the_agent(make_client: Any) -> None:
    """Category by category."""
    assert await data(make_client(features=lambda: {"api": {"admin": False}}), "/features") == {"api": {"admin": False}}
