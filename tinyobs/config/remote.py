"""The sections `remote_write` and `remote_read`: other servers that samples go to or come from.

Format, defaults and messages: prometheus config/config.go.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Final

from attrs import frozen

from ..model.durations import DurationMs
from ..relabel import Rule
from .cloud_auth import AzureAdConfig, GoogleIamConfig, SigV4Config
from .fields import Fault, Url, inline, setting
from .http_client import HttpClientConfig

_RESERVED_HEADERS: Final = frozenset(
    """host content-encoding content-length content-type user-agent connection keep-alive proxy-authenticate
    proxy-authorization www-authenticate accept-encoding x-prometheus-remote-write-version
    x-prometheus-remote-read-version x-amz-date x-amz-security-token x-amz-content-sha256""".split()
)


def header_faults(headers: tuple[tuple[str, str], ...], authorization: str) -> Iterator[Fault]:
    """Yield headers that may not be set; `authorization` is what is said of that one."""
    for name, _ in headers:
        if name.lower() == "authorization":
            yield Fault(authorization, f"headers.{name}")
        elif name.lower() in _RESERVED_HEADERS:
            yield Fault(f"{name} is a reserved header. It must not be changed", f"headers.{name}")


_AUTHORIZATION: Final = (
    "authorization header must be changed via the basic_auth, authorization, oauth2, sigv4, azuread or google_iam "
    "parameter"
)


class WriteMessage(StrEnum):
    """The protobuf message of remote write 1 or 2."""

    V1 = "prometheus.WriteRequest"
    V2 = "io.prometheus.write.v2.Request"

    @classmethod
    def refusal(cls, text: str) -> str:
        """Return the message for a name that there is not."""
        return (
            f"invalid protobuf_message value: unknown type for remote write protobuf message {text}, "
            "supported: prometheus.WriteRequest, io.prometheus.write.v2.Request"
        )


@frozen(kw_only=True)
class QueueConfig:
    """The queue in front of a remote-write endpoint: samples, shards, waiting times in ms."""

    capacity: int = setting(default=10_000, low=1)
    max_shards: int = setting(default=50, low=1)
    min_shards: int = setting(default=1, low=1)
    max_samples_per_send: int = setting(default=2000, low=1)
    batch_send_deadline_ms: DurationMs = setting("batch_send_deadline", default=DurationMs(5000))
    min_backoff_ms: DurationMs = setting("min_backoff", default=DurationMs(30))
    max_backoff_ms: DurationMs = setting("max_backoff", default=DurationMs(5000))
    retry_on_http_429: bool = setting(default=False)
    sample_age_limit_ms: DurationMs = setting("sample_age_limit", default=DurationMs(0))


@frozen(kw_only=True)
class MetadataConfig:
    """Whether and how often metadata is sent."""

    send: bool = setting(default=True, always=True)
    send_interval_ms: DurationMs = setting("send_interval", default=DurationMs(60_000), always=True)
    max_samples_per_send: int = setting(default=2000, low=1)


@frozen(kw_only=True)
class RemoteWriteHttpClient(HttpClientConfig):
    """As elsewhere, but HTTP/2 is off unless asked for."""

    enable_http2: bool = setting(default=False, always=True)


@frozen(kw_only=True)
class RemoteWriteConfig:
    """One endpoint that all samples are sent to."""

    url: Url = setting(default=Url(""), always=True)
    remote_timeout_ms: DurationMs = setting("remote_timeout", default=DurationMs(30_000))
    headers: tuple[tuple[str, str], ...] = setting(default=())
    write_relabel_configs: tuple[Rule, ...] = setting(
        default=(), null_item="empty or null relabeling rule in remote write config"
    )
    name: str = setting(default="")
    send_exemplars: bool = setting(default=False)
    send_native_histograms: bool = setting(default=False)
    round_robin_dns: bool = setting(default=False)
    protobuf_message: WriteMessage = setting(default=WriteMessage.V1)
    http: RemoteWriteHttpClient = inline(RemoteWriteHttpClient)
    queue_config: QueueConfig = setting(factory=QueueConfig)
    metadata_config: MetadataConfig = setting(factory=MetadataConfig)
    sigv4: SigV4Config | None = setting(default=None)
    azuread: AzureAdConfig | None = setting(default=None)
    google_iam: GoogleIamConfig | None = setting(default=None)

    def faults(self) -> Iterator[Fault]:
        """Yield what is missing or not allowed."""
        if not self.url:
            yield Fault("url for remote_write is empty", "url")
        yield from header_faults(self.headers, _AUTHORIZATION)
        ways = {name: getattr(self.http, name) for name in ("basic_auth", "authorization", "oauth2")}
        ways |= {"sigv4": self.sigv4, "azuread": self.azuread, "google_iam": self.google_iam}
        given = [name for name, way in ways.items() if way is not None]
        if len(given) > 1:
            yield Fault(
                "at most one of basic_auth, authorization, oauth2, sigv4, azuread or google_iam must be configured. "
                f"Currently configured: [{' '.join(given)}]",
                given[-1],
            )


@frozen(kw_only=True)
class RemoteReadConfig:
    """One endpoint that samples are read from."""

    url: Url = setting(default=Url(""), always=True)
    remote_timeout_ms: DurationMs = setting("remote_timeout", default=DurationMs(60_000))
    chunked_read_limit: int = setting(default=50_000_000, low=0)
    """Largest frame accepted, in bytes."""
    headers: tuple[tuple[str, str], ...] = setting(default=())
    read_recent: bool = setting(default=False)
    name: str = setting(default="")
    http: HttpClientConfig = inline(HttpClientConfig)
    required_matchers: tuple[tuple[str, str], ...] = setting(default=())
    filter_external_labels: bool = setting(default=True)

    def faults(self) -> Iterator[Fault]:
        """Yield what is missing or not allowed."""
        if not self.url:
            yield Fault("url for remote_read is empty", "url")
        yield from header_faults(self.headers, _AUTHORIZATION)
