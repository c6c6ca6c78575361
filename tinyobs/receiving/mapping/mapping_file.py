"""Mappings as prometheus/statsd_exporter has them in a file: schema, checks, reading.

Format: pkg/mapper/mapper.go, mapping.go and mapper_defaults.go there.  Options that were renamed are known by both names.
Which rule fits a name is in `matching.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Final

from attrs import frozen

from ...config.decoder import decode_text
from ...config.fields import Fault, setting
from ...config.yaml_tree import read_file
from ...errors import ConfigError, Problem
from ...model.regex import compile_re2

BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""What Prometheus' client libraries have."""
MAPPINGS_MAX: Final = 10_000

_GLOB: Final = re.compile(r"(?:\*|[a-zA-Z_][a-zA-Z0-9_\-]*)(?:\.(?:\*|[a-zA-Z0-9_][a-zA-Z0-9_\-]*))*\Z")
_GLOB_RULE: Final = "each part between dots is *, or letters, digits, _ and -; match_type: regex can do more"
_REFERENCE: Final = r"\$\{?\d+\}?"
_NAME: Final = re.compile(rf"(?:[a-zA-Z_]|{_REFERENCE})(?:[a-zA-Z0-9_]|{_REFERENCE})*\Z")
_LABEL: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*\Z")
_GO_UNITS: Final = {"ns": 1e-6, "us": 1e-3, "µs": 1e-3, "μs": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4, "h": 3.6e6}
_GO_DURATION: Final = re.compile(r"(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+\Z")
_GO_PART: Final = re.compile(r"([\d.]+)([a-zµμ]+)")


class MatchType(StrEnum):
    """How a rule matches."""

    GLOB = "glob"
    REGEX = "regex"


class Action(StrEnum):
    """What a rule does."""

    MAP = "map"
    DROP = "drop"


class MetricKind(StrEnum):
    """What a rule may be limited to."""

    COUNTER = "counter"
    GAUGE = "gauge"
    OBSERVER = "observer"
    TIMER = "timer"


class ObserverType(StrEnum):
    """What timers become; `native` and `classic` are ours, `histogram` is classic unless it has a bucket factor."""

    HISTOGRAM = "histogram"
    SUMMARY = "summary"
    NATIVE = "native"
    CLASSIC = "classic"


@frozen(kw_only=True)
class QuantileRule:
    """A quantile; the error is accepted and not needed."""

    quantile: float = setting(low=0, high=1)
    error: float = setting(default=0.0, low=0, high=1)


@frozen(kw_only=True)
class SummaryOptions:
    """Options of summaries."""

    quantiles: tuple[QuantileRule, ...] = setting(default=())
    max_age: str = setting(default="")
    age_buckets: int = setting(default=0, low=0, high=1000)
    buf_cap: int = setting(default=0, low=0)
    """Accepted and not needed."""

    def faults(self) -> Iterator[Fault]:
        """Yield what is wrong with the age."""
        yield from _duration_faults(self.max_age, "max_age")


@frozen(kw_only=True)
class HistogramOptions:
    """Options of histograms."""

    buckets: tuple[float, ...] = setting(default=())
    native_histogram_bucket_factor: float = setting(default=0.0, low=0, high=65536)
    native_histogram_max_buckets: int = setting(default=0, low=0, high=10_000)

    def faults(self) -> Iterator[Fault]:
        """Yield what is wrong with buckets."""
        yield from _bucket_faults(self.buckets)


@frozen(kw_only=True)
class MappingDefaults:
    """What holds for rules that do not say otherwise."""

    observer_type: ObserverType | None = setting(default=None)
    timer_type: ObserverType | None = setting(default=None)
    buckets: tuple[float, ...] = setting(default=())
    quantiles: tuple[QuantileRule, ...] = setting(default=())
    match_type: MatchType = setting(default=MatchType.GLOB)
    glob_disable_ordering: bool = setting(default=False)
    ttl: str = setting(default="")
    summary_options: SummaryOptions = setting(factory=SummaryOptions)
    histogram_options: HistogramOptions = setting(factory=HistogramOptions)

    def faults(self) -> Iterator[Fault]:
        """Yield what is wrong with the old options."""
        yield from _duration_faults(self.ttl, "ttl")
        yield from _bucket_faults(self.buckets)


@frozen(kw_only=True)
class MappingRule:
    """One rule."""

    match: str = setting()
    name: str = setting(default="")
    labels: tuple[tuple[str, str], ...] = setting(default=())
    observer_type: ObserverType | None = setting(default=None)
    timer_type: ObserverType | None = setting(default=None)
    buckets: tuple[float, ...] = setting(default=())
    quantiles: tuple[QuantileRule, ...] = setting(default=())
    match_type: MatchType | None = setting(default=None)
    help: str = setting(default="")
    action: Action = setting(default=Action.MAP)
    match_metric_type: MetricKind | None = setting(default=None)
    ttl: str = setting(default="")
    summary_options: SummaryOptions | None = setting(default=None)
    histogram_options: HistogramOptions | None = setting(default=None)
    scale: float | None = setting(default=None)
    honor_labels: bool = setting(default=False)

    def faults(self) -> Iterator[Fault]:
        """Yield what is missing or contradicts, but for `match`, which depends on the defaults."""
        if self.action is Action.MAP and not self.name:
            yield Fault("metric mapping didn't set a metric name")
        if self.name and not _NAME.match(self.name):
            yield Fault(f"'{self.name}' is no name of a metric", "name")
        for label, _ in self.labels:
            if not _LABEL.match(label) or label.startswith("__"):
                yield Fault(f"invalid label key: {label}", f"labels.{label}")
        yield from _duration_faults(self.ttl, "ttl")
        yield from _bucket_faults(self.buckets)
        if self.quantiles and self.summary_options is not None and self.summary_options.quantiles:
            yield Fault("cannot use quantiles in both the top level and summary options", "quantiles")
        if self.buckets and self.histogram_options is not None and self.histogram_options.buckets:
            yield Fault("cannot use buckets in both the top level and histogram options", "buckets")
        kind = self.observer_type or self.timer_type
        if kind is ObserverType.SUMMARY and self.histogram_options is not None:
            yield Fault("cannot use summary observer and histogram options at the same time", "histogram_options")
        if kind not in (None, ObserverType.SUMMARY) and self.summary_options is not None:
            yield Fault("cannot use histogram observer and summary options at the same time", "summary_options")


@frozen(kw_only=True)
class MappingFile:
    """The content of a file."""

    defaults: MappingDefaults = setting(factory=MappingDefaults)
    mappings: tuple[MappingRule, ...] = setting(default=())

    def faults(self) -> Iterator[Fault]:
        """Yield what is wrong with matches."""
        if len(self.mappings) > MAPPINGS_MAX:
            yield Fault(f"more than {MAPPINGS_MAX} mappings", "mappings")
        for i, reason in bad_matches(self.defaults, self.mappings):
            yield Fault(reason, f"mappings[{i}].match")


def bad_matches(defaults: MappingDefaults, rules: Sequence[MappingRule]) -> Iterator[tuple[int, str]]:
    """Yield (number of the rule, reason) for each `match` that is no pattern."""
    for i, rule in enumerate(rules):
        if (rule.match_type or defaults.match_type) is MatchType.GLOB:
            if not _GLOB.match(rule.match):
                yield i, f"invalid match: {rule.match} ({_GLOB_RULE})"
            continue
        try:
            compile_re2(rule.match)
        except ValueError as e:
            yield i, f"invalid regex {rule.match} in mapping: {e}"


def load_mapping_file(path: str) -> MappingFile:
    """Return the content of a file; raises `ConfigError` with every problem, its line and column."""
    try:
        text = read_file(path)
    except OSError as e:
        raise ConfigError([Problem(path, 0, 0, f"cannot be read: {e.strerror or e}")]) from None
    return decode_text(MappingFile, text, path)


def go_duration_ms(text: str) -> int:
    """Return the milliseconds of a duration as Go writes them (`1m20s`, `1.5h`); "" and "0" are 0.

    Raises `ValueError`.
    """
    if text in ("", "0"):
        return 0
    if not _GO_DURATION.match(text):
        raise ValueError(f'invalid duration: "{text}"')
    return round(sum(float(number) * _GO_UNITS[unit] for number, unit in _GO_PART.findall(text)))


def _duration_faults(text: str, key: str) -> Iterator[Fault]:
    try:
        go_duration_ms(text)
    except ValueError as e:
        yield Fault(str(e), key)


def _bucket_faults(buckets: tuple[float, ...]) -> Iterator[Fault]:
    if list(buckets) != sorted(set(buckets)):
        yield Fault("buckets must ascend", "buckets")


def faults_of_file(path: str, key: str) -> Iterator[Fault]:
    """Yield what is wrong in a file, with its place there: a broken one never replaces one that works.

    key: the setting that names the file.
    """
    try:
        load_mapping_file(path)
    except ConfigError as e:
        for problem in e.problems:
            yield Fault(str(problem), key)
