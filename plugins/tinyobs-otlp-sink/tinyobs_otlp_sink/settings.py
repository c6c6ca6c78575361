"""The section `tinyobs.otlp_sinks`: a list of receivers."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Any, Final

from attrs import frozen
from tinyobs.config.fields import Fault, Url, inline, setting
from tinyobs.config.http_client import HttpClientConfig
from tinyobs.model.durations import DurationMs
from tinyobs.sinks.settings import SinkSettings

SECTION: Final = "otlp_sinks"


class Compression(StrEnum):
    """How requests are compressed."""

    GZIP = "gzip"
    NONE = "none"


@frozen(kw_only=True)
class OtlpSinkSettings(SinkSettings):
    """One receiver of OTLP; the keys of an HTTP client stand among its own."""

    url: Url = setting()
    """The whole URL, as in http://collector:4318/v1/metrics."""
    timeout_ms: DurationMs = setting("timeout", default=DurationMs(10_000), low=1, high=600_000)
    """For one request with its answer; default 10s."""
    compression: Compression = setting(default=Compression.GZIP)
    """`gzip` or `none`; default gzip."""
    max_points_per_send: int = setting(default=8192, low=1, high=1_000_000)
    """Most data points of one request; default 8192."""
    resource_attributes: tuple[tuple[str, str], ...] = setting(default=())
    """Attributes that every resource gets where it has none of that name."""
    client: HttpClientConfig = inline(HttpClientConfig)

    def faults(self) -> Iterator[Fault]:
        """Yield what is wrong."""
        yield from super().faults()
        if "" in dict(self.resource_attributes):
            yield Fault("an attribute needs a name", "resource_attributes")


SCHEMA: Final[Any] = tuple[OtlpSinkSettings, ...]
"""The type of the section; called, it gives the default, no receiver."""
