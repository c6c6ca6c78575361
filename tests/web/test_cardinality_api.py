"""`/status/tsdb` and `/status/cardinality`: fields, parameters, and how often is counted."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from tinyobs.errors import StorageError
from tinyobs.model.cardinality import Cardinality, CardinalityQuery, ChurnHour, MetricSize
from tinyobs.model.matchers import name_is

FULL = Cardinality(
    series_count=3,
    metric_count=2,
    label_name_count=4,
    label_pair_count=8,
    label_bytes=99,
    chunk_count=3,
    min_time_ms=1,
    max_time_ms=2,
    series_by_metric=(("up", 2), ("http_total", 1)),
    series_by_label=(("job", 3),),
    values_by_label=(("instance", 2),),
    bytes_by_label=(("instance", 6),),
    series_by_pair=(("job=a", 2),),
    series_by_focus=(("a", 2),),
    metrics=(MetricSize("up", 2, 10, 200),),
    churn=(ChurnHour(3_600_000, 5, 1, (("up", 5),), (("http_total", 1),)),),
)
V1 = "/api/v1/status"


async def data(client: Any, path: str) -> Any:
    answer = await client.get(V1 + path)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


async def test_storage_status_has_the_fields_of_prometheus_and_victoria_metrics(make_client: Any) -> None:
    """The values of the label in focus are there when one is."""
    client = make_client(cardinality=lambda query: FULL)
    found = await data(client, "/tsdb")
    assert found == {
        "headStats": {"numSeries": 3, "numLabelPairs": 8, "chunkCount": 3, "minTime": 1, "maxTime": 2},
        "seriesCountByMetricName": [{"name": "up", "value": 2}, {"name": "http_total", "value": 1}],
        "labelValueCountByLabelName": [{"name": "instance", "value": 2}],
        "memoryInBytesByLabelName": [{"name": "instance", "value": 6}],
        "seriesCountByLabelValuePair": [{"name": "job=a", "value": 2}],
        "totalSeries": 3,
        "totalLabelValuePairs": 8,
        "seriesCountByLabelName": [{"name": "job", "value": 3}],
    }
    found = await data(client, "/tsdb?focusLabel=job")
    assert found["seriesCountByFocusLabelValue"] == [{"name": "a", "value": 2}]


async def test_cardinality_has_sizes_and_churn(make_client: Any) -> None:
    """Everything that is known."""
    found = await data(make_client(cardinality=lambda query: FULL), "/cardinality?focus=job")
    assert found["metricSizes"] == [{"name": "up", "series": 2, "samples": 10, "bytes": 200}]
    assert found["churn"] == [
        {
            "start": 3_600_000,
            "created": 5,
            "gone": 1,
            "createdByMetric": [{"name": "up", "value": 5}],
            "goneByMetric": [{"name": "http_total", "value": 1}],
        }
    ]
    assert [found[k] for k in ("series", "metrics", "labelNames", "labelPairs", "labelBytes")] == [3, 2, 4, 8, 99]
    assert found["seriesByFocus"] == [{"name": "a", "value": 2}]


async def test_parameters_become_a_query(make_client: Any) -> None:
    """Limit or topN, focus, matchers; lists are never longer than the limit of lists."""
    asked: list[CardinalityQuery] = []

    def count(query: CardinalityQuery) -> Cardinality:
        asked.append(query)
        return FULL

    client = make_client(cardinality=count)
    await data(client, "/tsdb")
    await data(client, "/tsdb?limit=3&focusLabel=job&match[]=up&match[]=http_total")
    await data(client, "/tsdb?topN=99999")
    await data(client, "/cardinality?limit=2&focus=x")
    assert asked == [
        CardinalityQuery(),
        CardinalityQuery(3, ((name_is("up"),), (name_is("http_total"),)), "job"),
        CardinalityQuery(10_000),
        CardinalityQuery(2, (), "x"),
    ]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("limit=0", "limit must be a positive number"),
        ("limit=x", "limit must be a positive number"),
        ("limit=-1", "limit must be a positive number"),
        ("topN=0", "topN must be a positive number"),
        ("date=2024-01-01", "date is not supported: only series with recent samples are counted"),
        ("match[]=up(", "1:1: parse error"),
        ("match[]={}", "match[] must contain at least one non-empty matcher"),
    ],
)
async def test_bad_parameters_are_named(make_client: Any, query: str, message: str) -> None:
    """Nothing is counted."""
    client = make_client()
    for path in ("/tsdb", "/cardinality"):
        answer = await client.get(f"{V1}{path}?{query}")
        assert answer.status_code == 400
        assert message.rsplit(":", 1)[0] in answer.json()["error"] or "parse error" in answer.json()["error"]


async def test_an_answer_is_good_for_some_seconds(make_client: Any, autojump_clock: Any) -> None:
    """The same question within five seconds is not counted again, from whichever endpoint."""
    asked: list[CardinalityQuery] = []
    client = make_client(cardinality=lambda query: asked.append(query) or FULL)
    for _ in range(3):
        await data(client, "/tsdb")
        await data(client, "/cardinality")
    assert len(asked) == 1
    await trio.sleep(6)
    await data(client, "/tsdb")
    assert len(asked) == 2
    for n in range(1, 40):
        await data(client, f"/tsdb?limit={n}")
    assert len(asked) == 40 + 1 - (10 < 40)


async def test_a_storage_that_cannot_tell_says_so(make_client: Any) -> None:
    """As an error of the server, with its words."""

    def fail(query: CardinalityQuery) -> Cardinality:
        raise StorageError("this storage cannot tell its cardinality")

    answer = await make_client(cardinality=fail).get(f"{V1}/tsdb")
    assert answer.status_code >= 500
    assert "cannot tell its cardinality" in answer.json()["error"]
