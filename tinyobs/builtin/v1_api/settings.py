"""The section `tinyobs.v1`; the defaults are the limits of the first TinyObs."""

from __future__ import annotations

from typing import Any, Final

from attrs import frozen

from ...config.fields import setting
from ...exposition.v1_metrics import V1Limits
from ...model.durations import DurationMs

SECTION: Final = "v1"
_SECOND: Final = 1000
_DAY: Final = 86_400 * _SECOND


def _duration(default_ms: int, name: str, low: int = _SECOND, high: int = 3660 * _DAY) -> Any:
    return setting(name, default=DurationMs(default_ms), low=low, high=high)


@frozen(kw_only=True)
class V1Settings:
    """Limits of the API below `/v1`.  0 means no limit where it is allowed."""

    metrics_per_request_max: int = setting(default=1000, low=1, high=100_000)
    """Metrics in one push; default 1000."""
    labels_max: int = setting(default=20, low=0, high=1000)
    """Labels of one metric; default 20."""
    name_bytes_max: int = setting(default=256, low=1, high=65_536)
    """Longest metric name; default 256."""
    label_name_bytes_max: int = setting(default=256, low=1, high=65_536)
    """Longest label name; default 256."""
    label_value_bytes_max: int = setting(default=1024, low=1, high=1 << 20)
    """Longest label value; default 1024."""
    series_max: int = setting(default=100_000, low=1, high=10_000_000)
    """Series pushed within a day; more are answered 429; default 100000."""
    series_per_metric_max: int = setting(default=10_000, low=0, high=10_000_000)
    """Those of one metric; default 10000."""
    histogram_deltas: bool = setting(default=True)
    """Whether series of histograms say what was added since the last push, as the Go SDK has it; default true."""
    query_timeout_ms: DurationMs = _duration(10 * _SECOND, "query_timeout", high=_DAY)
    """How long a query of samples or names may take; PromQL has `--query.timeout`; default 10s."""
    query_window_max_ms: DurationMs = _duration(90 * _DAY, "query_window_max")
    """Longest time range of a query; default 90d."""
    query_samples_max: int = setting(default=1_000_000, low=1, high=1_000_000_000)
    """Samples that a query may read; default 1000000."""
    points_max: int = setting(default=5000, low=1, high=1_000_000)
    """Most points of a series that `maxPoints` may ask for; default 5000."""
    export_window_max_ms: DurationMs = _duration(30 * _DAY, "export_window_max")
    """Longest time range of an export; default 30d."""
    export_timeout_ms: DurationMs = _duration(3600 * _SECOND, "export_timeout", high=30 * _DAY)
    """How long a client may take to receive an export; default 1h."""
    exports_max: int = setting(default=2, low=1, high=100)
    """Exports at one time; more are answered 503; default 2."""
    live_interval_ms: DurationMs = _duration(5 * _SECOND, "live_interval", low=100, high=3600 * _SECOND)
    """How often `/v1/ws` sends; default 5s."""
    live_samples_max: int = setting(default=1000, low=1, high=100_000)
    """Samples in one message of it; default 1000."""
    live_clients_max: int = setting(default=64, low=1, high=10_000)
    """Clients of it; default 64."""
    cors_origins: tuple[str, ...] = setting(default=("http://localhost:3000", "http://127.0.0.1:3000"))
    """Origins beside `localhost` on the own port whose pages may use the API; default port 3000 of the same machine."""

    def limits(self) -> V1Limits:
        """Return what a push may have."""
        return V1Limits(
            self.metrics_per_request_max,
            self.labels_max,
            self.name_bytes_max,
            self.label_name_bytes_max,
            self.label_value_bytes_max,
            self.series_max,
            self.series_per_metric_max,
        )


def settings_of(config: Any) -> V1Settings:
    """Return the section of a configuration."""
    found: V1Settings = config.tinyobs.section(SECTION)
    return found
