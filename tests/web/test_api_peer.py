"""The API against a running Prometheus without data: the same requests, the same answers.

TINYOBS_PROMETHEUS3 names the program to compare with; else it is the `prometheus` of the path.  What changed after
Prometheus 2.42 is asked of a version 3 only.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from web_fakes import FakeQueryable

from tinyobs.promql.engine import PromqlEngine
from tinyobs.promql.limits import EngineOptions
from tinyobs.promql.parser import parse
from tinyobs.promql.printer import pretty
from tinyobs.web.services import TargetsView

pytestmark = pytest.mark.peer

V1 = "/api/v1"
SINCE_3 = [
    f"{V1}/query",
    f"{V1}/query?query=vector(1e-7)&time=1",
    f"{V1}/query?query=up&time=x",
    f"{V1}/query?query=up&time=2015-07-01T20:10:51",
    *(f"{V1}/query?query=up&{bad}" for bad in ("limit=x", "limit=-1", "lookback_delta=x")),
    *(f"{V1}/query_range?query={q}&start=1&end=2&step=1" for q in ("up(", "up[5m]", "'a'")),
    *(f"{V1}/labels?{bad}" for bad in ("start=x", "limit=x", "match[]={}", "match[]=up{")),
    f"{V1}/label/a.b/values",
    f"{V1}/label/U__a_2e_b/values",
    f"{V1}/label/%FF/values",
    f"{V1}/series?match[]=up&end=x",
    f"{V1}/series?match[]={{a=%22%22}}",
    f"{V1}/metadata?limit_per_metric=x",
    f"{V1}/targets?state=dropped",
    f"{V1}/scrape_pools",
    f"{V1}/rules?type=x",
    *(f"{V1}/rules?exclude_alerts={value}" for value in ("x", "true")),
    *(f"{V1}/rules?match[]={value}" for value in ("a{", "{}", "sum(", "a")),
    *(f"{V1}/rules?group_limit={value}" for value in ("x", "0", "-1", "2", "2%26group_next_token=abc")),
    f"{V1}/rules?group_next_token=abc",
    f"{V1}/rules?group_limit=2&group_next_token=abc",
    *(f"{V1}/targets/metadata?{q}" for q in ("", "limit=x", "match_target=x", "match_target=sum(", "metric=up")),
    f"{V1}/metadata?limit_per_metric=1&limit=1",
    f"{V1}/notifications",
    "/federate",
    "/federate?match[]=sum(",
    "/federate?match[]={}",
    f"{V1}/status/tsdb?limit=0",
    f"{V1}/series?match[]=up{{",
]
TREES = [
    *("sum by (a, b) (rate(x{a=~'b'}[5m] offset 1m))", "topk(5, x @ 10)", "a * on(b) group_left(c) d", "-a + 1e-7"),
    *("a[1h:5m] @ end()", "a[1h:]", "(a == bool 1)", "'s'", "time()", "round(a)", "Inf", "vector(NaN)", "a and b"),
    *('{"a.b"}', "1h", "a[5m] @ start() offset -5m", "a + b", "1 + 2", "sum(a) > avg without (x) (b)", "up("),
    *("label_replace(a, 'b', 'c', 'd', 'e')", "count_values('v', a)", "max_over_time(a[5m:1m] offset 1d)"),
]
REQUESTS = [
    # values and times
    *(f"{V1}/query?query={q}&time=1" for q in ("1e16", "1e-7", "vector(0.00001)", "1/0", "-1/0", "0/0", "1e21")),
    *(f"{V1}/query?query=vector(1)&time={t}" for t in ("1.5", "0.001", "1435781451.781", "2015-07-01T20:10:51.781Z")),
    f"{V1}/query?query=%22a%C3%A9%22&time=1",
    f"{V1}/query?query=up&time=1",
    f"{V1}/query_range?query=vector(1)&start=0&end=2&step=0.5",
    f"{V1}/query_range?query=1&start=0&end=0&step=1h",
    f"{V1}/query_range?query=up&start=0&end=11000&step=1",
    # refusals
    *(f"{V1}/query?query=up&{bad}" for bad in ("timeout=x", "timeout=1ns")),
    *(f"{V1}/query?query={q}" for q in ("up(", "sum(up", "a%20b", "up{a=}")),
    *(
        f"{V1}/query_range?query=up&{bad}"
        for bad in (
            *("", "start=x", "start=1&end=x", "start=10&end=5&step=1", "start=1&end=5", "start=1&end=5&step=0"),
            *("start=1&end=5&step=-1", "start=1&end=5&step=1e300", "start=0&end=11001&step=1"),
        )
    ),
    # series
    f"{V1}/labels?match[]=sum(up)",
    f"{V1}/series",
    f"{V1}/series?match[]=nope",
    f"{V1}/label/job/values?match[]=nope",
    # the rest
    f"{V1}/metadata?limit=x",
    f"{V1}/metadata?metric=nope",
    f"{V1}/rules",
    f"{V1}/alerts",
    f"{V1}/alertmanagers",
    f"{V1}/status/walreplay",
    f"{V1}/format_query?query=sum(up)by(job)",
    f"{V1}/format_query?query=sum(",
    f"{V1}/nope",
    "/nope",
]  # fmt: skip


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[http.client.HTTPConnection]:
    """Return a connection to a Prometheus on a port of its own."""
    program = os.environ.get("TINYOBS_PROMETHEUS3") or shutil.which("prometheus")
    if program is None:
        pytest.skip("needs the program prometheus")
    folder: Path = tmp_path_factory.mktemp("prometheus")
    (folder / "empty.yml").write_text("global: {}\n")
    command = [program, f"--config.file={folder}/empty.yml", f"--storage.tsdb.path={folder}/data"]
    with subprocess.Popen(
        [*command, "--web.listen-address=127.0.0.1:0"], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stderr is not None
            address = ""
            for line in process.stderr:
                if found := re.search(r'Listening on" (?:component=web )?address=(\S+)', line):
                    address = found[1]
                if "ready to receive web requests" in line:
                    break
            if not address:
                pytest.skip("this Prometheus does not say where it listens")
            connection = http.client.HTTPConnection(address)
            yield connection
            connection.close()
        finally:
            process.terminate()
            process.communicate()


@pytest.fixture(scope="module")
def is_version_3(prometheus: http.client.HTTPConnection) -> bool:
    """Tell whether the peer is a Prometheus 3."""
    prometheus.request("GET", f"{V1}/status/buildinfo")
    return bool(json.loads(prometheus.getresponse().read())["data"]["version"].startswith("3"))


@pytest.fixture(autouse=True)
def _skip_what_is_newer(request: pytest.FixtureRequest, is_version_3: bool) -> None:
    """Skip what an older peer answers differently (here, because a skip within trio loses its reason)."""
    parameters = request.node.callspec.params if hasattr(request.node, "callspec") else {}
    newer = parameters.keys() & {"query", "method", "origin"} or parameters.get("path") in SINCE_3
    if not is_version_3 and newer:
        pytest.skip("the peer is older than Prometheus 3; TINYOBS_PROMETHEUS3 may name another")


class NoData(FakeQueryable):
    """A store without a series."""

    def querier(self, mint_ms: int, maxt_ms: int) -> Any:
        """Return a view of nothing."""
        found: Any = super().querier(mint_ms, maxt_ms)
        found._chosen = lambda matchers: []
        return found


@pytest.mark.parametrize("query", TREES)
async def test_prometheus_gives_the_same_syntax_tree(
    make_client: Any, prometheus: http.client.HTTPConnection, query: str
) -> None:
    """Every kind of node has the same shape; what came after 3.5 is left out."""
    path = f"{V1}/parse_query?{urlencode({'query': query})}"
    prometheus.request("GET", path)
    theirs = json.loads(prometheus.getresponse().read())
    ours = (await make_client(parse=parse).get(path)).json()
    assert without_news(ours) == without_news(theirs)


def without_news(value: Any) -> Any:
    """Return JSON without the keys that Prometheus 3.5 does not have yet."""
    if isinstance(value, list):
        return [without_news(v) for v in value]
    if isinstance(value, dict):
        return {k: without_news(v) for k, v in value.items() if k not in ("anchored", "smoothed", "fillValues")}
    return value


@pytest.mark.parametrize("path", [*REQUESTS, *SINCE_3])
async def test_prometheus_gives_the_same_answer(
    make_client: Any, prometheus: http.client.HTTPConnection, path: str
) -> None:
    """Status, type and content agree."""
    prometheus.request("GET", path)
    theirs = prometheus.getresponse()
    body = theirs.read()
    client = make_client(
        promql=PromqlEngine(EngineOptions()),
        queryable=NoData(),
        parse=parse,
        format=pretty,
        metadata=lambda: {},
        targets=TargetsView,
    )
    ours = await client.get(path)
    assert (ours.status_code, ours.headers["content-type"]) == (theirs.status, theirs.headers["content-type"])
    if "json" in theirs.headers["content-type"]:
        assert ours.json() == json.loads(body)
    else:
        assert ours.content == body


METHODS = [
    *(("OPTIONS", path) for path in (f"{V1}/query", f"{V1}/nope", f"{V1}/label/job/values", "/metrics", "/federate")),
    *(("OPTIONS", path) for path in ("/-/healthy", "/nope", f"{V1}/admin/tsdb/snapshot")),
    *(("HEAD", path) for path in (f"{V1}/query", f"{V1}/labels", "/metrics", "/federate", "/version", "/nope")),
    *(("DELETE", path) for path in (f"{V1}/query", f"{V1}/nope", "/metrics")),
    *(("POST", path) for path in (f"{V1}/label/job/values", f"{V1}/metadata", f"{V1}/targets", "/federate")),
    *(("PUT", path) for path in (f"{V1}/query", f"{V1}/write", f"{V1}/read", f"{V1}/admin/tsdb/snapshot")),
    *(("GET", path) for path in (f"{V1}/write", f"{V1}/read", f"{V1}/admin/tsdb/delete_series")),
]
HEADERS = ("allow", "content-type", "x-content-type-options")
CORS = ("vary", "access-control-allow-headers", "access-control-allow-methods", "access-control-allow-origin")


@pytest.mark.parametrize(("method", "path"), METHODS, ids=[f"{m} {p}" for m, p in METHODS])
async def test_prometheus_gives_the_same_to_other_methods(
    make_client: Any, prometheus: http.client.HTTPConnection, method: str, path: str
) -> None:
    """Status, methods that there are, type and text."""
    prometheus.request(method, path)
    theirs = prometheus.getresponse()
    body = theirs.read()
    ours = await make_client(format=pretty).request(method, path)
    assert ours.status_code == theirs.status
    assert {h: ours.headers.get(h) for h in HEADERS} == {h: theirs.headers.get(h) for h in HEADERS}
    if method != "HEAD":  # of which our server sends no body
        assert ours.content == body


@pytest.mark.parametrize("origin", ["", "http://a.example"])
async def test_prometheus_tells_browsers_the_same(
    make_client: Any, prometheus: http.client.HTTPConnection, origin: str
) -> None:
    """On an answer, an error of the API, and the question before a request."""
    headers = {"Origin": origin} if origin else {}
    for method, path in (("GET", f"{V1}/labels"), ("GET", f"{V1}/labels?start=x"), ("OPTIONS", f"{V1}/labels")):
        prometheus.request(method, path, headers=headers)
        theirs = prometheus.getresponse()
        theirs.read()
        ours = await make_client().request(method, path, headers=headers)
        assert ours.status_code == theirs.status
        assert {h: ours.headers.get(h) for h in CORS} == {h: theirs.headers.get(h) for h in CORS}
