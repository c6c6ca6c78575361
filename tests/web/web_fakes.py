"""Fakes for the HTTP tests: a tiny store, an engine with prepared answers, services made of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from tinyobs.abc import Querier, Selection
from tinyobs.builtin.remote_write_receiver.routes import Write, write_routes
from tinyobs.config.loader import parse as load_config
from tinyobs.errors import QueryParseError
from tinyobs.model.cardinality import Cardinality, ranking
from tinyobs.model.columns import SeriesColumns
from tinyobs.model.families import counter
from tinyobs.model.labels import Labels, from_mapping, get
from tinyobs.model.matchers import Matcher, MatchType
from tinyobs.model.metadata import MetricMetadata, MetricType
from tinyobs.model.select_hints import SelectHints
from tinyobs.promql.nodes import Expr, ValueType, VectorSelector
from tinyobs.promql.result import QueryStatistics, Result
from tinyobs.relabel import preview, trace
from tinyobs.runtime.relabel_services import relabel_services
from tinyobs.web.api_v1.routes import api_routes
from tinyobs.web.application import Application
from tinyobs.web.federate import federation_routes
from tinyobs.web.management import management_routes
from tinyobs.web.options import WebOptions
from tinyobs.web.services import (
    ApiServices,
    BuildInfo,
    DroppedTarget,
    Readiness,
    RuntimeInfo,
    TargetsView,
    TargetView,
)
from tinyobs.web.status_page import page_routes
from tinyobs.web.target_trial import TargetQuestion, TargetTest, TrialSample

CONFIG = load_config(
    """
tinyobs: {relabel: {extended: true}}
scrape_configs:
- job_name: node
  basic_auth: {username: me, password: very-secret}
  relabel_configs:
  - {target_label: __address__, regex: "", replacement: "example.com:443"}
  - {source_labels: [__address__], regex: 'example\\.com:.*', action: drop}
  - {target_label: job, regex: .*, replacement: should_not_apply}
  metric_relabel_configs: [{action: keep_metrics, regex: up}]
- job_name: empty
remote_write:
- url: http://localhost/write
  write_relabel_configs: [{action: labeldrop, regex: b}]
- {url: http://localhost/other, name: other}
alerting: {alert_relabel_configs: [{target_label: a, replacement: x}]}
"""
)
NOW_MS = 1_435_781_451_781
SERIES = [
    from_mapping({"__name__": "up", "job": "a", "instance": "x:1"}),
    from_mapping({"__name__": "up", "job": "b<c", "instance": "y:2"}),
    from_mapping({"__name__": "http_total", "job": "a", "my.label": 'q"\\'}),
]


def columns(rows: Sequence[tuple[Labels, Sequence[tuple[int, float]]]]) -> SeriesColumns:
    """Return columns of (labels, [(time_ms, value), ...])."""
    counts = [len(points) for _, points in rows]
    flat = [p for _, points in rows for p in points]
    return SeriesColumns(
        [labels for labels, _ in rows],
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        np.array([t for t, _ in flat], np.int64),
        np.array([v for _, v in flat], np.float64),
    )


class FakeSelection(Selection):
    def __init__(self, labels: Sequence[Labels]) -> None:
        self.labels = labels

    def read(self, first: int, last: int) -> SeriesColumns:
        return columns([(labels, [(NOW_MS, 1.0)]) for labels in self.labels[first:last]])


class FakeQuerier(Querier):
    def __init__(self, mint_ms: int, maxt_ms: int, calls: list[Any]) -> None:
        self.mint_ms, self.maxt_ms = mint_ms, maxt_ms
        self.closed = False
        calls.append(self)

    def _chosen(self, matchers: Sequence[Matcher]) -> list[Labels]:
        return sorted(s for s in SERIES if all(m.matches(get(s, m.name)) for m in matchers))

    def select(
        self,
        matchers: Sequence[Matcher],
        mint_ms: int,
        maxt_ms: int,
        check: Callable[[], None] | None = None,
        hints: SelectHints | None = None,
    ) -> Selection:
        return FakeSelection(self._chosen(matchers))

    def label_names(self, matchers: Sequence[Matcher] = ()) -> list[str]:
        return sorted({k for s in self._chosen(matchers) for k, _ in s})

    def label_values(self, name: str, matchers: Sequence[Matcher] = ()) -> list[str]:
        return sorted({get(s, name) for s in self._chosen(matchers)} - {""})

    def close(self) -> None:
        self.closed = True


class FakeQueryable:
    def __init__(self) -> None:
        self.queriers: list[FakeQuerier] = []

    def querier(self, mint_ms: int, maxt_ms: int) -> Querier:
        return FakeQuerier(mint_ms, maxt_ms, self.queriers)


class FakeEngine:
    """Answers a text from `answers`: a `Result`, an exception to raise, or a function of the arguments."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.calls: list[dict[str, Any]] = []

    def _answer(self, text: str, **arguments: Any) -> Result:
        self.calls.append({"text": text, **arguments})
        found = self.answers.get(text)
        if found is None:
            raise QueryParseError("no expression found in input", 0, 0, text)
        if isinstance(found, Exception):
            raise found
        return found(**arguments) if callable(found) else found

    def instant(self, queryable: Any, text: str, time_ms: int, **more: Any) -> Result:
        return self._answer(text, time_ms=time_ms, **more)

    def range(self, queryable: Any, text: str, start_ms: int, end_ms: int, step_ms: int, **more: Any) -> Result:
        return self._answer(text, start_ms=start_ms, end_ms=end_ms, step_ms=step_ms, **more)


class FakeClock:
    def now_ms(self) -> int:
        return NOW_MS


def parse(text: str) -> Expr:
    """Read `name{a="b",c!="d"}`; nothing else."""
    found = re.fullmatch(r"([a-z_]*)(?:\{(.*)\})?", text)
    if found is None:
        raise QueryParseError("unexpected character", 0, 1, text)
    name, inside = found.groups()
    matchers = [Matcher(MatchType.EQUAL, "__name__", name)] if name else []
    for part in filter(None, (inside or "").split(",")):
        label, operator, value = re.fullmatch(r'(\w+)(=~|!=|=)"(.*)"', part).groups()
        matchers.append(Matcher(MatchType(operator), label, value))
    return VectorSelector(name, tuple(matchers))


def scalar(value: float, time_ms: int = NOW_MS) -> Result:
    """Return a scalar result."""
    return Result(ValueType.SCALAR, columns([((), [(time_ms, value)])]), time_ms)


def vector(rows: Mapping[Labels, float], **more: Any) -> Result:
    """Return an instant vector."""
    return Result(
        ValueType.VECTOR,
        columns([(labels, [(NOW_MS, v)]) for labels, v in rows.items()]),
        NOW_MS,
        statistics=QueryStatistics(samples_read=7, samples_peak=3),
        **more,
    )


def targets() -> TargetsView:
    """Return one target that is up, one that was dropped."""
    return TargetsView(
        pools=("prometheus", "dropped"),
        active=(
            TargetView(
                discovered_labels=from_mapping({"__address__": "x:1", "job": "prometheus"}),
                labels=from_mapping({"instance": "x:1", "job": "prometheus"}),
                scrape_pool="prometheus",
                scrape_url="http://x:1/metrics",
                global_url="http://x:1/metrics",
                health="up",
                last_scrape_ms=NOW_MS,
                last_scrape_seconds=0.005,
                scrape_interval="15s",
                scrape_timeout="10s",
            ),
        ),
        dropped=(DroppedTarget(from_mapping({"__address__": "z:1", "job": "dropped"}), "dropped"),),
        dropped_counts={"dropped": 1},
    )


async def tested(question: TargetQuestion) -> TargetTest:
    """Answer for any target of the pool `node`."""
    if question.pool != "node":
        raise LookupError(f'scrape pool "{question.pool}" not found')
    labels = from_mapping({"instance": question.target or question.address or "x:1", "job": "node"})
    up = from_mapping({"__name__": "up", **dict(labels)})
    _, steps = trace(labels, CONFIG.scrape_configs[0].relabel_configs)
    if question.address == "drop:1":
        return TargetTest("node", labels, None, steps)
    return TargetTest(
        "node", labels, labels, steps, url="http://x:1/metrics", status=200, content_type="text/plain", samples=1,
        samples_kept=1, series=[TrialSample(up, "1", NOW_MS)], reports={"up": 1.0},
        metric_relabelling=preview([up], CONFIG.scrape_configs[0].metric_relabel_configs),
        metadata={"up": MetricMetadata(MetricType.GAUGE, "is it up")}, metadata_count=1, stale=[up], stale_count=1,
    )  # fmt: skip


LIMITS: Mapping[str, Any] = {
    **dict.fromkeys(("series", "newSeriesThisHour", "newSeriesToday"), 1),
    **dict.fromkeys(("foldedMembers", "foldedMembersMax", "foldedSeries"), 1),
    "rules": [{"match": "x", "series": 1, "newSeriesThisHour": 0, "newSeriesToday": 0}],
    "refused": [
        {
            **{"limit": "series_max", "of": "", "value": 1, "samples": 1, "decisions": 1, "first": NOW_MS},
            **{"last": NOW_MS, "example": {"a": "b"}},
        }
    ],
    "folded": [
        {
            **{"rule": "x", "label": "a", "metric": "x", "keptValues": 1, "foldedValues": 1, "foldedSeries": 1},
            **{"samples": 1, "since": NOW_MS, "last": NOW_MS, "examples": ["b"]},
        }
    ],
}


def make_services(**changes: Any) -> ApiServices:
    """Return services of fakes."""

    async def reload() -> None:
        return None

    defaults: dict[str, Any] = {
        "clock": FakeClock(),
        "queryable": FakeQueryable(),
        "promql": FakeEngine(),
        "parse": parse,
        "metadata": lambda: {
            "up": MetricMetadata(MetricType.GAUGE, "is it up", ""),
            "http_total": MetricMetadata(MetricType.COUNTER, "requests", ""),
        },
        "exemplars": lambda sets, mint_ms, maxt_ms: [],
        "targets": targets,
        "config_yaml": lambda: "global: {}\n",
        "flags": {"web.listen-address": "127.0.0.1:9090", "config.file": "x.yml"},
        "build": BuildInfo("3.14.0", "abc", go_version="Python 3.11"),
        "runtime": lambda: RuntimeInfo(NOW_MS, "/", "h", True, NOW_MS, "15d"),
        "limits": lambda: LIMITS,
        "cardinality": lambda query: Cardinality(
            series_count=3,
            label_pair_count=8,
            chunk_count=3,
            min_time_ms=1,
            max_time_ms=2,
            series_by_metric=ranking({"up": 2, "http_total": 1}, query.top),
        ),
        "gather": lambda: [counter("requests_total", "Requests.", 1)],
        "expose": lambda families, accept: (b"requests_total 1\n", "text/plain; version=0.0.4; charset=utf-8"),
        "readiness": lambda: Readiness(True),
        "reload": reload,
        "quit": lambda: None,
        "relabelling": relabel_services(lambda: CONFIG),
        "test_target": tested,
    }
    return ApiServices(**{**defaults, **changes})


def make_application(services: ApiServices, options: WebOptions, remote_write: Write | None = None) -> Application:
    """Return the application with every route of TinyObs."""
    routes = [*api_routes(services, options), *management_routes(services, options), *page_routes(services, options)]
    routes += [*write_routes(remote_write), *federation_routes(services)]
    return Application(routes, options, services.readiness)


def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every question be quick, and nothing take too long for the event loop, however busy the machine is."""
    monkeypatch.setattr("tinyobs.web.api_v1.pace.QUICK_SECONDS_MAX", 60.0)
    monkeypatch.setattr("tinyobs.web.api_v1.pace.INLINE_SECONDS_MAX", 60.0)
