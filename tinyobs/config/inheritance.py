"""What a scrape config takes over from `global`, and what is wrong with the two together.

Rules and messages: `ScrapeConfig.Validate` in prometheus config/config.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import attrs

from ..model.durations import DurationMs
from ..relabel import Rule
from .fields import Fault
from .scraping import (
    DEFAULT_SCRAPE_PROTOCOLS,
    PROTOBUF_FIRST_SCRAPE_PROTOCOLS,
    EscapingScheme,
    GlobalConfig,
    ScrapeConfig,
    ValidationScheme,
)

_TAKEN_WHEN_ZERO: Final = (
    "body_size_limit_bytes",
    "sample_limit",
    "target_limit",
    "label_limit",
    "label_name_length_limit",
    "label_value_length_limit",
    "keep_dropped_targets",
    "scrape_failure_log_file",
)
_TAKEN_WHEN_UNSET: Final = (
    "scrape_native_histograms",
    "always_scrape_classic_histograms",
    "convert_classic_histograms_to_nhcb",
    "extra_scrape_metrics",
)


def inherit(scrape: ScrapeConfig, defaults: GlobalConfig) -> ScrapeConfig:
    """Return the scrape config with everything filled in from the global section (in its normal form)."""
    taken = {name: getattr(scrape, name) or getattr(defaults, name) for name in _TAKEN_WHEN_ZERO}
    for name in _TAKEN_WHEN_UNSET:
        own = getattr(scrape, name)
        taken[name] = getattr(defaults, name) if own is None else own
    native = taken["scrape_native_histograms"]
    offered = PROTOBUF_FIRST_SCRAPE_PROTOCOLS if native else DEFAULT_SCRAPE_PROTOCOLS
    interval = scrape.scrape_interval_ms or defaults.scrape_interval_ms
    scheme = scrape.metric_name_validation_scheme or defaults.metric_name_validation_scheme
    legacy = scheme is ValidationScheme.LEGACY
    return attrs.evolve(
        scrape,
        **taken,
        scrape_interval_ms=interval,
        scrape_timeout_ms=scrape.scrape_timeout_ms or DurationMs(min(defaults.scrape_timeout_ms, interval)),
        scrape_protocols=scrape.scrape_protocols or defaults.scrape_protocols or offered,
        metric_name_validation_scheme=scheme,
        metric_name_escaping_scheme=_escaping(scrape, defaults),
        relabel_configs=with_names(scrape.relabel_configs, legacy=legacy),
        metric_relabel_configs=with_names(scrape.metric_relabel_configs, legacy=legacy),
    )


def inherited_faults(scrape: ScrapeConfig) -> Iterator[Fault]:
    """Yield what is wrong with a scrape config that has inherited."""
    if scrape.scrape_timeout_ms > scrape.scrape_interval_ms:
        yield Fault(
            f'scrape timeout greater than scrape interval for scrape config with job name "{scrape.job_name}"',
            "scrape_timeout",
        )
    utf8 = scrape.metric_name_validation_scheme is ValidationScheme.UTF8
    if scrape.metric_name_escaping_scheme is EscapingScheme.ALLOW_UTF8 and not utf8:
        yield Fault(
            "utf8 metric names requested but validation scheme is not set to UTF8", "metric_name_escaping_scheme"
        )
    yield from rule_faults(scrape.relabel_configs, "relabel_configs")
    yield from rule_faults(scrape.metric_relabel_configs, "metric_relabel_configs")


def with_names(rules: Iterable[Rule], *, legacy: bool) -> tuple[Rule, ...]:
    """Return relabelling rules that hold to a scheme of names."""
    return tuple(attrs.evolve(rule, legacy_names=True) if legacy else rule for rule in rules)


def rule_faults(rules: Iterable[Rule], key: str) -> Iterator[Fault]:
    """Yield what only the legacy scheme refuses; the rest was found when each rule was read."""
    for i, rule in enumerate(rules):
        if rule.legacy_names:
            for fault in rule.faults():
                yield Fault(str(fault), f"{key}[{i}]" + (f".{fault.key}" if fault.key else ""))


def _escaping(scrape: ScrapeConfig, defaults: GlobalConfig) -> EscapingScheme:
    """Return the escaping scheme: its own, else what its own or the global validation scheme implies."""
    if scrape.metric_name_escaping_scheme:
        return scrape.metric_name_escaping_scheme
    own = scrape.metric_name_validation_scheme
    if not own and defaults.metric_name_escaping_scheme:
        return defaults.metric_name_escaping_scheme
    legacy = (own or defaults.metric_name_validation_scheme) is ValidationScheme.LEGACY
    return EscapingScheme.UNDERSCORES if legacy else EscapingScheme.ALLOW_UTF8
