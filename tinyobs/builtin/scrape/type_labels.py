"""`__type__` and `__unit__`: what the metadata of a target says of its series, as labels (`type-and-unit-labels`).

Labels of these names that a target exposes itself are left out.  A family whose type or unit changes gets other series.
Source of the rules: prometheus schema/labels.go.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ...model.labels import Labels, metric_name
from ...model.metadata import MetricMetadata, MetricType, with_type_and_unit

_SUFFIXES: Final[Mapping[str, MetricType | None]] = {
    "_total": MetricType.COUNTER,
    "_bucket": None,
    "_sum": None,
    "_count": None,
    "_gsum": MetricType.GAUGE_HISTOGRAM,
    "_gcount": MetricType.GAUGE_HISTOGRAM,
    "_created": None,
    "_info": MetricType.INFO,
}
"""What the name of a series may have behind the name of its family, and the one type that has it, where it is one."""


class TypeLabels:
    """Types and units of the families of one target.  Not thread-safe."""

    def __init__(self) -> None:
        self._families: dict[str, MetricMetadata] = {}
        self._scraped: dict[int, Labels] = {}
        self._typed: dict[int, Labels] = {}

    def typed(self, new: Mapping[int, Labels], metadata: Mapping[str, MetricMetadata]) -> dict[int, Labels]:
        """Return the labels of series numbers that are new or have another type or unit than before.

        new: labels as scraped, of numbers that mean another series than before.  metadata: families, as far as known.
        """
        changed = any(self._families.get(name) != found for name, found in metadata.items())
        self._families.update(metadata)
        self._scraped.update(new)
        out = {}
        for number, labels in (self._scraped if changed else new).items():
            made = with_type_and_unit(labels, self._metadata(metric_name(labels)))
            if number in new or self._typed.get(number) != made:
                out[number] = self._typed[number] = made
        return out

    def _metadata(self, name: str) -> MetricMetadata:
        """Return the metadata of the family of a series."""
        found = self._families.get(name)
        if found is not None:
            return found
        for suffix, kind in _SUFFIXES.items():
            found = self._families.get(name.removesuffix(suffix)) if name.endswith(suffix) else None
            if found is not None and kind in (None, found.type):
                return found
        return MetricMetadata()
