"""Every field of a scrape config that says how targets are asked and judged has its effect on a real scrape."""

from __future__ import annotations

import os
import ssl
from contextlib import asynccontextmanager

import pytest
import trio
import trustme
from http_peers import as_json, proxying, serving

from tinyobs.builtin.scrape.loop import ScrapeLoop
from tinyobs.builtin.scrape.manager import ScrapeManager, loop_rules
from tinyobs.builtin.scrape.statistics import PoolCounters
from tinyobs.builtin.scrape.targets import make_target
from tinyobs.config.loader import parse
from tinyobs.http_client import Client, Shared
from tinyobs.model.staleness import is_stale_value
from tinyobs.testing.services import FakeServices
from tinyobs.testing.targets import FakeTarget, fake_target

BODY = b'x{job="own"} 1 500\nlonger_name{a="bb",c="d"} 2\n'


@pytest.fixture(scope="module")
def authority():
    """Return an authority that signs for the tests."""
    return trustme.CA()


class Scrapes:
    """Scrapes a fake target with the settings of a scrape config, one scrape at a time."""

    def __init__(self, target, options="", top=""):
        self.services = FakeServices()
        text = f"{top}\nscrape_configs:\n- job_name: j\n" + "".join(f"  {line}\n" for line in options.splitlines())
        (config,) = parse(text, "f.yml").all_scrape_configs
        self.target, self.counters, self.at_ms = target, PoolCounters(), 0
        self.client = Client(shared=Shared(config.http))
        defaults = ScrapeManager(self.services)._make(config, {})._defaults
        found = make_target({"__address__": target.address}, {}, defaults)[1]
        rules = loop_rules(config)
        self.loop = ScrapeLoop(found, rules, self.client, self.services, self.counters, "seed")

    async def scrape(self):
        """Scrape once and return the error, "" for none."""
        self.at_ms += 1000
        await self.loop.scrape(self.at_ms)
        return self.loop.health.last_error

    @property
    def request(self):
        """The headers of the last request."""
        return self.target.requests[-1]

    def samples(self, name):
        """Return the samples of a metric: series without the target's labels -> [(ms, value), ...]."""
        address = f'instance="{self.target.address}", job="j"'
        return {k.replace(address, "T"): v for k, v in self.services.samples(name).items()}


@asynccontextmanager
async def scraping(options="", top="", tls=None, **target):
    """Serve a target and make what scrapes it."""
    async with fake_target(FakeTarget(**{"body": BODY, **target}), tls) as served:
        scrapes = Scrapes(served, options, top)
        try:
            yield scrapes
        finally:
            await scrapes.client.aclose()


async def test_defaults():
    """Without settings: the target's labels stand, timestamps are honoured, gzip is asked for, UTF-8 names are allowed."""
    async with scraping() as s:
        assert await s.scrape() == ""
        assert s.samples("x") == {'x{exported_job="own", T}': [(500, 1.0)]}
        assert s.request["accept-encoding"] == "gzip"
        assert "escaping=allow-utf-8" in s.request["accept"]
        assert s.request[":path"] == "/metrics"
        assert s.request["x-prometheus-scrape-timeout-seconds"] == "10"


@pytest.mark.parametrize(
    ("options", "header", "value"),
    [
        ("enable_compression: false", "accept-encoding", "identity"),
        ("params: {a: [b c], d: [e, f]}", ":path", "/metrics?a=b+c&d=e&d=f"),
        ("metrics_path: /probe", ":path", "/probe"),
        ("scrape_timeout: 2500ms", "x-prometheus-scrape-timeout-seconds", "2.5"),
        ("http_headers: {X-A: {values: [v]}}", "x-a", "v"),
        ("basic_auth: {username: u, password: p}", "authorization", "Basic dTpw"),
        ("bearer_token: t", "authorization", "Bearer t"),
        (
            "scrape_protocols: [PrometheusText1.0.0, PrometheusText0.0.4]\nmetric_name_escaping_scheme: dots",
            "accept",
            "text/plain;version=1.0.0;escaping=dots;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.4",
        ),
        (
            "scrape_protocols: [OpenMetricsText1.0.0]\nmetric_name_escaping_scheme: values",
            "accept",
            "application/openmetrics-text;version=1.0.0;escaping=values;q=0.6,*/*;q=0.5",
        ),
        (
            "scrape_protocols: [OpenMetricsText1.0.0]\nmetric_name_validation_scheme: legacy",
            "accept",
            "application/openmetrics-text;version=1.0.0;escaping=underscores;q=0.6,*/*;q=0.5",
        ),
    ],
)
async def test_settings_of_the_request(options, header, value):
    """Each shows in the request that the target gets."""
    async with scraping(options) as s:
        assert await s.scrape() == ""
        assert s.request[header] == value


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ("sample_limit: 1", "sample limit exceeded"),
        ("body_size_limit: 10B", "body size limit exceeded"),
        ("label_limit: 3", "label_limit exceeded"),
        ("label_name_length_limit: 5", "label_name_length_limit exceeded"),
        ("label_value_length_limit: 2", "label_value_length_limit exceeded"),
    ],
)
@pytest.mark.parametrize("place", ["job", "global"])
async def test_limits_fail_the_scrape(options, error, place):
    """Each limit, in the scrape config or the global section, fails the scrape: `up` is 0 and nothing else is stored."""
    given = {"top": f"global: {{{options}}}"} if place == "global" else {"options": options}
    async with scraping(**given) as s:
        assert error in await s.scrape()
        assert list(s.samples("up").values()) == [[(1000, 0.0)]]
        assert s.samples("x") == s.samples("longer_name") == {}
        c = s.counters
        counts = [c.sample_limit, c.body_size_limit, c.label_limits]
        assert counts == [error.startswith("sample"), error.startswith("body"), error.startswith("label")]


async def test_a_series_without_a_name_fails_the_scrape():
    """Rules that take the name away are no limit, and are not counted as one."""
    async with scraping("metric_relabel_configs: [{target_label: __name__, replacement: ''}]") as s:
        assert "missing metric name (__name__ label)" in await s.scrape()
        assert s.counters.label_limits == 0


@pytest.mark.parametrize(
    ("options", "series"),
    [
        ("honor_labels: true", 'x{instance="A", job="own"}'),
        ("metric_relabel_configs: [{regex: exported_job, action: labeldrop}]", "x{T}"),
        ("relabel_configs: [{target_label: env, replacement: e}]", 'x{env="e", exported_job="own", T}'),
    ],
)
async def test_settings_of_labels(options, series):
    """They decide whose label stands, and rules change targets and series."""
    async with scraping(options) as s:
        assert await s.scrape() == ""
        assert list(s.samples("x")) == [series.replace("A", s.target.address)]


async def test_settings_of_timestamps():
    """`honor_timestamps: false` stamps with the time of the scrape; `track_timestamps_staleness` writes markers."""
    async with scraping("honor_timestamps: false") as s:
        await s.scrape()
        assert list(s.samples("x").values()) == [[(1000, 1.0)]]
    async with scraping("track_timestamps_staleness: true") as s:
        await s.scrape()
        s.target.body = b""
        await s.scrape()
        assert is_stale_value(next(iter(s.samples("x").values()))[-1][1])


async def test_a_fallback_protocol_serves_targets_without_a_type():
    """Without one such a target fails; the message names the setting."""
    async with scraping(content_type="") as s:
        assert "no fallback_scrape_protocol specified" in await s.scrape()
    async with scraping("fallback_scrape_protocol: PrometheusText0.0.4", content_type="") as s:
        assert await s.scrape() == ""


async def test_redirects_are_followed_unless_forbidden():
    """`follow_redirects: false` shows the status of the redirect."""
    async with fake_target(FakeTarget(body=b"y 1\n")) as final:
        location = f"http://{final.address}/"
        async with scraping(status=302, location=location) as s:
            assert await s.scrape() == ""
        async with scraping("follow_redirects: false", status=302, location=location) as s:
            assert "302" in await s.scrape()


@pytest.mark.parametrize("scheme", ["utf8", "legacy"])
@pytest.mark.parametrize("body", [b'{"a.b"} 1\n', b'a{"c.d"="e"} 1\n'])
async def test_the_legacy_scheme_refuses_other_names(scheme, body):
    """A name of a metric or label beyond the legacy ones fails the scrape under `legacy`, and is taken under `utf8`."""
    options = f"metric_name_validation_scheme: {scheme}"
    async with scraping(options, body=body, content_type="text/plain; version=1.0.0") as s:
        error = await s.scrape()
    assert error.startswith("invalid metric name or label names: ") if scheme == "legacy" else error == ""


async def test_tls_settings(authority, tmp_path):
    """The authority, the name, the version and the client certificate are those that are configured."""
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    mine = authority.issue_cert("me")
    mine.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "me.pem"))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("target.example").configure_cert(server)
    authority.configure_trust(server)
    server.verify_mode = ssl.CERT_REQUIRED
    server.maximum_version = server.minimum_version = ssl.TLSVersion.TLSv1_2
    ca, me = f"ca_file: {tmp_path}/ca.pem", f"cert_file: {tmp_path}/me.pem, key_file: {tmp_path}/me.pem"
    for settings, error in (
        (f"{ca}, {me}, server_name: target.example", ""),
        (f"{me}, insecure_skip_verify: true", ""),
        (f"{ca}, {me}", "certificate"),
        (f"{me}, server_name: target.example", "certificate"),
        (f"{ca}, {me}, server_name: target.example, min_version: TLS13", "ssl"),
        (f"{ca}, {me}, server_name: target.example, max_version: TLS12", ""),
        (f"{ca}, server_name: target.example", " "),
        (f"ca_file: {tmp_path}/gone.pem", "gone.pem"),
    ):
        async with scraping(f"scheme: https\ntls_config: {{{settings}}}", tls=server) as s:
            found = await s.scrape()
        assert (error in found.lower()) if error else found == "", (settings, found)


async def test_certificates_are_read_again_when_they_change(authority, tmp_path, mock_clock):
    """A missing authority fails the scrapes of the pool until it is there; one that is replaced is used a second later."""
    file = tmp_path / "ca.pem"
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    async with scraping(f"scheme: https\ntls_config: {{ca_file: {file}}}", tls=server) as s:
        assert str(file) in await s.scrape()
        trustme.CA().cert_pem.write_to_path(str(file))
        os.utime(file, (1, 1))
        mock_clock.jump(1)
        assert "certificate" in (await s.scrape()).lower()
        authority.cert_pem.write_to_path(str(file))
        os.utime(file, (2, 2))
        mock_clock.jump(1)
        assert await s.scrape() == ""


async def test_a_connection_is_kept_and_one_that_has_ended_is_replaced():
    """The second request uses the first's connection; when the server closes it just then, the request is repeated."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Type: text/plain\r\n\r\nx 1\n"
    connections, requests = [], []

    async def serve(stream):
        connections.append(stream)
        async with stream:
            while piece := await stream.receive_some(65536):
                requests.append(piece)
                if len(requests) == 3:
                    return
                await stream.send_all(answer)

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}/"
        client = Client()
        counts = []
        for _ in range(3):
            async with client.stream("GET", url) as found:
                assert b"".join([piece async for piece in found.pieces()]) == b"x 1\n"
            counts.append((len(connections), len(requests)))
        assert counts == [(1, 1), (1, 2), (2, 4)]
        await client.aclose()
        nursery.cancel_scope.cancel()


async def test_targets_are_scraped_through_a_proxy():
    """It is asked with the whole URL of the target."""
    async with proxying() as proxy, scraping(f"proxy_url: http://{proxy.address}") as s:
        assert await s.scrape()  # what the proxy of the test answers is no metric
        assert (proxy.asked[0].target, s.target.requests) == (s.loop.target.url, [])


async def test_targets_are_scraped_with_a_token():
    """It is fetched once for all scrapes."""
    async with serving(lambda _: as_json({"access_token": "t", "expires_in": 60})) as endpoint:
        oauth2 = f"oauth2: {{client_id: me, client_secret: s, token_url: 'http://{endpoint.address}/'}}"
        async with scraping(oauth2) as s:
            assert [await s.scrape() for _ in range(3)] == [""] * 3
            assert {r["authorization"] for r in s.target.requests} == {"Bearer t"}
    assert len(endpoint.asked) == 1
