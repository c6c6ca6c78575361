"""The configuration section `probe`, whose modules are written as in blackbox_exporter's `blackbox.yml`.

Source of names and defaults: blackbox_exporter CONFIGURATION.md.  What is known there and not built here (gRPC and
Unix probes, proxies, CEL) is refused by name.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from enum import StrEnum
from typing import Final

from attrs import frozen
from tinyobs.config.fields import Fault, FilePath, inline, setting, unsupported
from tinyobs.config.http_client import HttpClientConfig, TlsConfig
from tinyobs.model.durations import DurationMs
from tinyobs.model.labels import is_legacy_label_name
from tinyobs.model.sizes import SizeBytes

from .dns_names import name_faults
from .patterns import compile_pattern

CONCURRENCY_MAX: Final = 10_000
PAYLOAD_BYTES_MAX: Final = 65_000
"""Longest payload of an echo request; an IP packet holds 65 535 bytes."""


class Prober(StrEnum):
    """The kinds of probes."""

    HTTP = "http"
    TCP = "tcp"
    DNS = "dns"
    ICMP = "icmp"


class IpProtocol(StrEnum):
    """Which addresses of a name are preferred."""

    IP4 = "ip4"
    IP6 = "ip6"


def pattern_faults(key: str, patterns: tuple[str, ...]) -> Iterator[Fault]:
    """Yield a fault for each pattern that is none."""
    for pattern in patterns:
        try:
            compile_pattern(pattern)
        except ValueError as e:
            yield Fault(str(e), key)


def source_faults(address: str) -> Iterator[Fault]:
    """Yield a fault when a source address is no IP address."""
    if address:
        try:
            ipaddress.ip_address(address)
        except ValueError as e:
            yield Fault(str(e), "source_ip_address")


@frozen(kw_only=True)
class HeaderMatch:
    """A pattern for the values of one response header."""

    header: str = setting()
    regexp: str = setting()
    allow_missing: bool = setting(default=False)

    def faults(self) -> Iterator[Fault]:
        """Yield a pattern that is none."""
        yield from pattern_faults("regexp", (self.regexp,))


class Compression(StrEnum):
    """Encodings of a body that can be asked for and undone."""

    NONE = ""
    IDENTITY = "identity"
    GZIP = "gzip"
    DEFLATE = "deflate"


@frozen(kw_only=True)
class HttpProbe:
    """What an HTTP probe sends and expects."""

    valid_status_codes: tuple[int, ...] = setting(default=())
    valid_http_versions: tuple[str, ...] = setting(default=())
    method: str = setting(default="GET")
    headers: tuple[tuple[str, str], ...] = setting(default=())
    body: str = setting(default="")
    body_file: FilePath = setting(default=FilePath(""))
    body_size_limit: SizeBytes = setting(default=SizeBytes(0))
    compression: Compression = setting(default=Compression.NONE)
    no_follow_redirects: bool = setting(default=False)
    fail_if_ssl: bool = setting(default=False)
    fail_if_not_ssl: bool = setting(default=False)
    fail_if_body_matches_regexp: tuple[str, ...] = setting(default=())
    fail_if_body_not_matches_regexp: tuple[str, ...] = setting(default=())
    fail_if_header_matches: tuple[HeaderMatch, ...] = setting(default=())
    fail_if_header_not_matches: tuple[HeaderMatch, ...] = setting(default=())
    preferred_ip_protocol: IpProtocol = setting(default=IpProtocol.IP6)
    ip_protocol_fallback: bool = setting(default=True)
    fail_if_body_json_matches_cel: str = unsupported(default="")
    fail_if_body_json_not_matches_cel: str = unsupported(default="")
    skip_resolve_phase_with_proxy: bool = unsupported(default=False)
    client: HttpClientConfig = inline(HttpClientConfig)

    def faults(self) -> Iterator[Fault]:
        """Yield contradictions and patterns that are none."""
        yield from pattern_faults("fail_if_body_matches_regexp", self.fail_if_body_matches_regexp)
        yield from pattern_faults("fail_if_body_not_matches_regexp", self.fail_if_body_not_matches_regexp)
        if self.client.oauth2:
            yield Fault("oauth2 is not supported yet by this version", "oauth2")
        if self.client.proxy.proxy_url or self.client.proxy.proxy_from_environment:
            key = "proxy_url" if self.client.proxy.proxy_url else "proxy_from_environment"
            yield Fault(f"{key} is not supported yet by this version", key)
        if self.body and self.body_file:
            yield Fault("setting body and body_file both are not allowed", "body_file")
        for version in self.valid_http_versions:
            if version not in ("HTTP/1.0", "HTTP/1.1", "HTTP/2.0"):
                yield Fault(f"unknown HTTP version '{version}'", "valid_http_versions")


@frozen(kw_only=True)
class QueryResponse:
    """One step of a dialogue: wait for a line, send one, start TLS."""

    expect: str = setting(default="")
    send: str = setting(default="")
    starttls: bool = setting(default=False)
    labels: tuple[tuple[str, str], ...] = setting(default=())
    """Labels of `probe_expect_info`, whose values may take groups of `expect` as `${1}`."""

    def faults(self) -> Iterator[Fault]:
        """Yield a pattern that is none and labels that cannot be."""
        yield from pattern_faults("expect", (self.expect,))
        for name, _ in self.labels:
            if not is_legacy_label_name(name):
                yield Fault(f"invalid label name '{name}'", "labels")


@frozen(kw_only=True)
class TcpProbe:
    """What a TCP probe does with its connection."""

    preferred_ip_protocol: IpProtocol = setting(default=IpProtocol.IP6)
    ip_protocol_fallback: bool = setting(default=True)
    source_ip_address: str = setting(default="")
    query_response: tuple[QueryResponse, ...] = setting(default=())
    tls: bool = setting(default=False)
    tls_config: TlsConfig = setting(factory=TlsConfig)

    def faults(self) -> Iterator[Fault]:
        """Yield a source address that is none."""
        yield from source_faults(self.source_ip_address)


@frozen(kw_only=True)
class RecordRules:
    """Patterns for the records of one section of an answer."""

    fail_if_matches_regexp: tuple[str, ...] = setting(default=())
    fail_if_all_match_regexp: tuple[str, ...] = setting(default=())
    fail_if_not_matches_regexp: tuple[str, ...] = setting(default=())
    fail_if_none_matches_regexp: tuple[str, ...] = setting(default=())

    def faults(self) -> Iterator[Fault]:
        """Yield patterns that are none."""
        for key in (
            "fail_if_matches_regexp",
            "fail_if_all_match_regexp",
            "fail_if_not_matches_regexp",
            "fail_if_none_matches_regexp",
        ):
            yield from pattern_faults(key, getattr(self, key))


class Transport(StrEnum):
    """How a DNS query travels."""

    UDP = "udp"
    TCP = "tcp"


@frozen(kw_only=True)
class DnsProbe:
    """What a DNS probe asks and expects."""

    query_name: str = setting(default="")
    query_type: str = setting(default="ANY")
    query_class: str = setting(default="IN")
    recursion_desired: bool = setting(default=True)
    transport_protocol: Transport = setting(default=Transport.UDP)
    dns_over_tls: bool = setting(default=False)
    tls_config: TlsConfig = setting(factory=TlsConfig)
    preferred_ip_protocol: IpProtocol = setting(default=IpProtocol.IP6)
    ip_protocol_fallback: bool = setting(default=True)
    source_ip_address: str = setting(default="")
    valid_rcodes: tuple[str, ...] = setting(default=())
    validate_answer_rrs: RecordRules = setting(factory=RecordRules)
    validate_authority_rrs: RecordRules = setting(factory=RecordRules)
    validate_additional_rrs: RecordRules = setting(factory=RecordRules)

    def faults(self) -> Iterator[Fault]:
        """Yield names that DNS does not know."""
        for key, message in name_faults(self.query_name, self.query_type, self.query_class, self.valid_rcodes):
            yield Fault(message, key)
        if self.dns_over_tls and self.transport_protocol is not Transport.TCP:
            yield Fault("dns_over_tls needs transport_protocol tcp", "dns_over_tls")
        yield from source_faults(self.source_ip_address)


@frozen(kw_only=True)
class IcmpProbe:
    """How an echo request looks."""

    preferred_ip_protocol: IpProtocol = setting(default=IpProtocol.IP6)
    ip_protocol_fallback: bool = setting(default=True)
    source_ip_address: str = setting(default="")
    payload_size: int = setting(default=0, low=0, high=PAYLOAD_BYTES_MAX)
    dont_fragment: bool = setting(default=False)
    ttl: int = setting(default=0, low=0, high=255)

    def faults(self) -> Iterator[Fault]:
        """Yield a source address that is none."""
        yield from source_faults(self.source_ip_address)


@frozen(kw_only=True)
class Module:
    """A named way to probe; of the four parts the one of its prober counts."""

    prober: Prober = setting()
    timeout: DurationMs = setting(default=DurationMs(0), low=0)
    http: HttpProbe = setting(factory=HttpProbe)
    tcp: TcpProbe = setting(factory=TcpProbe)
    dns: DnsProbe = setting(factory=DnsProbe)
    icmp: IcmpProbe = setting(factory=IcmpProbe)

    def faults(self) -> Iterator[Fault]:
        """Yield what the prober lacks."""
        if self.prober is Prober.DNS and not self.dns.query_name:
            yield Fault("query name must be set for DNS module", "dns")


@frozen(kw_only=True)
class Targets:
    """Targets that are probed alike, one series set each with `job` and `instance`."""

    module: str = setting(default="http_2xx")
    job: str = setting(default="probe")
    targets: tuple[str, ...] = setting(default=())
    interval: DurationMs = setting(default=DurationMs(0), low=0)
    """0 for the section's."""
    timeout: DurationMs = setting(default=DurationMs(0), low=0)
    """0 for the module's, else the section's."""
    labels: tuple[tuple[str, str], ...] = setting(default=())

    def faults(self) -> Iterator[Fault]:
        """Yield labels that cannot be."""
        for name, _ in self.labels:
            if not is_legacy_label_name(name) or name.startswith("__"):
                yield Fault(f"invalid label name '{name}'", "labels")


@frozen(kw_only=True)
class ProbeSettings:
    """The section `probe`."""

    interval: DurationMs = setting(default=DurationMs(60_000), low=1)
    """Time between two probes of a target."""
    timeout: DurationMs = setting(default=DurationMs(10_000), low=1)
    """Longest time a probe may take, where neither targets nor module say."""
    concurrency_max: int = setting(default=100, low=1, high=CONCURRENCY_MAX)
    """Most probes at the same time: natively, and as many again for those asked for at `/probe`."""
    modules: tuple[tuple[str, Module], ...] = setting(default=())
    """Ways to probe by name; `http_2xx`, `tcp_connect` and `icmp` are there unless defined otherwise."""
    targets: tuple[Targets, ...] = setting(default=())
    """What is probed natively; nothing is needed here for scrape configs that ask `/probe`."""

    def faults(self) -> Iterator[Fault]:
        """Yield modules that are not there and times that do not fit."""
        known = self.all_modules()
        for i, group in enumerate(self.targets):
            if group.module not in known:
                yield Fault(f"unknown module '{group.module}'", f"targets[{i}].module")
            elif self.timeout_of(group) > self.interval_of(group):
                yield Fault("probe timeout greater than interval", f"targets[{i}]")

    def all_modules(self) -> dict[str, Module]:
        """Return the modules by name, the given ones before the standard ones."""
        return STANDARD_MODULES | dict(self.modules)

    def interval_of(self, group: Targets) -> DurationMs:
        """Return the interval of a group of targets."""
        return group.interval or self.interval

    def timeout_of(self, group: Targets) -> DurationMs:
        """Return the time that a probe of a group may take: by default not more than its interval."""
        named = group.timeout or self.all_modules()[group.module].timeout
        return named or DurationMs(min(self.timeout, self.interval_of(group)))


STANDARD_MODULES: Final = {
    "http_2xx": Module(prober=Prober.HTTP),
    "tcp_connect": Module(prober=Prober.TCP),
    "icmp": Module(prober=Prober.ICMP),
}
