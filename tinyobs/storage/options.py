"""The settings of the storage engine, each with its unit, default and limit."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

from attrs import field, frozen, validators

from ..model.matchers import Matcher

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS
MIB: Final = 1 << 20


class SyncMode(StrEnum):
    """When the log is made durable; docs/format/durability.md says what each may lose."""

    ALWAYS = "always"
    INTERVAL = "interval"
    NEVER = "never"


def _between(low: int, high: int) -> Any:
    return [validators.instance_of(int), validators.ge(low), validators.le(high)]


@frozen
class SelectorRetention:
    """The age in ms at which samples of series that fulfil all matchers may go; at least an hour."""

    matchers: tuple[Matcher, ...]
    retention_ms: int = field(validator=_between(HOUR_MS, 1000 * 366 * DAY_MS))


@frozen
class EngineOptions:
    """How the engine stores; raises `ValueError` for a value beyond its limit."""

    retention_ms: int = field(default=15 * DAY_MS, validator=_between(HOUR_MS, 1000 * 366 * DAY_MS))
    """Age at which samples may go, in ms; default 15 days, at least an hour, at most 1000 years."""

    retention_bytes: int = field(default=0, validator=_between(0, 1 << 60))
    """Size of segments and log above which the oldest segments go, in bytes; default 0, no limit."""

    retention_percent: float = field(default=0.0, validator=[validators.ge(0), validators.le(100)])
    """The same as a share of the file system's size, in percent; default 0, no limit.  The smaller of both holds."""

    tiers: tuple[tuple[int, int], ...] = ()
    """Downsampled tiers: (distance of samples, age at which they may go), both in ms; default none."""

    retention_by_selector: tuple[SelectorRetention, ...] = ()
    """Shorter ages for some series, in raw segments and tiers alike; of several that fit the shortest holds."""

    out_of_order_window_ms: int = field(default=HOUR_MS, validator=_between(0, 1000 * 366 * DAY_MS))
    """How much older than the newest sample of its series a sample may be, in ms; default 1 h, 0 refuses all."""

    future_ms: int = field(default=10 * 60_000, validator=_between(0, 1000 * 366 * DAY_MS))
    """How far ahead of the clock a sample may be, in ms; default 10 min."""

    last_write_wins: bool = False
    """Whether another value for a stored series and time replaces it; default no, it is refused."""

    sync: SyncMode = SyncMode.ALWAYS
    """When the log is fsynced; default before every acknowledgement."""

    sync_interval_ms: int = field(default=1000, validator=_between(1, HOUR_MS))
    """Longest time without fsync where `sync` is `interval`, in ms; default 1 s."""

    wal_file_bytes_max: int = field(default=32 * MIB, validator=_between(4096, 1024 * MIB))
    """Size at which a log file is followed by the next, in bytes; default 32 MiB."""

    log_bytes_max: int = field(default=8 << 30, validator=_between(0, 1 << 60))
    """Bytes of log files kept only for cursors, beyond which the oldest go; default 8 GiB."""

    log_age_ms: int = field(default=0, validator=_between(0, 1000 * 366 * DAY_MS))
    """Age at which files kept only for cursors go, in ms; default 0, no limit."""

    log_keep_ms: int = field(default=0, validator=_between(0, 1000 * 366 * DAY_MS))
    """Age up to which log files are kept though no cursor needs them, in ms; default 0."""

    block_ms: int = field(default=2 * HOUR_MS, validator=_between(60_000, DAY_MS))
    """Time range of a fresh segment, in ms; default 2 h."""

    head_bytes_max: int = field(default=256 * MIB, validator=_between(MIB, 1 << 40))
    """Compressed samples held in memory before they are cut into segments early, in bytes; default 256 MiB."""

    slice_samples_max: int = field(default=1_000_000, validator=_between(1000, 100_000_000))
    """Samples that one slice of background work may handle; default 1 million (about 0.2 s, 100 MB)."""

    page_cache_bytes_max: int = field(default=128 * MIB, validator=_between(0, 1 << 40))
    """Decoded pages kept for queries, in bytes; default 128 MiB."""

    exemplars_max: int = field(default=100_000, validator=_between(0, 10_000_000))
    """Exemplars kept, of all series together; default 100 000 (at most 50 MB), 0 keeps none."""

    @property
    def segment_ms_max(self) -> int:
        """Widest time range that compaction makes: a tenth of the retention, at most 31 days, at least a block."""
        return max(self.block_ms, min(self.retention_ms // 10, 31 * DAY_MS))

    def retention_of(self, tier_ms: int) -> int:
        """Return the age in ms at which samples of a tier (0: raw) may go; that of raw for a tier no longer made."""
        return dict(self.tiers).get(tier_ms, self.retention_ms)


DEFAULT_OPTIONS: Final = EngineOptions()
