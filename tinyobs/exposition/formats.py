"""The exposition formats by name: scrape protocols, their content types and what each can carry.

Not here: choosing one from a header (`negotiate.py`) and the formats themselves (`scrape_parser.py`, `writer_*.py`).
Names and content types are those of Prometheus' `scrape_protocols`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Format(StrEnum):
    """A scrape protocol; the values are the names used in `scrape_protocols`."""

    PROTOBUF = "PrometheusProto"
    OPENMETRICS_1_0_0 = "OpenMetricsText1.0.0"
    OPENMETRICS_0_0_1 = "OpenMetricsText0.0.1"
    TEXT_1_0_0 = "PrometheusText1.0.0"
    TEXT_0_0_4 = "PrometheusText0.0.4"

    def __str__(self) -> str:
        return self.value

    @property
    def is_openmetrics(self) -> bool:
        """Whether the format is a version of OpenMetrics text."""
        return self in (Format.OPENMETRICS_1_0_0, Format.OPENMETRICS_0_0_1)

    @property
    def has_utf8_names(self) -> bool:
        """Whether names outside `[a-zA-Z_:][a-zA-Z0-9_:]*` may be written, in quotes."""
        return self in (Format.OPENMETRICS_1_0_0, Format.TEXT_1_0_0)


MEDIA_TYPE: Final = {
    Format.PROTOBUF: "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited",
    Format.OPENMETRICS_1_0_0: "application/openmetrics-text;version=1.0.0",
    Format.OPENMETRICS_0_0_1: "application/openmetrics-text;version=0.0.1",
    Format.TEXT_1_0_0: "text/plain;version=1.0.0",
    Format.TEXT_0_0_4: "text/plain;version=0.0.4",
}
"""Media types as a scrape asks for them, without the escaping parameter."""

DEFAULT_ORDER: Final = (
    Format.OPENMETRICS_1_0_0,
    Format.OPENMETRICS_0_0_1,
    Format.TEXT_1_0_0,
    Format.TEXT_0_0_4,
)
"""The default of `scrape_protocols`; protobuf is asked for only where it is configured."""
