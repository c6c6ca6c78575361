"""The top-level key `tinyobs`: what TinyObs has and Prometheus has not.  What is a flag there is a flag here.

Every field has its unit, default and limits here and in docs/configuration.md (a test compares the two).  A plugin's
section stands beside these, under the plugin's own name.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Any, ClassVar, Final

from attrs import frozen

from ..errors import QueryParseError
from ..model.durations import DurationMs
from ..model.sizes import SizeBytes
from ..promql.parser import parse_selector
from . import feature_flags
from .fields import Fault, group, setting
from .limit_settings import LimitSettings
from .limit_settings import RateSettings as RateSettings
from .scrape_cluster import ScrapeSettings

_SECOND: Final = 1000
_HOUR: Final = 3600 * _SECOND
_YEAR: Final = 366 * 24 * _HOUR
_KIB: Final = 1 << 10
_MIB: Final = 1 << 20
_TIB: Final = 1 << 40


def _duration(default_ms: int, *, name: str, low: int = 0, high: int = 1000 * _YEAR) -> Any:
    return setting(name, default=DurationMs(default_ms), low=low, high=high)


def _size(default_bytes: int, *, name: str, low: int = 0, high: int = _TIB) -> Any:
    return setting(name, default=SizeBytes(default_bytes), low=low, high=high)


class SyncMode(StrEnum):
    """When the log is made durable."""

    ALWAYS = "always"
    INTERVAL = "interval"
    NEVER = "never"


TIERS: Final = {"5m": 300 * _SECOND, "1h": _HOUR}
"""The downsampled tiers that there can be -> distance of their samples, in ms."""


@frozen(kw_only=True)
class SelectorRetentionSettings:
    """How long samples of some series are kept."""

    match: str = setting()
    """A series selector."""
    retention_ms: DurationMs = setting("retention", low=_HOUR, high=1000 * _YEAR)
    """Age at which their samples may go."""

    def faults(self) -> Iterator[Fault]:
        """Yield what is wrong with the selector."""
        try:
            matchers = parse_selector(self.match)
        except QueryParseError as e:
            yield Fault(f"{self.match!r} is not a series selector: {e}", "match")
            return
        if all(m.matches_empty() for m in matchers):
            yield Fault("the selector must contain at least one matcher that does not match the empty string", "match")


@frozen(kw_only=True)
class StorageSettings:
    """The local storage, beside `storage.tsdb` which holds the retention."""

    out_of_order_window_ms: DurationMs = _duration(_HOUR, name="out_of_order_window")
    """How much older than the newest sample of its series a sample may be; default 1h, 0s refuses all."""
    last_write_wins: bool = setting(default=False)
    """Whether another value for a stored series and time replaces it; default false, it is refused."""
    future_ms: DurationMs = _duration(600 * _SECOND, name="future")
    """How far ahead of the clock a sample may be; default 10m."""
    sync: SyncMode = setting(default=SyncMode.ALWAYS)
    """When the log is fsynced: before every acknowledgement (`always`), each `sync_interval`, or `never`."""
    sync_interval_ms: DurationMs = _duration(_SECOND, name="sync_interval", low=1, high=_HOUR)
    """Longest time without fsync where `sync` is `interval`; default 1s."""
    wal_file_size_bytes: SizeBytes = _size(32 * _MIB, name="wal_file_size", low=_MIB, high=1024 * _MIB)
    """Size at which a log file is followed by the next; default 32MiB."""
    log_size_bytes: SizeBytes = _size(8 << 30, name="log_size")
    """Bytes of log files kept only because a sink has not read them; default 8GiB."""
    log_age_ms: DurationMs = _duration(0, name="log_age")
    """Age at which such files go; default 0s, no limit."""
    log_keep_ms: DurationMs = _duration(0, name="log_keep")
    """Age up to which log files are kept though no sink needs them; default 0s."""
    block_range_ms: DurationMs = _duration(2 * _HOUR, name="block_range", low=60 * _SECOND, high=24 * _HOUR)
    """Time range of a fresh segment; default 2h."""
    head_size_bytes: SizeBytes = _size(256 * _MIB, name="head_size", low=_MIB)
    """Compressed samples held in memory before they are cut into segments early; default 256MiB."""
    page_cache_size_bytes: SizeBytes = _size(128 * _MIB, name="page_cache_size")
    """Decoded pages kept for queries; default 128MiB."""
    tiers: tuple[tuple[str, DurationMs], ...] = setting(default=())
    """Downsampled tiers, `5m` and `1h`, and the age at which their samples may go; default none."""
    retention_by_selector: tuple[SelectorRetentionSettings, ...] = setting(default=())
    """Shorter ages for some series (`match`, `retention`); of several that fit the shortest holds."""

    def faults(self) -> Iterator[Fault]:
        """Yield what is wrong with tiers."""
        for tier, retention_ms in self.tiers:
            if tier not in TIERS:
                yield Fault(f"there is no tier {tier!r}, only {' and '.join(TIERS)}", "tiers")
            elif not _HOUR <= retention_ms <= 1000 * _YEAR:
                yield Fault(f"the retention of tier {tier} must be between 1h and 1000y", "tiers")


@frozen(kw_only=True)
class IngestSettings:
    """The queue between the sources and the storage."""

    samples_queued_max: int = setting(default=2_000_000, low=1000, high=1_000_000_000)
    """Samples that may wait for the disk; beyond that, pushes are answered 503 and scrapes skipped; default
    2000000."""
    samples_per_commit_max: int = setting(default=500_000, low=1000, high=100_000_000)
    """Samples that share one fsync; default 500000."""


@frozen(kw_only=True)
class QuerySettings:
    """Limits of queries, beside those that are flags (`--query.*`).  0 means no limit where nothing else is said."""

    series_max: int = setting(default=0, low=0, high=1 << 31)
    """Series that a query may touch; default 0."""
    points_max: int = setting(default=0, low=0, high=1 << 40)
    """Points that an answer may have; default 0."""
    memory_max_bytes: SizeBytes = _size(1024 * _MIB, name="memory_max")
    """Estimated memory that a query may hold; default 1GiB."""
    memory_total_max_bytes: SizeBytes = _size(2048 * _MIB, name="memory_total_max")
    """Estimated memory that all running queries together may hold; default 2GiB."""
    answer_max_bytes: SizeBytes = _size(0, name="answer_max")
    """Size of an answer before compression; default 0B."""
    answer_timeout_ms: DurationMs = _duration(300 * _SECOND, name="answer_timeout", low=_SECOND, high=24 * _HOUR)
    """How long a client may take to receive a large answer; default 5m."""
    queue_max: int = setting(default=200, low=0, high=100_000)
    """Queries that may wait while `--query.max-concurrency` others are under way, 0 for none; default 200."""
    queue_timeout_ms: DurationMs = _duration(0, name="queue_timeout", high=24 * _HOUR)
    """How long a query may wait; default 0s, as long as the query may take."""
    threads: int = setting(default=0, low=0, high=1000)
    """Queries that compute at one time, in turns; default 0, one less than there are processors."""
    result_cache_size_bytes: SizeBytes = _size(32 * _MIB, name="result_cache_size")
    """Memory for results of range queries, of which only new steps are evaluated again; default 32MiB, 0B keeps none."""
    slow_ms: DurationMs = _duration(10 * _SECOND, name="slow", high=24 * _HOUR)
    """A query that takes longer is logged as a warning; default 10s, 0s logs none."""


@frozen(kw_only=True)
class WebSettings:
    """Bounds of the HTTP server, beside those that are flags (`--web.*`)."""

    requests_max: int = setting(default=256, low=1, high=100_000)
    """Requests in work; more are answered 503; default 256."""
    body_size_max_bytes: SizeBytes = _size(32 * _MIB, name="body_size_max", low=_KIB, high=4096 * _MIB)
    """Longest request body as sent; default 32MiB."""
    body_timeout_ms: DurationMs = _duration(30 * _SECOND, name="body_timeout", low=1, high=24 * _HOUR)
    """How long a client may take to send a body; default 30s."""
    bodies_size_max_bytes: SizeBytes = _size(256 * _MIB, name="bodies_size_max", low=_MIB)
    """Bodies of all requests together, as sent and as unpacked; what does not fit is answered 503; default 256MiB."""
    compress_size_min_bytes: SizeBytes = _size(_KIB, name="compress_size_min")
    """Answers smaller than this are not compressed; default 1KiB."""
    websockets_max: int = setting(default=128, low=0, high=100_000)
    """WebSockets open at one time; more are answered 503; default 128."""
    websocket_message_size_max_bytes: SizeBytes = _size(_MIB, name="websocket_message_size_max", high=1024 * _MIB)
    """Longest message that a client may send over a WebSocket; default 1MiB."""


@frozen(kw_only=True)
class RelabelSettings:
    """Relabelling, at all stages."""

    extended: bool = setting(default=False)
    """Whether rules may use what VictoriaMetrics has besides Prometheus (`if`, more actions); default false."""


@frozen(kw_only=True)
class ReceiverSettings:
    """What holds for everything that accepts pushes; each protocol has a section of its own beside this one."""

    enabled: bool = setting(default=True)
    """Whether pushes over HTTP are accepted, beside remote write and OTLP, which have flags; default true."""
    cross_site: bool = setting(default=False)
    """Whether browsers may push from pages of other sites; default false."""
    decoded_size_max_bytes: SizeBytes = _size(32 * _MIB, name="decoded_size_max", low=_KIB, high=4096 * _MIB)
    """Longest request body after decompression; default 32MiB."""
    line_size_max_bytes: SizeBytes = _size(64 * _KIB, name="line_size_max", low=_KIB, high=64 * _MIB)
    """Longest line of a protocol of lines; default 64KiB."""
    connections_max: int = setting(default=512, low=1, high=100_000)
    """Open connections of one protocol of lines; more are closed at once; default 512."""
    idle_timeout_ms: DurationMs = _duration(300 * _SECOND, name="idle_timeout", low=_SECOND, high=24 * _HOUR)
    """How long such a connection may be silent; default 5m."""
    receive_buffer_size_bytes: SizeBytes = _size(16 * _MIB, name="receive_buffer_size", low=_KIB, high=1024 * _MIB)
    """What is asked of the kernel as buffer for datagrams; default 16MiB."""


@frozen(kw_only=True)
class SelfMetricsSettings:
    """The agent's own metrics, stored like any other."""

    enabled: bool = setting(default=False)
    """Whether they are stored; `/metrics` shows them in any case."""
    interval_ms: DurationMs = _duration(15 * _SECOND, name="interval", low=_SECOND, high=24 * _HOUR)
    """How often; default 15s."""
    job: str = setting(default="tinyobs")
    """Their `job` label."""


@frozen(kw_only=True)
class Settings:
    """The section `tinyobs`."""

    UNKNOWN_KEY_HINT: ClassVar[str] = " (the plugin that owns a section of this name may be missing)"

    expand_env: bool = setting(default=False)
    """Whether `${NAME}` in values of this file stands for an environment variable; default false."""
    features: tuple[str, ...] = setting(default=())
    """Features to switch on, beside those of `--enable-feature`; default none."""
    storage: StorageSettings = setting(factory=StorageSettings)
    ingest: IngestSettings = setting(factory=IngestSettings)
    query: QuerySettings = setting(factory=QuerySettings)
    web: WebSettings = setting(factory=WebSettings)
    relabel: RelabelSettings = setting(factory=RelabelSettings)
    scrape: ScrapeSettings = setting(factory=ScrapeSettings)
    receivers: ReceiverSettings = setting(factory=ReceiverSettings)
    limits: LimitSettings = setting(factory=LimitSettings)
    self_metrics: SelfMetricsSettings = setting(factory=SelfMetricsSettings)
    sections: tuple[tuple[str, Any], ...] = group("sections")
    """Sections of plugins, name and value; every registered one is there, with its defaults if need be."""

    def faults(self) -> Iterator[Fault]:
        """Yield what is wrong with features."""
        yield from (Fault(reason, "features") for name in self.features if (reason := feature_flags.refusal(name)))

    def section(self, name: str) -> Any:
        """Return a plugin's section; `KeyError` when no plugin registered it."""
        for known, section in self.sections:  # asked for with every push: a dictionary of them all would cost more
            if known == name:
                return section
        raise KeyError(name)
