"""`docker_sd_configs` and `dockerswarm_sd_configs`.  Format and messages: prometheus discovery/moby."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from attrs import frozen

from ..model.durations import DurationMs
from .fields import Fault, inline, setting
from .http_client import HttpClientConfig

DOCKER: Final = "docker_sd_configs"
SWARM: Final = "dockerswarm_sd_configs"
ROLES: Final = ("services", "nodes", "tasks")
_SCHEMES: Final = ("unix://", "tcp://", "http://", "https://")


@frozen(kw_only=True)
class DockerFilter:
    """A filter that the daemon applies: `label`, `name`, `network`, ..., and values of which one must fit."""

    name: str = setting(default="", always=True)
    values: tuple[str, ...] = setting(default=(), always=True)


@frozen(kw_only=True)
class DockerSdConfig:
    """The containers of one Docker daemon."""

    http: HttpClientConfig = inline(HttpClientConfig)
    host: str = setting(default="", always=True)
    """Where the daemon listens: `unix:///path`, `tcp://host:port`, `http(s)://host:port`."""
    port: int = setting(default=80, always=True)
    """The port of targets without a port of their own."""
    filters: tuple[DockerFilter, ...] = setting(default=(), always=True)
    host_networking_host: str = setting(default="localhost", always=True)
    """The address of containers that share the network of the host."""
    refresh_interval_ms: DurationMs = setting("refresh_interval", default=DurationMs(60_000), low=1000, always=True)
    match_first_network: bool = setting(default=True, always=True)
    """Of a container in several networks, take only the first by name."""

    def faults(self) -> Iterator[Fault]:
        """Yield what is wrong with the host."""
        yield from _host_faults(self.host)


@frozen(kw_only=True)
class DockerSwarmSdConfig:
    """The services, tasks or nodes of one swarm."""

    http: HttpClientConfig = inline(HttpClientConfig)
    host: str = setting(default="", always=True)
    role: str = setting(default="", always=True)
    port: int = setting(default=80, always=True)
    filters: tuple[DockerFilter, ...] = setting(default=(), always=True)
    refresh_interval_ms: DurationMs = setting("refresh_interval", default=DurationMs(60_000), low=1000, always=True)

    def faults(self) -> Iterator[Fault]:
        """Yield what is wrong with host and role."""
        yield from _host_faults(self.host)
        if not self.role:
            yield Fault("role missing (one of: tasks, services, nodes)", "role")
        elif self.role not in ROLES:
            yield Fault(f"invalid role {self.role}, expected tasks, services, or nodes", "role")


def _host_faults(host: str) -> Iterator[Fault]:
    if not host:
        yield Fault("host missing", "host")
    elif not host.startswith(_SCHEMES):
        yield Fault(f"host must begin with one of {', '.join(_SCHEMES)}", "host")
