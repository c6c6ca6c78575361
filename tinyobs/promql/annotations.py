"""Warnings and infos that accompany a result, with the wording and positions of Prometheus.

Source of the texts: prometheus util/annotations/annotations.go (3.14).  An annotation is kept once, however often it
occurs and wherever in the query: with the position that upstream evaluates last, which is the right one of two operands,
and the outer one of two expressions in each other.  The number of distinct ones is bounded when they are given out.
"""

from __future__ import annotations

import datetime
from typing import Final, TypeAlias

from attrs import Factory, define

from ..model.rollup import READS, tier_name
from .nodes import Expr
from .numbers_text import format_g
from .strings import quote

ANNOTATIONS_MAX: Final = 10
"""Distinct warnings, and distinct infos, given out; the rest is counted."""

_WARNING = "PromQL warning: "
_INFO = "PromQL info: "
MONOTONICITY = (
    "PromQL info: input to histogram_quantile needed to be fixed for monotonicity "
    "(see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)"
)


Key: TypeAlias = tuple[str, int]
"""A text and, where it counts, the place that it is about; else -1."""


Place: TypeAlias = tuple[int, int]
"""Where an expression ends, and less where it starts: of two, the one that is evaluated later is the larger."""
_NOWHERE: Final = (-1, 0)


def place_of(node: Expr) -> Place:
    """Return the place of an expression."""
    return node.end, -node.start


@define
class _Repair:
    """What is known of repaired buckets of one metric, and where in the query they are."""

    place: Place
    smallest: float
    largest: float
    difference: float
    count: int
    first_ms: int
    last_ms: int


@define
class Annotations:
    """The annotations of one query over `text`."""

    text: str
    _warnings: dict[Key, Place] = Factory(dict)
    """Texts without position, and where in the query they are about."""
    _infos: dict[Key, Place] = Factory(dict)
    _repairs: dict[str, _Repair] = Factory(dict)

    def position(self, start: int) -> str:
        """Return ` (line:column)` of a place; both count from 1, columns in bytes as upstream has it."""
        before = self.text[:start]
        line_start = before.rfind("\n") + 1
        return f" ({before.count(chr(10)) + 1}:{len(before[line_start:].encode('utf-8', 'surrogateescape')) + 1})"

    def warn(self, message: str, node: Expr) -> None:
        """Add a warning."""
        key = _WARNING + message, -1
        self._warnings[key] = max(self._warnings.get(key, _NOWHERE), place_of(node))

    def info(self, message: str, node: Expr, *, at_each: bool = False) -> None:
        """Add an info; `at_each` place of the query that it is about, not at the last one only."""
        key = _INFO + message, node.start if at_each else -1
        self._infos[key] = max(self._infos.get(key, _NOWHERE), place_of(node))

    def invalid_quantile(self, quantile: float, node: Expr) -> None:
        """A quantile outside 0 .. 1."""
        self.warn(f"quantile value should be between 0 and 1, got {format_g(quantile)}", node)

    def invalid_ratio(self, ratio: float, used: float, node: Expr) -> None:
        """A ratio outside -1 .. 1."""
        self.warn(f"ratio value should be between -1 and 1, got {format_g(ratio)}, capping to {format_g(used)}", node)

    def bad_bucket_label(self, metric: str, value: str, node: Expr) -> None:
        """A bucket whose `le` is no number."""
        self.warn(f'bucket label "le" is missing or has a malformed value of {quote(value)}{_named(metric)}', node)

    def not_a_counter(self, metric: str, node: Expr) -> None:
        """A rate of something whose name is not that of a counter."""
        self.info(
            f"metric might not be a counter, name does not end in _total/_sum/_count/_bucket: {quote(metric)}", node
        )

    def not_a_counter_by_type(self, metric: str, kind: str, node: Expr) -> None:
        """A rate of something whose `__type__` is not that of a counter."""
        self.info(
            f'metric might not be a counter, __type__ label is not set to "counter" or "histogram", '
            f"got {quote(kind)}: {quote(metric)}",
            node,
        )

    def overlapping_start(self, metric: str, node: Expr) -> None:
        """A sample that counts since before the sample before it, and since another moment than that."""
        self.warn(
            f"sample has start time that overlaps with previous sample timestamp for metric {quote(metric)}", node
        )

    def incompatible_types(self, left: str, op: str, right: str, node: Expr) -> None:
        """An operator that does not take samples of these kinds."""
        self.info(f"incompatible sample types encountered for binary operator {quote(op)}: {left} {op} {right}", node)

    def mixed_range(self, metric: str, node: Expr) -> None:
        """A range with floats and histograms."""
        self.warn(f"encountered a mix of histograms and floats for metric name {quote(metric)}", node)

    def mixed_aggregation(self, node: Expr) -> None:
        """A group with floats and histograms."""
        self.warn("encountered a mix of histograms and floats for aggregation", node)

    def mixed_classic(self, metric: str, node: Expr) -> None:
        """A classic and a native histogram of the same labels."""
        self.warn(f"vector contains a mix of classic and native histograms{_named(metric)}", node)

    def mixed_schemas(self, metric: str, node: Expr) -> None:
        """Exponential histograms that meet those with custom buckets."""
        self.warn(
            "vector contains a mix of histograms with exponential and custom buckets schemas "
            f"for metric name {quote(metric)}",
            node,
        )

    def not_a_counter_histogram(self, metric: str, node: Expr) -> None:
        """A rate of histograms that are gauges."""
        self.warn(f"this native histogram metric is not a counter: {quote(metric)}", node)

    def not_a_gauge_histogram(self, metric: str, node: Expr) -> None:
        """A difference of histograms that are counters."""
        self.warn(f"this native histogram metric is not a gauge: {quote(metric)}", node)

    def incompatible_layouts(self, op: str, node: Expr) -> None:
        """An operator between an exponential histogram and one with custom buckets."""
        self.warn(f"incompatible bucket layout encountered for binary operator {op}", node)

    def collision(self, operation: str, node: Expr) -> None:
        """Histograms that follow a counter reset with others that surely do not."""
        self.warn(f"conflicting counter resets during histogram {operation}", node)

    def reconciled(self, operation: str, node: Expr) -> None:
        """Custom buckets that had to be merged."""
        self.info(f"mismatched custom buckets were reconciled during {operation}", node)

    def ignored_in_range(self, metric: str, node: Expr) -> None:
        """Histograms beside floats under a function of floats."""
        self.info(
            f"ignored histograms in a range containing both floats and histograms for metric name {quote(metric)}", node
        )

    def ignored_in_aggregation(self, op: str, node: Expr) -> None:
        """Histograms under an aggregation of floats."""
        self.info(f"ignored histogram in {op} aggregation", node)

    def nan_observations(self, what: str, metric: str, node: Expr) -> None:
        """Observations that are not a number; `what` tells the function and what they do to its result."""
        self.info(f"input to {what}{_named(metric)}", node)

    def tier_used(self, width_ms: int, function: str, node: Expr) -> None:
        """Samples of a downsampling tier, perhaps under a function that needs all samples."""
        tier = tier_name(width_ms)
        self.info(f"samples from the {tier} downsampling tier were used", node, at_each=True)
        if function not in READS:
            what = "a range selector" if function == "[]" else function
            self.warn(f"{what} needs all samples, but some are left in the {tier} downsampling tier only", node)

    def repaired_buckets(
        self,
        metric: str,
        node: Expr,
        bounds: tuple[float, float],
        difference: float,
        times: tuple[int, int],
        count: int,
    ) -> None:
        """Cumulative buckets that were not monotonic.

        bounds: smallest and largest repaired upper bound.  times: first and last moment, ms.  count: repaired points.
        """
        key = _named(metric)
        old = self._repairs.get(key)
        if old is None:
            self._repairs[key] = _Repair(place_of(node), bounds[0], bounds[1], difference, count, times[0], times[1])
            return
        old.place = max(old.place, place_of(node))
        old.smallest, old.largest = min(old.smallest, bounds[0]), max(old.largest, bounds[1])
        old.difference = max(old.difference, difference)
        old.count += count
        old.first_ms, old.last_ms = min(old.first_ms, times[0]), max(old.last_ms, times[1])

    def warnings(self) -> tuple[str, ...]:
        """Return the warnings, sorted, cut at `ANNOTATIONS_MAX`."""
        return self._cut(self._warnings, "warning")

    def infos(self) -> tuple[str, ...]:
        """Return the infos, sorted, cut at `ANNOTATIONS_MAX`."""
        found = dict(self._infos)
        for named, r in self._repairs.items():
            text = (
                f"{MONOTONICITY}{named}, from buckets {format_g(r.smallest)} to {format_g(r.largest)}, with a max diff "
                f"of {r.difference:.2g}, over {r.count} samples from {_time(r.first_ms)} to {_time(r.last_ms)}"
            )
            found[text, -1] = r.place
        return self._cut(found, "info")

    def _cut(self, found: dict[Key, Place], kind: str) -> tuple[str, ...]:
        texts = sorted(text + self.position(-place[1]) for (text, _), place in found.items())
        if len(texts) <= ANNOTATIONS_MAX:
            return tuple(texts)
        return (*texts[:ANNOTATIONS_MAX], f"{len(texts) - ANNOTATIONS_MAX} more {kind} annotations omitted")


def _named(metric: str) -> str:
    return f" for metric name {quote(metric)}" if metric else ""


def _time(ms: int) -> str:
    moment = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(seconds=int(ms / 1000))
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
