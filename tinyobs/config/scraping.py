"""The sections `global` and `scrape_configs`: what is scraped, how often, and within which limits.

Format, defaults and messages: prometheus config/config.go.  What a scrape config takes over from `global` is decided
in `inheritance.py`; before that, 0, "" and None stand for "not set".
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Any, Final

import attrs
from attrs import frozen

from ..model.durations import DurationMs
from ..model.labels import is_legacy_label_name
from ..model.sizes import SizeBytes
from ..relabel import Rule
from .discovery import url_faults
from .fields import Fault, FilePath, group, inline, setting
from .http_client import HttpClientConfig, Scheme

SCRAPE_INTERVAL_MS: Final = 60_000
SCRAPE_TIMEOUT_MS: Final = 10_000
EVALUATION_INTERVAL_MS: Final = 60_000
GOGC: Final = 75


class ScrapeProtocol(StrEnum):
    """Exposition formats, as they are named in configuration files."""

    PROMETHEUS_PROTO = "PrometheusProto"
    PROMETHEUS_TEXT_0_0_4 = "PrometheusText0.0.4"
    PROMETHEUS_TEXT_1_0_0 = "PrometheusText1.0.0"
    OPENMETRICS_TEXT_0_0_1 = "OpenMetricsText0.0.1"
    OPENMETRICS_TEXT_1_0_0 = "OpenMetricsText1.0.0"

    @classmethod
    def refusal(cls, text: str) -> str:
        """Return the message for a protocol that there is not."""
        return f"unknown scrape protocol {text}, supported: [{' '.join(sorted(cls))}]"


DEFAULT_SCRAPE_PROTOCOLS: Final = (
    ScrapeProtocol.OPENMETRICS_TEXT_1_0_0,
    ScrapeProtocol.OPENMETRICS_TEXT_0_0_1,
    ScrapeProtocol.PROMETHEUS_TEXT_1_0_0,
    ScrapeProtocol.PROMETHEUS_TEXT_0_0_4,
)
"""Offered to targets, most wanted first."""
PROTOBUF_FIRST_SCRAPE_PROTOCOLS: Final = (ScrapeProtocol.PROMETHEUS_PROTO, *DEFAULT_SCRAPE_PROTOCOLS)
"""The same where native histograms are scraped: the text formats have none."""


class ValidationScheme(StrEnum):
    """Which names of metrics and labels are valid; `UNSET` means inherited."""

    UNSET = ""
    LEGACY = "legacy"
    UTF8 = "utf8"

    @classmethod
    def refusal(cls, text: str) -> str:
        """Return the message for a scheme that there is not."""
        return f"unknown name validation method specified, must be either '', 'legacy' or 'utf8', got {text}"


class EscapingScheme(StrEnum):
    """How targets are asked to write names beyond the legacy ones; `UNSET` means inherited."""

    UNSET = ""
    ALLOW_UTF8 = "allow-utf-8"
    UNDERSCORES = "underscores"
    DOTS = "dots"
    VALUES = "values"

    @classmethod
    def refusal(cls, text: str) -> str:
        """Return the message for a scheme that there is not."""
        choices = "'allow-utf-8', 'underscores', 'dots', or 'values'"
        return f'unknown name escaping method specified, must be one of {choices}, got "{text}"'


def protocol_faults(protocols: tuple[ScrapeProtocol, ...] | None, where: str) -> Iterator[Fault]:
    """Yield what is wrong with a list of protocols that was given."""
    if protocols is None:
        return
    if not protocols:
        yield Fault(f"scrape_protocols cannot be empty for {where}", "scrape_protocols")
    if len(set(protocols)) < len(protocols):
        shown = " ".join(protocols)
        yield Fault(f"duplicated protocol in scrape_protocols, got [{shown}] for {where}", "scrape_protocols")


@frozen(kw_only=True)
class GlobalConfig:
    """Defaults for all scrape configs and rules, and the labels that mark this server outside."""

    scrape_interval_ms: DurationMs = setting("scrape_interval", default=DurationMs(0))
    scrape_timeout_ms: DurationMs = setting("scrape_timeout", default=DurationMs(0))
    scrape_protocols: tuple[ScrapeProtocol, ...] | None = setting(default=None)
    evaluation_interval_ms: DurationMs = setting("evaluation_interval", default=DurationMs(0))
    rule_query_offset_ms: DurationMs = setting("rule_query_offset", default=DurationMs(0))
    query_log_file: FilePath = setting(default=FilePath(""))
    scrape_failure_log_file: FilePath = setting(default=FilePath(""))
    external_labels: tuple[tuple[str, str], ...] = setting(default=())
    body_size_limit_bytes: SizeBytes = setting("body_size_limit", default=SizeBytes(0), low=0)
    sample_limit: int = setting(default=0, low=0)
    target_limit: int = setting(default=0, low=0)
    label_limit: int = setting(default=0, low=0)
    label_name_length_limit: int = setting(default=0, low=0)
    label_value_length_limit: int = setting(default=0, low=0)
    keep_dropped_targets: int = setting(default=0, low=0)
    metric_name_validation_scheme: ValidationScheme = setting(default=ValidationScheme.UNSET)
    metric_name_escaping_scheme: EscapingScheme = setting(default=EscapingScheme.UNSET)
    scrape_native_histograms: bool = setting(default=False, always=True)
    convert_classic_histograms_to_nhcb: bool = setting(default=False)
    always_scrape_classic_histograms: bool = setting(default=False)
    extra_scrape_metrics: bool = setting(default=False)

    def faults(self) -> Iterator[Fault]:
        """Yield contradictions."""
        yield from protocol_faults(self.scrape_protocols, "global config")
        if self.scrape_timeout_ms > (self.scrape_interval_ms or SCRAPE_INTERVAL_MS):
            yield Fault("global scrape timeout greater than scrape interval", "scrape_timeout")
        legacy = self.metric_name_validation_scheme is ValidationScheme.LEGACY
        for name, _ in self.external_labels:
            if not name or (legacy and not is_legacy_label_name(name)):
                yield Fault(f'"{name}" is not a valid label name', f"external_labels.{name}")

    def normalized(self) -> GlobalConfig:
        """Return it with upstream's defaults for what is not set."""
        interval = self.scrape_interval_ms or DurationMs(SCRAPE_INTERVAL_MS)
        return attrs.evolve(
            self,
            scrape_interval_ms=interval,
            scrape_timeout_ms=self.scrape_timeout_ms or DurationMs(min(SCRAPE_TIMEOUT_MS, interval)),
            evaluation_interval_ms=self.evaluation_interval_ms or DurationMs(EVALUATION_INTERVAL_MS),
            metric_name_validation_scheme=self.metric_name_validation_scheme or ValidationScheme.UTF8,
        )


@frozen(kw_only=True)
class RuntimeConfig:
    """Tuning of the Go runtime; accepted for the sake of existing files, without effect here."""

    gogc: int = setting(default=GOGC)


@frozen(kw_only=True)
class ScrapeConfig:
    """One scrape pool.  Limits: 0 means none; a limit that is exceeded fails the scrape."""

    job_name: str = setting(default="", always=True)
    honor_labels: bool = setting(default=False)
    honor_timestamps: bool = setting(default=True, always=True)
    track_timestamps_staleness: bool = setting(default=False, always=True)
    params: tuple[tuple[str, tuple[str, ...]], ...] = setting(default=())
    scrape_interval_ms: DurationMs = setting("scrape_interval", default=DurationMs(0))
    scrape_timeout_ms: DurationMs = setting("scrape_timeout", default=DurationMs(0))
    scrape_protocols: tuple[ScrapeProtocol, ...] | None = setting(default=None)
    fallback_scrape_protocol: ScrapeProtocol | None = setting(default=None)
    scrape_native_histograms: bool | None = setting(default=None, always=True)
    always_scrape_classic_histograms: bool | None = setting(default=None, always=True)
    convert_classic_histograms_to_nhcb: bool | None = setting(default=None, always=True)
    scrape_failure_log_file: FilePath = setting(default=FilePath(""))
    metrics_path: str = setting(default="/metrics")
    scheme: Scheme = setting(default=Scheme.HTTP)
    enable_compression: bool = setting(default=True, always=True)
    body_size_limit_bytes: SizeBytes = setting("body_size_limit", default=SizeBytes(0), low=0)
    sample_limit: int = setting(default=0, low=0)
    target_limit: int = setting(default=0, low=0)
    label_limit: int = setting(default=0, low=0)
    label_name_length_limit: int = setting(default=0, low=0)
    label_value_length_limit: int = setting(default=0, low=0)
    native_histogram_bucket_limit: int = setting(default=0, low=0)
    native_histogram_min_bucket_factor: float = setting(default=0.0, low=0)
    keep_dropped_targets: int = setting(default=0, low=0)
    metric_name_validation_scheme: ValidationScheme = setting(default=ValidationScheme.UNSET)
    metric_name_escaping_scheme: EscapingScheme = setting(default=EscapingScheme.UNSET)
    extra_scrape_metrics: bool | None = setting(default=None, always=True)
    http: HttpClientConfig = inline(HttpClientConfig)
    relabel_configs: tuple[Rule, ...] = setting(
        default=(), null_item="empty or null target relabeling rule in scrape config"
    )
    metric_relabel_configs: tuple[Rule, ...] = setting(
        default=(), null_item="empty or null metric relabeling rule in scrape config"
    )
    discovery: tuple[tuple[str, Any], ...] = group("discovery")
    """Key of the kind -> its entries, in order of the kinds."""

    def faults(self) -> Iterator[Fault]:
        """Yield what is wrong with it on its own."""
        if not self.job_name:
            yield Fault("job_name is empty", "job_name")
        yield from protocol_faults(self.scrape_protocols, f'scrape config with job name "{self.job_name}"')
        if not self.relabel_configs:
            yield from url_faults(self.discovery)


@frozen(kw_only=True)
class ScrapeConfigFile:
    """What a file named in `scrape_config_files` holds."""

    scrape_configs: tuple[ScrapeConfig, ...] = setting(default=(), null_item="empty or null scrape config section")
