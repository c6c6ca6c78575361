"""`consul_sd_configs`: services of a Consul catalog.  Format and messages: prometheus discovery/consul/consul.go."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import attrs
from attrs import frozen

from ..model.durations import DurationMs
from ..model.secrets import Secret
from .fields import Fault, inline, setting
from .http_client import BasicAuth, HttpClientConfig

CONSUL: Final = "consul_sd_configs"


@frozen(kw_only=True)
class ConsulSdConfig:
    """A Consul server, and which of its services are wanted; without any choice all are."""

    server: str = setting(default="localhost:8500")
    """`host:port`, or a URL with `http`, `https` or `unix`."""
    path_prefix: str = setting(default="")
    token: Secret = setting(default=Secret())
    datacenter: str = setting(default="")
    namespace: str = setting(default="")
    partition: str = setting(default="")
    tag_separator: str = setting(default=",")
    scheme: str = setting(default="http")
    username: str = setting(default="")
    password: Secret = setting(default=Secret())
    allow_stale: bool = setting(default=True, always=True)
    refresh_interval_ms: DurationMs = setting("refresh_interval", default=DurationMs(30_000), low=1000)
    """The least time between two questions for the same thing; each may wait for a change."""
    services: tuple[str, ...] = setting(default=())
    tags: tuple[str, ...] = setting(default=())
    """Tags that a service must have, all of them."""
    node_meta: tuple[tuple[str, str], ...] = setting(default=())
    filter: str = setting(default="")
    """An expression for the catalog: which services are there."""
    health_filter: str = setting(default="")
    """An expression for the health endpoint: which instances a service has."""
    http: HttpClientConfig = inline(HttpClientConfig)

    def faults(self) -> Iterator[Fault]:
        """Yield contradictions."""
        if not self.server.strip():
            yield Fault("consul SD configuration requires a server address", "server")
        if "://" in self.server and not self.server.startswith(("http://", "https://", "unix://")):
            yield Fault(f"Unknown protocol scheme: {self.server.partition('://')[0]}", "server")
        if (self.username or self.password) and self.http.basic_auth is not None:
            yield Fault(
                "at most one of consul SD configuration username and password and basic auth can be configured",
                "basic_auth",
            )
        if self.token and (self.http.authorization is not None or self.http.oauth2 is not None):
            yield Fault("at most one of consul SD token, authorization, or oauth2 can be configured", "token")

    def client(self) -> HttpClientConfig:
        """Return the settings of the client, with user name and password in their usual place."""
        if not (self.username or self.password):
            return self.http
        return attrs.evolve(self.http, basic_auth=BasicAuth(username=self.username, password=self.password))

    def address(self) -> str:
        """Return what paths of requests stand behind: scheme, server, prefix."""
        scheme, sep, server = self.server.strip().partition("://")
        if not sep:
            scheme, server = self.scheme, self.server.strip()
        elif scheme == "http" and self.scheme == "https":
            scheme = "https"
        if scheme == "unix":
            return f"unix://{server}"
        host, _, prefix = server.partition("/")
        prefix = self.path_prefix.strip("/") or prefix.strip("/")
        return f"{scheme}://{host}/{prefix}".rstrip("/")
