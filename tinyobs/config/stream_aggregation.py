"""Rules of stream aggregation as they stand in a file, in the format of VictoriaMetrics, and the section that holds them.

What is said for all rules of a place holds for each that does not say otherwise itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Final, TypeVar

import attrs
from attrs import frozen

from ..aggregation.engine import AggregationPlan
from ..aggregation.rule import PLAIN_OUTPUTS, AggregationRule, BucketFormat, parse_interval, quantiles_of, suffix_of
from ..model.selectors import Selector
from ..model.sizes import SizeBytes
from ..relabel import Rule
from .fields import Fault, FilePath, Included, setting

SECTION: Final = "stream_aggregation"
SERIES_MAX: Final = 1_000_000
DEFAULT_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Those of Prometheus' client libraries."""
_INTERVALS: Final = ("interval", "dedup_interval", "staleness_interval", "ignore_first_sample_interval")
V = TypeVar("V")


@frozen(kw_only=True)
class RuleSettings:
    """One rule; None where what is said for all rules holds."""

    CONTEXT: ClassVar = {"extended": True}

    name: str = setting(default="")
    match: tuple[str, ...] = setting(default=(), one_or_many=True)
    interval: str = setting()
    dedup_interval: str = setting(default="")
    enable_windows: bool | None = setting(default=None)
    staleness_interval: str = setting(default="")
    ignore_first_sample_interval: str = setting(default="")
    no_align_flush_to_interval: bool | None = setting(default=None)
    flush_on_shutdown: bool | None = setting(default=None)
    without: tuple[str, ...] = setting(default=())
    by: tuple[str, ...] = setting(default=())
    outputs: tuple[str, ...] = setting()
    keep_metric_names: bool | None = setting(default=None)
    ignore_old_samples: bool | None = setting(default=None)
    ignore_first_intervals: int | None = setting(default=None, low=0)
    drop_input_labels: tuple[str, ...] | None = setting(default=None)
    input_relabel_configs: tuple[Rule, ...] = setting(default=())
    output_relabel_configs: tuple[Rule, ...] = setting(default=())
    histogram: BucketFormat | None = setting(default=None)

    def faults(self) -> Iterator[Fault]:
        """Yield what is wrong with the rule alone."""
        for key in _INTERVALS:
            text = getattr(self, key)
            try:
                if text or key == "interval":
                    parse_interval(text)
            except ValueError as e:
                yield Fault(str(e), key)
        for i, text in enumerate(self.match):
            try:
                Selector(text)
            except ValueError as e:
                yield Fault(str(e), f"match[{i}]")
        if self.by and self.without:
            yield Fault("by and without exclude each other", "without")
        yield from self._output_faults()

    def _output_faults(self) -> Iterator[Fault]:
        if not self.outputs:
            yield Fault("at least one output is needed", "outputs")
        seen = set()
        for i, output in enumerate(self.outputs):
            try:
                kind = output if quantiles_of(output) is None else "quantiles"
            except ValueError as e:
                yield Fault(str(e), f"outputs[{i}]")
                continue
            if kind != "quantiles" and kind not in PLAIN_OUTPUTS:
                known = ", ".join((*PLAIN_OUTPUTS, "quantiles(phi1, ..., phiN)"))
                yield Fault(f"unknown output {output!r}; there are {known}", f"outputs[{i}]")
            if kind in seen:
                yield Fault(f"output {kind} stands here twice", f"outputs[{i}]")
            seen.add(kind)


@frozen(kw_only=True)
class PlaceSettings:
    """The rules of one place, and what holds for all of them."""

    rules: tuple[RuleSettings, ...] = setting(default=())
    """The rules."""
    file: FilePath = setting(default=FilePath(""))
    """A file with more rules, a list as VictoriaMetrics has it."""
    keep_input: bool = setting(default=False)
    """Whether samples that a rule takes go on beside their aggregates; default false."""
    drop_input: bool = setting(default=False)
    """Whether samples that no rule takes are dropped as well; default false."""
    dedup_interval: str = setting(default="")
    enable_windows: bool = setting(default=False)
    no_align_flush_to_interval: bool = setting(default=False)
    flush_on_shutdown: bool = setting(default=False)
    keep_metric_names: bool = setting(default=False)
    ignore_old_samples: bool = setting(default=False)
    ignore_first_intervals: int = setting(default=0, low=0)
    drop_input_labels: tuple[str, ...] = setting(default=())
    histogram: BucketFormat = setting(default=BucketFormat.NATIVE)
    """What `histogram_bucket` gives: `native` histograms, `vmrange` or `classic` buckets; default native."""
    buckets: tuple[float, ...] = setting(default=DEFAULT_BUCKETS)
    """Upper bounds of classic buckets."""
    series_max: int = setting(default=SERIES_MAX, low=1, high=1 << 31)
    """Input series that one rule follows at a time; default 1000000."""
    histograms_size_max_bytes: SizeBytes = setting(
        "histograms_size_max", default=SizeBytes(256 << 20), low=0, high=1 << 36
    )
    """Native histograms that one rule remembers; samples that do not fit are left out; default 256MiB."""
    included: tuple[RuleSettings, ...] = attrs.field(default=(), metadata={"key": None})
    """What was in `file`."""

    def faults(self) -> Iterator[Fault]:
        """Yield what is wrong with rules as they are with what holds for all."""
        try:
            parse_interval(self.dedup_interval or "0s")
        except ValueError as e:
            yield Fault(str(e), "dedup_interval")
            return
        if any(b <= a for a, b in zip(self.buckets, self.buckets[1:], strict=False)):
            yield Fault("bounds of buckets must ascend", "buckets")
        for i, rule in enumerate(self.rules):
            yield from (Fault(str(f), f"rules[{i}].{f.key}") for f in self._faults_of(rule))

    def including(self, read: Included) -> PlaceSettings:
        """Return the settings with the rules of the file."""
        if not self.file:
            return self

        def check(rules: tuple[RuleSettings, ...]) -> Iterator[Fault]:
            for i, rule in enumerate(rules):
                yield from (Fault(str(f), f"[{i}].{f.key}") for f in self._faults_of(rule))

        return attrs.evolve(self, included=read(self.file, tuple[RuleSettings, ...], check) or ())

    def plan(self) -> AggregationPlan:
        """Return the rules with all defaults filled in."""
        rules = [*self.rules, *self.included]
        return AggregationPlan(
            tuple(self._complete(rule, str(i + 1)) for i, rule in enumerate(rules)), self.keep_input, self.drop_input
        )

    def _faults_of(self, rule: RuleSettings) -> Iterator[Fault]:
        """Yield what is wrong with a rule whose own fields are good."""
        made = self._complete(rule, "")
        if made.interval_ms < 1000:
            yield Fault("the interval must be at least 1s", "interval")
        elif made.dedup_interval_ms > made.interval_ms or made.interval_ms % (made.dedup_interval_ms or 1):
            yield Fault("the interval must be a multiple of dedup_interval", "dedup_interval")
        if made.staleness_interval_ms < made.interval_ms:
            yield Fault("staleness_interval must not be shorter than interval", "staleness_interval")
        if made.keep_metric_names and self.keep_input:
            yield Fault("keep_metric_names and keep_input would mix input and output", "keep_metric_names")
        if made.keep_metric_names:
            phis = quantiles_of(rule.outputs[0])
            if len(rule.outputs) > 1 or rule.outputs[0] == "histogram_bucket" or (phis and len(phis) > 1):
                yield Fault("keep_metric_names needs one output with one series", "keep_metric_names")

    def _complete(self, rule: RuleSettings, position: str) -> AggregationRule:
        interval = parse_interval(rule.interval)
        by, without = tuple(sorted(set(rule.by))), tuple(sorted(set(rule.without)))
        staleness = parse_interval(rule.staleness_interval) if rule.staleness_interval else 2 * interval
        first = rule.ignore_first_sample_interval
        return AggregationRule(
            name=rule.name or position,
            interval_ms=interval,
            suffix=suffix_of(rule.interval, by, without),
            outputs=rule.outputs,
            match=rule.match,
            dedup_interval_ms=parse_interval(rule.dedup_interval or self.dedup_interval or "0s"),
            enable_windows=_or(rule.enable_windows, self.enable_windows),
            staleness_interval_ms=staleness,
            ignore_first_sample_interval_ms=parse_interval(first) if first else staleness,
            no_align_flush_to_interval=_or(rule.no_align_flush_to_interval, self.no_align_flush_to_interval),
            flush_on_shutdown=_or(rule.flush_on_shutdown, self.flush_on_shutdown),
            by=by,
            without=without,
            keep_metric_names=_or(rule.keep_metric_names, self.keep_metric_names),
            ignore_old_samples=_or(rule.ignore_old_samples, self.ignore_old_samples),
            ignore_first_intervals=_or(rule.ignore_first_intervals, self.ignore_first_intervals),
            drop_input_labels=_or(rule.drop_input_labels, self.drop_input_labels),
            input_relabel_configs=rule.input_relabel_configs,
            output_relabel_configs=rule.output_relabel_configs,
            histogram=_or(rule.histogram, self.histogram),
            buckets=self.buckets,
            series_max=self.series_max,
            histograms_bytes_max=self.histograms_size_max_bytes,
        )


@frozen(kw_only=True)
class StreamAggregationSettings(PlaceSettings):
    """The section: rules before storage, and those before single destinations of remote write."""

    destinations: tuple[tuple[str, PlaceSettings], ...] = setting(default=())
    """Rules for what goes to a destination, by its name or URL in `remote_write`."""

    def including(self, read: Included) -> StreamAggregationSettings:
        """Return the settings with the rules of all files."""
        own = super().including(read)
        assert isinstance(own, StreamAggregationSettings)
        return attrs.evolve(own, destinations=tuple((name, d.including(read)) for name, d in self.destinations))


def _or(own: V | None, common: V) -> V:
    return common if own is None else own
