"""What the API counts beside requests, under the names of Prometheus."""

from __future__ import annotations

from threading import Lock

from ..model.families import MetricFamily, counter, gauge


class ApiStatistics:
    """Accumulates.  Thread-safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._federation_errors = self._federation_warnings = self._reads = 0

    def count_federation_error(self) -> None:
        """Note an answer of `/federate` that failed."""
        with self._lock:
            self._federation_errors += 1

    def count_reads(self, change: int) -> None:
        """Note that remote reads came (1) or are done (-1)."""
        with self._lock:
            self._reads += change

    def families(self) -> list[MetricFamily]:
        """Return the metrics."""
        with self._lock:
            return [
                counter(
                    "prometheus_web_federation_errors_total",
                    "Total number of errors that occurred while sending federation responses.",
                    self._federation_errors,
                ),
                counter(
                    "prometheus_web_federation_warnings_total",
                    "Total number of warnings that occurred while sending federation responses.",
                    self._federation_warnings,
                ),
                gauge(
                    "prometheus_remote_read_handler_queries",
                    "The current number of remote read queries that are either in execution or queued on the handler.",
                    self._reads,
                ),
            ]
