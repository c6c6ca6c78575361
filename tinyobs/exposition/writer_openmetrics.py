"""Metric families -> OpenMetrics text, versions 0.0.1 and 1.0.0.

Format: https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md.  Families carry the names of
the classic format; here the name of a counter or info family loses its suffix, which its points keep.  One whose
name lacks the suffix has no place in the format and is written as unknown, as Prometheus does with counters.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ..model.families import MetricFamily, Point
from ..model.labels import Labels
from ..model.metadata import MetricType
from .floats import format_openmetrics_float
from .lexing import BOUND_LABEL, canonical_bound
from .names import Escaping, SeriesText, metric_name, quoted_metric_name

_SUFFIX: Final = {MetricType.COUNTER: "_total", MetricType.INFO: "_info"}
_BOUND_LABEL: Final = {**BOUND_LABEL, MetricType.GAUGE_HISTOGRAM: "le"}
_COUNTS: Final = ("_bucket", "_count", "_gcount")
_EXACT_INTEGER: Final = 2.0**53


def write_openmetrics(families: Iterable[MetricFamily], escaping: Escaping = Escaping.UNDERSCORES) -> bytes:
    """Return the families as a body, UTF-8, with the EOF line."""
    lines: list[str] = []
    series = SeriesText(escaping)
    for family in families:
        _write_family(lines, family, escaping, series)
    lines.append("# EOF\n")
    return "".join(lines).encode("utf-8", "replace")


def _write_family(lines: list[str], family: MetricFamily, escaping: Escaping, series: SeriesText) -> None:
    suffix = _SUFFIX.get(family.type, "")
    base = family.name.removesuffix(suffix)
    type_ = family.type
    if suffix and base == family.name:
        type_, suffix = MetricType.UNKNOWN, ""
    name = quoted_metric_name(metric_name(base, escaping))
    lines.append(f"# TYPE {name} {type_}\n")
    if family.unit and base.endswith("_" + family.unit):
        lines.append(f"# UNIT {name} {family.unit}\n")
    if family.help:
        text = family.help.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
        lines.append(f"# HELP {name} {text}\n")
    bound = _BOUND_LABEL.get(type_)
    for point in family.points:
        key = series.write(base + (point.suffix or suffix), _with_bound(point.labels, bound))
        lines.append(f"{key} {_value(point)}{_time(point.timestamp_ms)}\n")


def _with_bound(labels: Labels, bound: str | None) -> Labels:
    if bound is None:
        return labels
    return tuple((n, canonical_bound(v) if n == bound else v) for n, v in labels)


def _value(point: Point) -> str:
    value = point.value
    if point.suffix in _COUNTS and abs(value) < _EXACT_INTEGER and value == int(value):
        return str(int(value))
    return format_openmetrics_float(value)


def _time(timestamp_ms: int | None) -> str:
    """Return the timestamp in seconds, exact to the millisecond."""
    if timestamp_ms is None:
        return ""
    sign = "-" if timestamp_ms < 0 else ""
    return f" {sign}{abs(timestamp_ms) // 1000}.{abs(timestamp_ms) % 1000:03d}"
