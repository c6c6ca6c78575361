"""Names as sent -> metrics, by the rules of a mapping file.

What a name and a type of metric lead to is decided once and remembered.  Which rule fits says `receiving/mapping`.  Source:
prometheus/statsd_exporter pkg/mapper.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import IntEnum
from functools import cached_property
from typing import Any, Final

from attrs import evolve, frozen

from ...exposition.statsd import Kind, escape_name
from ...model.histogram_resolution import SCHEMA_MAX, SCHEMA_MIN
from ...receiving.mapping.mapping_file import (
    Action,
    HistogramOptions,
    MappingDefaults,
    MappingRule,
    MetricKind,
    ObserverType,
    SummaryOptions,
    go_duration_ms,
    load_mapping_file,
)
from ...receiving.mapping.matching import RuleMatcher
from .settings import StatsdSettings

REMEMBERED_MAX: Final = 50_000
"""Names whose rule is remembered; when there are more, all are forgotten."""
REMEMBERED_CHARACTERS_MAX: Final = 512
"""Longest name that is remembered: whatever is sent, the memory for it has a bound.  Lines are remembered elsewhere."""
MAX_AGE_MS: Final = 600_000
AGE_BUCKETS: Final = 5
"""The window of summaries, and in how many steps it moves; those of Prometheus' client library."""

_WHERE_AND_WHEN: Final = (
    "listen_udp",
    "listen_tcp",
    "listen_unixgram",
    "listen_unix",
    "unix_socket_mode",
    "flush_interval_ms",
    "mapping_file",
)
"""Settings that do not change what becomes of a line; of the file its content does."""
_KINDS: Final[Mapping[Kind, MetricKind]] = {Kind.COUNTER: MetricKind.COUNTER, Kind.GAUGE: MetricKind.GAUGE}


class Family(IntEnum):
    """What a series is to us."""

    COUNTER = 0
    GAUGE = 1
    SET = 2
    NATIVE = 3
    CLASSIC = 4
    SUMMARY = 5


@frozen
class Definition:
    """What is known of a metric besides its name."""

    family: Family
    help: str = ""
    ttl_ms: int = 0
    schema: int = 3
    buckets_max: int = 160
    bounds: tuple[float, ...] = ()
    quantiles: tuple[float, ...] = ()
    max_age_ms: int = MAX_AGE_MS
    age_buckets: int = AGE_BUCKETS


@frozen
class Mapped:
    """What becomes of a metric.  name: "" when it has none.  definition: None when it is dropped."""

    name: str
    labels: Mapping[str, str]
    definition: Definition | None
    scale: float = 1.0
    honor_labels: bool = False


class Mapper:
    """The rules of one configuration.  Equal where they would do the same."""

    def __init__(self, settings: StatsdSettings) -> None:
        """Raises `ConfigError` when the mapping file cannot be read."""
        self.settings = settings
        self.defaults, self.rules = settings.defaults, settings.mappings
        if settings.mapping_file:
            content = load_mapping_file(settings.mapping_file)
            self.defaults, self.rules = content.defaults, content.mappings
        self._matcher = RuleMatcher(self.defaults, self.rules)
        self._remembered: dict[tuple[str, Kind], Mapped] = {}

    @cached_property
    def identity(self) -> tuple[MappingDefaults, Sequence[MappingRule], StatsdSettings]:
        """What decides what becomes of a line."""
        unsaid = StatsdSettings()
        settings = evolve(self.settings, **{name: getattr(unsaid, name) for name in _WHERE_AND_WHEN})
        return self.defaults, self.rules, settings

    def map(self, name: str, kind: Kind) -> Mapped:
        """Return what becomes of a metric."""
        found = self._remembered.get((name, kind))
        if found is None:
            if len(self._remembered) >= REMEMBERED_MAX:
                self._remembered.clear()
            found = self._decide(name, kind)
            if len(name) <= REMEMBERED_CHARACTERS_MAX:
                self._remembered[name, kind] = found
        return found

    def _decide(self, name: str, kind: Kind) -> Mapped:
        found = self._matcher.find(name, lambda rule: _fits(rule, kind))
        if found is not None:
            return self._mapped(found.rule, kind, found.fill)
        return Mapped(escape_name(name), {}, self._definition(None, kind))

    def _mapped(self, rule: MappingRule, kind: Kind, fill: Any) -> Mapped:
        if rule.action is Action.DROP:
            return Mapped("", {}, None)
        return Mapped(
            escape_name(fill(rule.name)),
            {label: fill(template) for label, template in rule.labels},
            self._definition(rule, kind),
            1.0 if rule.scale is None else rule.scale,
            rule.honor_labels,
        )

    def _definition(self, rule: MappingRule | None, kind: Kind) -> Definition:
        help = rule.help if rule else ""
        ttl_ms = go_duration_ms(rule.ttl if rule else "") or go_duration_ms(self.defaults.ttl) or self.settings.ttl_ms
        if kind is Kind.COUNTER:
            return Definition(Family.COUNTER, help, ttl_ms)
        if kind is Kind.GAUGE:
            return Definition(Family.GAUGE, help, ttl_ms)
        if kind is Kind.SET:
            return Definition(Family.SET, help, ttl_ms)
        return self._observer(rule or MappingRule(match=""), help, ttl_ms)

    def _observer(self, rule: MappingRule, help: str, ttl_ms: int) -> Definition:
        """Return what timers become: the rule's options first, then those of the defaults, then the settings."""
        defaults, settings = self.defaults, self.settings
        histogram = rule.histogram_options or HistogramOptions()
        summary = rule.summary_options or SummaryOptions()
        factor = histogram.native_histogram_bucket_factor or defaults.histogram_options.native_histogram_bucket_factor
        wanted = rule.observer_type or rule.timer_type or defaults.observer_type or defaults.timer_type
        if wanted is ObserverType.SUMMARY or (wanted is None and settings.observer_type == "summary"):
            quantiles = summary.quantiles or rule.quantiles or defaults.summary_options.quantiles or defaults.quantiles
            return Definition(
                Family.SUMMARY,
                help,
                ttl_ms,
                quantiles=tuple(sorted({q.quantile for q in quantiles})) or settings.quantiles,
                max_age_ms=go_duration_ms(summary.max_age)
                or go_duration_ms(defaults.summary_options.max_age)
                or MAX_AGE_MS,
                age_buckets=summary.age_buckets or defaults.summary_options.age_buckets or AGE_BUCKETS,
            )
        is_native = wanted is ObserverType.NATIVE or (wanted is ObserverType.HISTOGRAM and factor > 1)
        if is_native or (wanted is None and settings.observer_type == "native"):
            most = histogram.native_histogram_max_buckets or defaults.histogram_options.native_histogram_max_buckets
            return Definition(
                Family.NATIVE,
                help,
                ttl_ms,
                schema=_schema_of(factor if factor > 1 else settings.native_histogram_bucket_factor),
                buckets_max=most or settings.native_histogram_max_buckets,
            )
        bounds = histogram.buckets or rule.buckets or defaults.histogram_options.buckets or defaults.buckets
        return Definition(Family.CLASSIC, help, ttl_ms, bounds=bounds or settings.buckets)


def _schema_of(factor: float) -> int:
    """Return the coarsest schema whose buckets grow by no more than a factor above 1, as client libraries choose it."""
    return min(max(-math.floor(math.log2(math.log2(factor))), SCHEMA_MIN), SCHEMA_MAX)


def _fits(rule: MappingRule, kind: Kind) -> bool:
    wanted = rule.match_metric_type
    if wanted is None:
        return True
    if wanted is MetricKind.TIMER:
        wanted = MetricKind.OBSERVER
    if kind is Kind.SET:
        return wanted is MetricKind.GAUGE
    return _KINDS.get(kind, MetricKind.OBSERVER) is wanted
