"""`nomad_sd_configs`: services that Nomad knows itself.  Format and messages: prometheus discovery/nomad/nomad.go."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from attrs import frozen

from ..model.durations import DurationMs
from .fields import Fault, inline, setting
from .http_client import HttpClientConfig

NOMAD: Final = "nomad_sd_configs"


@frozen(kw_only=True)
class NomadSdConfig:
    """A Nomad server."""

    allow_stale: bool = setting(default=True, always=True)
    http: HttpClientConfig = inline(HttpClientConfig)
    namespace: str = setting(default="default", always=True)
    refresh_interval_ms: DurationMs = setting("refresh_interval", default=DurationMs(60_000), low=1000, always=True)
    region: str = setting(default="global", always=True)
    server: str = setting(default="http://localhost:4646", always=True)
    """A URL with `http`, `https` or `unix`."""
    tag_separator: str = setting(default=",")

    def faults(self) -> Iterator[Fault]:
        """Yield what is wrong with the server."""
        if not self.server.strip():
            yield Fault("nomad SD configuration requires a server address", "server")
        elif not self.server.strip().startswith(("http://", "https://", "unix://")):
            yield Fault("server must begin with http://, https:// or unix://", "server")
