"""Targets from records of the DNS."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dns.rcode
import pytest
from fake_dns import FakeDns, fake_dns
from published import running

from tinyobs.abc import DiscovererContext
from tinyobs.builtin.dns_sd import discoverer, resolver, tinyobs_discoverers
from tinyobs.builtin.dns_sd.discoverer import DnsDiscoverer
from tinyobs.builtin.dns_sd.resolver import Resolver, read_resolv_conf
from tinyobs.config.dns_sd import DnsSdConfig
from tinyobs.discovery.refreshing import DiscoveryError
from tinyobs.model.durations import DurationMs
from tinyobs.testing.check_discoverer import check_discoverer

ZONE = {
    "_web._tcp.example.org.": [
        "300 IN SRV 10 60 8080 a.example.org.",
        "300 IN SRV 10 40 8081 b.example.org.",
        "300 IN A 10.0.0.9",
    ],
    "a.example.org.": ["300 IN A 10.0.0.1", "300 IN A 10.0.0.2", "300 IN AAAA 2001:db8::1"],
    "alias.example.org.": ["300 IN CNAME a.example.org."],
    "example.org.": ["300 IN MX 10 mail.example.org.", "300 IN NS ns1.example.org."],
    "empty.example.org.": [],
}
NONE = {
    "__meta_dns_srv_record_target": "",
    "__meta_dns_srv_record_port": "",
    "__meta_dns_mx_record_target": "",
    "__meta_dns_ns_record_target": "",
}


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    """A resolv.conf that names the fake server."""
    file = tmp_path / "resolv.conf"
    file.write_text("nameserver 127.0.0.1\nsearch example.org\n")
    return file


def write(conf: Path, text: str) -> None:
    """Write another resolv.conf."""
    conf.write_text(text)


def config(*names: str, interval_ms: int = 20, **more: Any) -> DnsSdConfig:
    """Return a configuration."""
    return DnsSdConfig(names=names, refresh_interval_ms=DurationMs(interval_ms), **more)


def maker(conf: Path, server: FakeDns) -> Any:
    """Return what makes a discoverer that asks a fake server."""
    return lambda entry, context: DnsDiscoverer(entry, context, str(conf), server.port)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (
            config("_web._tcp.example.org"),
            [
                {"__address__": "a.example.org:8080", "__meta_dns_srv_record_target": "a.example.org.", "__meta_dns_srv_record_port": "8080"},
                {"__address__": "b.example.org:8081", "__meta_dns_srv_record_target": "b.example.org.", "__meta_dns_srv_record_port": "8081"},
            ],
        ),
        (config("a.example.org", type="a", port=80), [{"__address__": "10.0.0.1:80"}, {"__address__": "10.0.0.2:80"}]),
        (config("alias.example.org", type="A", port=80), [{"__address__": "10.0.0.1:80"}, {"__address__": "10.0.0.2:80"}]),
        (config("a.example.org", type="AAAA", port=80), [{"__address__": "[2001:db8::1]:80"}]),
        (config("example.org", type="MX", port=25), [{"__address__": "mail.example.org:25", "__meta_dns_mx_record_target": "mail.example.org."}]),
        (config("example.org", type="NS", port=53), [{"__address__": "ns1.example.org:53", "__meta_dns_ns_record_target": "ns1.example.org."}]),
        (config("empty.example.org", type="A", port=1), []),
        (config("none.example.org", type="A", port=1), []),
    ],
    ids=["SRV", "A", "CNAME", "AAAA", "MX", "NS", "no records", "no such name"],
)  # fmt: skip
async def test_labels_of_each_type(conf: Path, entry: DnsSdConfig, expected: list[dict[str, str]]) -> None:
    """All labels of the mechanism are there, those of other types empty; the name is as it is configured."""
    async with fake_dns(FakeDns(ZONE)) as server, running(maker(conf, server), entry) as published:
        name = {"__meta_dns_name": entry.names[0]}
        assert published.labels == [{**NONE, **name, **labels} for labels in expected]
        assert set(published.groups) <= set(entry.names)


async def test_targets_come_and_go(conf: Path) -> None:
    """Each refresh asks again; a name that is gone takes its targets with it."""
    zone = dict(ZONE)
    async with fake_dns(FakeDns(zone)) as server:
        entry = config("a.example.org", "new.example.org", type="A", port=1)
        async with running(maker(conf, server), entry) as published:
            assert published.addresses == ["10.0.0.1:1", "10.0.0.2:1"]
            zone["new.example.org."] = ["300 IN A 10.0.0.3"]
            await published.until(lambda: "10.0.0.3:1" in published.addresses)
            del zone["a.example.org."]
            await published.until(lambda: published.addresses == ["10.0.0.3:1"])
            assert published.discoverer.statistics().lookup_failures_total == 0
            assert published.discoverer.statistics().lookups_total >= 6


async def test_an_error_keeps_the_last_good_targets(conf: Path) -> None:
    """Of each name; the failures are counted, and end when the server answers again."""
    zone = dict(ZONE)
    entry = config("a.example.org", type="A", port=1)
    async with fake_dns(FakeDns(zone)) as server, running(maker(conf, server), entry) as published:
        server.rcode = dns.rcode.SERVFAIL
        await published.until(lambda: published.failures >= 2)
        assert published.addresses == ["10.0.0.1:1", "10.0.0.2:1"]
        assert published.discoverer.statistics().lookup_failures_total >= 2
        zone["a.example.org."] = []
        server.rcode = dns.rcode.NOERROR
        await published.until(lambda: published.addresses == [])


async def test_one_name_fails_and_the_others_go_on(conf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name that cannot be looked up keeps what it had."""
    zone = dict(ZONE)
    async with fake_dns(FakeDns(zone)) as server:
        entry = config("a.example.org", "empty.example.org", type="A", port=1)
        async with running(maker(conf, server), entry) as published:
            answer = FakeDns.answer

            def refuse(self: FakeDns, wire: bytes, transport: str) -> bytes | None:
                self.rcode = dns.rcode.REFUSED if b"empty" not in wire else dns.rcode.NOERROR
                return answer(self, wire, transport)

            monkeypatch.setattr(FakeDns, "answer", refuse)
            zone["empty.example.org."] = ["300 IN A 10.0.0.7"]
            await published.until(lambda: "10.0.0.7:1" in published.addresses)
            assert published.addresses == ["10.0.0.1:1", "10.0.0.2:1", "10.0.0.7:1"]
            assert published.failures == 0


async def test_a_long_answer_comes_over_tcp(conf: Path) -> None:
    """The server cuts what does not fit into a datagram, and is asked again."""
    zone = {"many.example.org.": [f"300 IN A 10.1.{i // 250}.{i % 250}" for i in range(500)]}
    async with fake_dns(FakeDns(zone)) as server:
        async with running(maker(conf, server), config("many.example.org", type="A", port=1)) as published:
            assert len(published.addresses) == 500
        assert [transport for transport, _, _ in server.asked[:2]] == ["udp", "tcp"]


async def test_the_next_server_is_asked_where_one_does_not_answer(conf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a time of its own for each."""
    monkeypatch.setattr(resolver, "ANSWER_SECONDS", 0.2)
    write(conf, "nameserver 127.0.0.2\nnameserver 127.0.0.1\n")
    async with fake_dns(FakeDns(ZONE)) as server:
        entry = config("a.example.org", type="A", port=1, interval_ms=60_000)
        async with running(maker(conf, server), entry) as published:
            assert len(published.addresses) == 2
        server.silent = True
        async with running(maker(conf, server), entry) as published:
            assert (published.addresses, published.failures) == ([], 1)


async def test_search_domains(conf: Path) -> None:
    """A short name is tried with them first, a longer one as it is; the first that exists counts."""
    async with fake_dns(FakeDns(ZONE)) as server:
        for name, asked in (
            ("a", ["a.example.org."]),
            ("a.example.org", ["a.example.org."]),
            ("_web._tcp", ["_web._tcp.", "_web._tcp.example.org."]),
            ("none.", ["none."]),
        ):
            server.asked.clear()
            async with running(maker(conf, server), config(name, type="A", port=1, interval_ms=60_000)):
                assert [n for _, n, _ in server.asked] == asked


async def test_a_failure_with_one_search_domain_leaves_it_open(conf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name is gone only when every candidate is known not to exist."""
    answer = FakeDns.answer

    def refuse(self: FakeDns, wire: bytes, transport: str) -> bytes | None:
        self.rcode = dns.rcode.NOERROR if b"example" not in wire else dns.rcode.SERVFAIL
        return answer(self, wire, transport)

    monkeypatch.setattr(FakeDns, "answer", refuse)
    async with fake_dns(FakeDns({"up.": ["300 IN A 10.0.0.1"]})) as server:
        names = Resolver(["127.0.0.1"], ["example.org"], port=server.port)
        assert len(await names.look_up("up", discoverer.dns.rdatatype.A)) == 1
        with pytest.raises(DiscoveryError, match=r"could not resolve 'down': .*down\.example\.org\. .*SERVFAIL"):
            await names.look_up("down", discoverer.dns.rdatatype.A)
        with pytest.raises(DiscoveryError, match="DNS label"):
            await names.look_up("x" * 64 + ".", discoverer.dns.rdatatype.A)


def test_resolv_conf(conf: Path) -> None:
    """The last of `domain` and `search` counts; comments and what makes no sense are passed over."""
    conf.write_text(
        "# nameserver 10.0.0.9\n\nnameserver 10.0.0.1 # x\nnameserver name\nnameserver fe80::1\nnameserver\n"
        "domain a.org b.org\noptions ndots:2 rotate timeout:x ndots:y\n"
    )
    found = read_resolv_conf(str(conf))
    assert found == Resolver(["10.0.0.1", "fe80::1"], ["a.org"], 2)
    assert found.candidates("x.y") == ["x.y.a.org.", "x.y."]
    assert found.candidates("x.y.z") == ["x.y.z.", "x.y.z.a.org."]


async def test_without_servers_nothing_is_known(conf: Path, tmp_path: Path) -> None:
    """An empty resolv.conf, and none at all, are errors; the discovery starts nevertheless."""
    write(conf, "")
    for path, reason in ((conf, "no name servers"), (tmp_path / "none", "could not load")):
        with pytest.raises(DiscoveryError, match=reason):
            await read_resolv_conf(str(path)).look_up("a", discoverer.dns.rdatatype.A)
        async with running(maker(path, FakeDns()), config("a")) as published:
            assert published.failures >= 1


async def test_the_contract_is_kept(conf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As every kind of discovery."""
    async with fake_dns(FakeDns(ZONE)) as server:
        (kind,) = tinyobs_discoverers()

        def make(entry: DnsSdConfig, context: DiscovererContext) -> DnsDiscoverer:
            return DnsDiscoverer(entry, context, str(conf), server.port)

        monkeypatch.setattr(discoverer, "DnsDiscoverer", make)
        assert len(await check_discoverer(kind, config("a.example.org", type="A", port=1))) == 1
