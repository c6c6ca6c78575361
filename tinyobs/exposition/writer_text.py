"""Metric families -> the Prometheus text format, versions 0.0.4 and 1.0.0.

Format: https://prometheus.io/docs/instrumenting/exposition_formats/.  The versions differ in nothing but names: 1.0.0
may carry any name in quotes, 0.0.4 gets them escaped.  Types that the format lacks become the nearest one it has, and
`_created` points, which it lacks as well, are left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ..model.families import MetricFamily
from ..model.metadata import MetricType
from .floats import format_float
from .names import Escaping, SeriesText, metric_name, quoted_metric_name

_TYPE: Final = {
    MetricType.COUNTER: "counter",
    MetricType.GAUGE: "gauge",
    MetricType.HISTOGRAM: "histogram",
    MetricType.GAUGE_HISTOGRAM: "histogram",
    MetricType.SUMMARY: "summary",
    MetricType.INFO: "gauge",
    MetricType.STATESET: "gauge",
    MetricType.UNKNOWN: "untyped",
}


def write_text(families: Iterable[MetricFamily], escaping: Escaping = Escaping.UNDERSCORES) -> bytes:
    """Return the families as a body, UTF-8."""
    lines: list[str] = []
    series = SeriesText(escaping)
    for family in families:
        name = quoted_metric_name(metric_name(family.name, escaping))
        if family.help:
            text = family.help.replace("\\", "\\\\").replace("\n", "\\n")
            lines.append(f"# HELP {name} {text}\n")
        lines.append(f"# TYPE {name} {_TYPE[family.type]}\n")
        for point in family.points:
            if point.suffix == "_created":
                continue
            time = "" if point.timestamp_ms is None else f" {point.timestamp_ms}"
            key = series.write(family.name + point.suffix, point.labels)
            lines.append(f"{key} {format_float(point.value)}{time}\n")
    return "".join(lines).encode("utf-8", "replace")
