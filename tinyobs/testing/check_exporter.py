"""The contract of `tinyobs.abc.Exporter`, executable."""

from __future__ import annotations

import math

from ..abc import Exporter
from ..model.families import MetricFamily
from ..model.labels import NAME, is_legacy_metric_name
from ..model.metadata import MetricType


def check_exporter(exporter: Exporter) -> list[MetricFamily]:
    """Check an implementation; return what it collected, so that a test can look at the values.

    Raises `AssertionError` for the first promise that is not kept.
    """
    assert exporter.name, "an exporter has a name, which is the `job` label"
    assert exporter.interval_ms >= 0, "the interval is in milliseconds, 0 for the global one"
    exporter.collect()
    found = list(exporter.collect())  # once more: an exporter is collected again and again
    names = [family.name for family in found]
    assert len(names) == len(set(names)), "each family is there once"
    for family in found:
        _check_family(family)
    return found


def _check_family(family: MetricFamily) -> None:
    assert is_legacy_metric_name(family.name), f"{family.name} is no metric name"
    assert family.help, f"{family.name} has no help text"
    assert family.type is not MetricType.COUNTER or family.name.endswith("_total"), (
        f"the name of the counter {family.name} does not end in _total"
    )
    series = [(point.suffix, point.labels) for point in family.points]
    assert len(series) == len(set(series)), f"{family.name} has a point twice"
    for point in family.points:
        names = [name for name, _ in point.labels]
        assert names == sorted(set(names)), f"{family.name}: labels are sorted and unique"
        assert NAME not in names, f"{family.name}: the name is no label of a point"
        assert all(value for _, value in point.labels), f"{family.name}: an empty label is an absent one"
        assert isinstance(point.value, float), f"{family.name}: a value is a float"
        assert family.type is not MetricType.COUNTER or not point.value < 0, f"{family.name}: a counter is not negative"
        assert not math.isinf(point.value) or family.type is not MetricType.COUNTER, f"{family.name}: infinite counter"
