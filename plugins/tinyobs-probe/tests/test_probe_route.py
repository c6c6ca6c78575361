"""The route `/probe`, as scrape configurations for blackbox_exporter use it."""

from __future__ import annotations

import httpx
import pytest
import trio
from probe_servers import silent
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.routing import Route
from tinyobs.config.http_client import BasicAuth, HttpClientConfig
from tinyobs.model.secrets import Secret

from tinyobs_probe.route import ProbeRoute, timeout_seconds
from tinyobs_probe.settings import HttpProbe, IpProtocol, Module, Prober, ProbeSettings, TcpProbe

AUTH = HttpClientConfig(basic_auth=BasicAuth(username="u", password=Secret("hidden")))
SETTINGS = ProbeSettings(
    modules=(
        ("v4", Module(prober=Prober.HTTP, http=HttpProbe(preferred_ip_protocol=IpProtocol.IP4, client=AUTH))),
        ("named", Module(prober=Prober.HTTP, http=HttpProbe(headers=(("host", "own.test"),)))),
        ("tcp", Module(prober=Prober.TCP, tcp=TcpProbe(preferred_ip_protocol=IpProtocol.IP4))),
    )
)


@pytest.fixture
async def client():
    """A client of an application with the route."""
    app = Starlette(routes=[Route("/probe", ProbeRoute(lambda: SETTINGS).answer)])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as c:
        yield c


async def test_metrics_of_a_probe(client, listen, http):
    """The answer is text that parsers read; a failed probe is an answer too."""
    http.answer("/", b"x")
    port = await listen(http.handle)
    answer = await client.get(
        "/probe", params={"module": "v4", "target": f"127.0.0.1:{port}", "hostname": "vhost.test"}
    )
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    samples = {s.name: s.value for f in text_string_to_metric_families(answer.text) for s in f.samples}
    assert samples["probe_success"] == 1
    assert samples["probe_http_status_code"] == 200
    assert http.seen[0][1]["host"] == "vhost.test"
    failed = await client.get("/probe", params={"module": "tcp", "target": "127.0.0.1:1", "hostname": "vhost.test"})
    assert "probe_success 0.0" in failed.text


async def test_the_standard_module_is_http(client, listen, http):
    """Without `module` it is http_2xx."""
    http.answer("/")
    answer = await client.get("/probe", params={"target": f"http://127.0.0.1:{await listen(http.handle)}/"})
    assert "probe_http_status_code 200.0" in answer.text


async def test_the_log_instead_of_metrics(client, listen, http):
    """`debug=true` shows log, metrics and module, and no secret."""
    http.answer("/")
    params = {"module": "v4", "target": f"127.0.0.1:{await listen(http.handle)}", "debug": "true"}
    text = (await client.get("/probe", params=params)).text
    assert "Logs for the probe:" in text
    assert "making HTTP request" in text
    assert "probe_success 1.0" in text
    assert "preferred_ip_protocol" in text
    assert "hidden" not in text


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"target": "x", "module": "none"}, 'Unknown module "none"'),
        ({}, "Target parameter is missing"),
        ({"target": "x", "module": "named", "hostname": "other.test"}, "host header defined both"),
    ],
)
async def test_bad_requests(client, params, message):
    """What cannot be probed is 400 with the reason."""
    answer = await client.get("/probe", params=params)
    assert answer.status_code == 400
    assert message in answer.text


async def test_the_scraper_sets_the_deadline(client, listen, autojump_clock):
    """A probe ends half a second before the scrape that asked for it."""
    port = await listen(silent)
    began = trio.current_time()
    headers = {"X-Prometheus-Scrape-Timeout-Seconds": "3"}
    answer = await client.get("/probe", params={"module": "v4", "target": f"127.0.0.1:{port}"}, headers=headers)
    assert "probe_success 0.0" in answer.text
    assert trio.current_time() - began == pytest.approx(2.5, abs=0.1)
    bad = await client.get("/probe", params={"target": "x"}, headers={"X-Prometheus-Scrape-Timeout-Seconds": "nan"})
    assert bad.status_code == 400


@pytest.mark.parametrize(
    ("header", "own", "expected"),
    [(None, 0, 119.5), ("10", 0, 9.5), ("10", 5_000, 5), ("10", 20_000, 9.5), ("0.3", 0, 0.3), ("0.3", 100, 0.1)],
)
def test_time_of_a_probe(header, own, expected):
    """The shorter of the scraper's time, less the offset, and the module's."""
    assert timeout_seconds(header, Module(prober=Prober.TCP, timeout=own)) == pytest.approx(expected)
