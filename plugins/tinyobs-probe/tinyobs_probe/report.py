"""What a probe found: gauges and a log, gathered while it runs.

Gauges are declared with a default before anything can fail, so that a failed probe has the same series as a good one
where blackbox_exporter has them too.
"""

from __future__ import annotations

import time

from attrs import define, field
from tinyobs.model.families import MetricFamily, Point
from tinyobs.model.labels import Labels, from_mapping
from tinyobs.model.metadata import MetricType

LOG_LINES_MAX = 1000
"""Most lines of log that one probe keeps."""


@define
class Report:
    """Gauges by name and labels; a later value replaces an earlier one."""

    log: list[str] = field(factory=list, init=False)
    _help: dict[str, str] = field(factory=dict, init=False)
    _values: dict[str, dict[Labels, float]] = field(factory=dict, init=False)

    def gauge(self, name: str, help: str, value: float = 0.0, **labels: str) -> None:
        """Declare a gauge's point, or replace its value."""
        self._help[name] = help
        self._values.setdefault(name, {})[from_mapping(labels)] = float(value)

    def set(self, name: str, value: float, **labels: str) -> None:
        """Replace the value of a declared gauge."""
        assert name in self._help, name
        self._values[name][from_mapping(labels)] = float(value)

    def add(self, name: str, value: float, **labels: str) -> None:
        """Add to the value of a declared gauge."""
        points = self._values[name]
        key = from_mapping(labels)
        points[key] = points.get(key, 0.0) + value

    def value(self, name: str, **labels: str) -> float | None:
        """Return a value, None where there is no such point."""
        return self._values.get(name, {}).get(from_mapping(labels))

    def note(self, message: str, **values: object) -> None:
        """Add a line to the log, which is shown when somebody asks for it (`/probe?debug=true`)."""
        if len(self.log) < LOG_LINES_MAX:
            details = " ".join(f"{k}={v!r}" for k, v in values.items())
            self.log.append(f"ts={time.time():.3f} msg={message!r} {details}".rstrip())

    def families(self) -> list[MetricFamily]:
        """Return the gauges, sorted by name."""
        return [
            MetricFamily(
                name,
                MetricType.GAUGE,
                self._help[name],
                tuple(Point(value, labels) for labels, value in self._values[name].items()),
            )
            for name in sorted(self._values)
        ]
