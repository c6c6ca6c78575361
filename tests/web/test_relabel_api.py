"""The relabel debugger, the configuration of a pool and the preview over HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
import trio
import trio.lowlevel
from web_fakes import FakeQuerier

from tinyobs.errors import StorageError
from tinyobs.model.cardinality import Cardinality, MetricSize
from tinyobs.model.labels import from_mapping
from tinyobs.web.api_v1.relabelling import PREVIEW_SERIES_MAX

BEFORE = json.dumps({"job": "test", "__address__": "localhost:9090"})
FIRST = {"regex": "", "target_label": "__address__", "replacement": "example.com:443", "action": "replace", "separator": ";"}  # fmt: skip


async def test_steps_have_the_shape_of_prometheus(make_client: Any) -> None:
    """Rule, labels after it, whether they are kept; rules after a drop have no labels and do not keep."""
    answer = await make_client().get("/api/v1/targets/relabel_steps", params={"scrapePool": "node", "labels": BEFORE})
    steps = answer.json()["data"]["steps"]
    assert steps[0] == {"rule": FIRST, "output": {"job": "test", "__address__": "example.com:443"}, "keep": True}
    assert [(s["output"], s["keep"]) for s in steps[1:]] == [({}, False), ({}, False)]
    assert steps[1]["rule"]["source_labels"] == ["__address__"]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"labels": BEFORE}, "no scrapePool parameter provided"),
        ({"scrapePool": "node"}, "no labels parameter provided"),
        ({"scrapePool": "node", "labels": "{"}, "error parsing labels: "),
        ({"scrapePool": "node", "labels": "[" * 20_000}, "error parsing labels: "),
        ({"scrapePool": "node", "labels": '{"a":1}'}, "error parsing labels: labels must be a JSON object"),
        ({"scrapePool": "no", "labels": "{}"}, 'error retrieving scrape config: scrape pool "no" not found'),
        ({"scrapePool": "node", "labels": "{}", "stage": "x"}, 'there is no stage "x"'),
        ({"stage": "write", "labels": "{}"}, "there are several remote writes"),
        ({"stage": "write", "labels": "{}", "remoteWrite": "7"}, 'remote write "7" not found'),
    ],
)
async def test_what_is_refused(make_client: Any, parameters: dict[str, str], message: str) -> None:
    """With the words of Prometheus where it has some."""
    answer = await make_client().get("/api/v1/targets/relabel_steps", params=parameters)
    assert answer.status_code == 400
    assert answer.json()["errorType"] == "bad_data"
    assert message in answer.json()["error"]


@pytest.mark.parametrize(
    ("parameters", "labels", "output", "reason"),
    [
        ({"stage": "metric", "scrapePool": "node"}, {"__name__": "up"}, {"__name__": "up"}, ""),
        ({"stage": "metric", "scrapePool": "node"}, {"__name__": "x"}, {}, 'keep_metrics: the name "x" does not match up'),
        ({"stage": "write", "remoteWrite": "0"}, {"a": "1", "b": "2"}, {"a": "1"}, ""),
        ({"stage": "alert"}, {"b": "2"}, {"a": "x", "b": "2"}, ""),
    ],
)  # fmt: skip
async def test_other_stages_tell_more(
    make_client: Any, parameters: dict[str, str], labels: dict[str, str], output: dict[str, str], reason: str
) -> None:
    """What a step began with, whether it matched, and why it dropped."""
    asked = {**parameters, "labels": json.dumps(labels)}
    [step] = (await make_client().get("/api/v1/targets/relabel_steps", params=asked)).json()["data"]["steps"]
    assert (step["input"], step["output"], step["reason"]) == (labels, output, reason)
    assert (step["keep"], step["matched"]) == (not reason, not reason)


async def test_the_configuration_of_a_pool_is_shown_without_secrets(make_client: Any) -> None:
    """As YAML, with defaults; a pool that there is not is refused."""
    client = make_client()
    shown = (await client.get("/api/v1/scrape_pools/config?scrapePool=node")).json()["data"]["yaml"]
    assert shown.startswith("job_name: node\n")
    assert "password: <secret>" in shown
    assert "very-secret" not in shown
    assert "scrape_interval: 1m" in shown
    for pool in ("", "?scrapePool=no"):
        assert (await client.get(f"/api/v1/scrape_pools/config{pool}")).status_code == 400


async def preview(client: Any, rules: str, **more: Any) -> Any:
    answer = await client.post("/api/v1/relabel/preview", data={"rules": rules, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


async def test_a_preview_counts_what_rules_would_do(make_client: Any) -> None:
    """Series that are dropped, changed and joined, by rule, label and metric, with examples."""
    sizes = (MetricSize("http_total", 1, 1000, 4000), MetricSize("up", 2, 100, 400))
    client = make_client(cardinality=lambda query: Cardinality(metrics=sizes))
    data = await preview(client, "[{action: drop, source_labels: [__name__], regex: http.*}, {action: labelkeep, regex: __name__}]")  # fmt: skip
    figures = ("series", "kept", "dropped", "changed", "collided", "collisions")
    assert [data[f] for f in figures] == [3, 2, 1, 2, 2, 1]
    assert [(r["dropped"], r["changed"]) for r in data["rules"]] == [(1, 0), (0, 2)]
    assert data["labels"] == {name: {"added": 0, "removed": 2, "changed": 0} for name in ("instance", "job")}
    assert data["droppedByMetric"] == [{"name": "http_total", "value": 1}]
    assert data["saved"] == {"samples": 1000, "bytes": 4000}
    assert data["examples"]["dropped"][0]["reason"] == 'drop: "http_total" matches http.*'
    [joined] = data["examples"]["collided"]
    assert (joined["to"], joined["count"], len(joined["from"])) == ({"__name__": "up"}, 2, 2)


async def test_a_preview_is_of_some_series(make_client: Any) -> None:
    """Selectors choose them; several may fit one series."""
    client = make_client()
    rules = "[{target_label: __name__, replacement: new}]"
    data = await preview(client, rules, **{"match[]": ['{job="a"}', "up"], "limit": "1"})
    assert (data["series"], data["changed"]) == (3, 3)
    assert data["renamedMetrics"] == [
        {"from": "up", "to": "new", "value": 2},
        {"from": "http_total", "to": "new", "value": 1},
    ]
    assert len(data["examples"]["changed"]) == 1


async def test_a_preview_without_sizes(make_client: Any) -> None:
    """Where the storage cannot tell sizes, nothing is said of what is saved."""

    def fails(query: Any) -> Cardinality:
        raise StorageError("no")

    assert (await preview(make_client(cardinality=fails), "[]"))["saved"] is None


class Slow(Sequence[Any]):
    """Series that somebody goes on reading for ever, until the client is gone."""

    def __init__(self, reading: threading.Event) -> None:
        self.reading, self.read = reading, 0

    def __len__(self) -> int:
        return 1 << 40

    def __getitem__(self, i: Any) -> Any:
        self.read += 1
        if self.read == 5000:
            self.reading.set()
        return from_mapping({"__name__": f"m{i % 7}"})


async def test_a_preview_ends_when_its_client_goes_away(make_client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread looks now and then whether somebody still waits."""
    reading = threading.Event()
    series = Slow(reading)
    monkeypatch.setattr(FakeQuerier, "series", lambda self, matchers: series)
    client = make_client()
    with trio.fail_after(90):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(client.post, "/api/v1/relabel/preview", data={"rules": "[]"}))
            await trio.to_thread.run_sync(reading.wait)
            nursery.cancel_scope.cancel()
    read = series.read
    assert read < PREVIEW_SERIES_MAX
    await trio.lowlevel.checkpoint()
    assert series.read == read


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "no rules parameter provided"),
        ({"rules": "[{action: nix}]"}, 'unknown relabel action \\"nix\\"'),
        ({"rules": "[{action: keep, if: up}]", "extended": "false"}, "needs `tinyobs: {relabel: {extended: true}}`"),
        ({"rules": "x"}, "expected a list of relabelling rules"),
        ({"rules": "{relabel_configs: [], more: 1}"}, "expected a list of relabelling rules, or a mapping"),
        (
            {"rules": str([{"action": "labelmap", "replacement": f"x{i}_$1"} for i in range(15)])},
            "more than 1000 labels",
        ),
        (
            {"rules": "[" + "{source_labels: [job], target_label: job, replacement: '$1$1'}," * 30 + "]"},
            "a label value longer than 16384",
        ),
        ({"rules": "[" + "{action: labeldrop}," * 1001 + "]"}, "more than 1000 rules"),
        ({"rules": "[{target_label: a, replacement: " + "x" * 1001 + "}]"}, "a replacement is longer than 1000"),
        ({"rules": "x" * 70_000}, "more than 65536 characters"),
        ({"rules": "[]", "limit": "1001"}, "at most 1000 examples"),
        ({"rules": "[]", "match[]": "{}"}, "must contain at least one non-empty matcher"),
    ],
)
async def test_previews_that_are_refused(make_client: Any, parameters: dict[str, str], message: str) -> None:
    """With what is wrong, and in which line."""
    answer = await make_client().post("/api/v1/relabel/preview", data=parameters)
    assert answer.status_code == 400
    assert message in answer.text
