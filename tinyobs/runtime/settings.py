"""What the command line or an embedding program decides about an agent, beside its configuration file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from attrs import Factory, frozen

DEFAULT_LISTEN: Final = "127.0.0.1:9090"
DEFAULT_CONFIG_NAME: Final = "embedded default"
DEFAULT_CONFIG: Final = """\
# What TinyObs does without a configuration file: it collects its own and the host's metrics.
global:
  scrape_interval: 15s
tinyobs:
  self_metrics:
    enabled: true
"""
DEFAULT_HOST: Final = """\
  host:
    enabled: true
"""
"""Added to the default where the plugin `host` is there."""

DAY_MS: Final = 86_400_000
REMOTE_WRITE_MESSAGES: Final = ("prometheus.WriteRequest", "io.prometheus.write.v2.Request")
"""The protobuf messages of remote write 1.0 and 2.0, by their full names."""


@frozen(kw_only=True)
class AgentSettings:
    """The settings of one agent; the names in parentheses are the flags of `tinyobs run`."""

    config_file: Path | None = None
    """The configuration file (`--config.file`); None: the embedded default."""
    config_text: str = ""
    """What is read where there is no file; "": the embedded default."""
    auto_reload_seconds: float = 0.0
    """How often the file is looked at for changes (`--config.auto-reload`); 0: never."""
    agent: bool = False
    """Agent mode (`--agent`): a log and sinks, nothing to query."""
    agent_min_ms: int = 300_000
    """Age up to which agent mode keeps its log though all sinks have read it (`--storage.agent.retention.min-time`)."""
    agent_max_ms: int = 0
    """Age at which its log goes though some sink has not read it (`--storage.agent.retention.max-time`); 0: none."""
    storage_url: str = "file:data"
    """Where samples are kept (`--storage.tsdb.path`), or the log of agent mode (`--storage.agent.path`)."""
    retention_ms: int = 0
    """Age at which samples may go (`--storage.tsdb.retention.time`); 0: as configured, else 15 days."""
    retention_bytes: int = 0
    """Size above which the oldest samples go (`--storage.tsdb.retention.size`); 0: as configured."""
    listen: tuple[str, ...] = (DEFAULT_LISTEN,)
    """Addresses to listen on (`--web.listen-address`); none: no HTTP server."""
    web_config_file: Path | None = None
    """TLS and users (`--web.config.file`)."""
    external_url: str = ""
    """The URL under which users reach the daemon (`--web.external-url`)."""
    route_prefix: str = ""
    """The path below which everything is served (`--web.route-prefix`)."""
    page_title: str = "TinyObs"
    """Title of the pages (`--web.page-title`)."""
    cors_origin: str = ".*"
    """Origins that may read answers, a regular expression (`--web.cors.origin`)."""
    connections_max: int = 512
    """Open connections (`--web.max-connections`)."""
    notification_subscribers_max: int = 16
    """Listeners to live notifications at one time (`--web.max-notifications-subscribers`)."""
    read_seconds: float = 300.0
    """How long a connection may be idle or take to send a request (`--web.read-timeout`); 0: no limit."""
    lifecycle: bool = False
    """Allow reload and quit over HTTP (`--web.enable-lifecycle`)."""
    admin_api: bool = False
    """Allow deletes and snapshots over HTTP (`--web.enable-admin-api`)."""
    remote_write_receiver: bool = False
    """Accept remote write (`--web.enable-remote-write-receiver`)."""
    remote_write_messages: tuple[str, ...] = REMOTE_WRITE_MESSAGES
    """The messages that it accepts (`--web.remote-write-receiver.accepted-protobuf-messages`)."""
    otlp_receiver: bool = False
    """Accept OTLP metrics (`--web.enable-otlp-receiver`)."""
    features: frozenset[str] = frozenset()
    """Feature flags (`--enable-feature`)."""
    scrape_member: str = ""
    """Number of this agent among those that share the targets (`--scrape.cluster.member-number`), "" for the
    configuration's."""
    lookback_ms: int = 300_000
    """How far back an instant selector looks (`--query.lookback-delta`)."""
    query_seconds: float = 120.0
    """How long a query may take (`--query.timeout`)."""
    queries_max: int = 20
    """Queries at one time (`--query.max-concurrency`)."""
    query_samples_max: int = 50_000_000
    """Samples a query may load (`--query.max-samples`)."""
    search_limit_max: int = 10_000
    """Results that a search may ask for, 0 for no limit (`--web.search.max-limit`)."""
    read_samples_max: int = 50_000_000
    """Samples in an answer of remote read, 0 for no limit (`--storage.remote.read-sample-limit`)."""
    reads_max: int = 10
    """Remote reads at one time, 0 for no limit (`--storage.remote.read-concurrent-limit`)."""
    read_frame_bytes_max: int = 1 << 20
    """Bytes of a frame of streamed remote read (`--storage.remote.read-max-bytes-in-frame`)."""
    plugin_files: tuple[str, ...] = ()
    """Plugins given as files (`--plugin`)."""
    plugins_off: tuple[str, ...] = ()
    """Built-in plugins that are switched off (`--no-plugin`)."""
    flush_seconds: float = 60.0
    """How long sinks may go on at shutdown (`--storage.remote.flush-deadline`)."""
    drain_seconds: float = 10.0
    """How long requests in flight may go on at shutdown."""
    flags: Mapping[str, str] = Factory(dict)
    """All flags as given or defaulted, for `/api/v1/status/flags`."""
