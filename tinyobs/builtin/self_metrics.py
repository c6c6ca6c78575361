"""Stores the agent's own metrics, so that dashboards about TinyObs work without scraping itself over HTTP."""

from __future__ import annotations

from collections.abc import Sequence

from ..abc import Exporter, Services
from ..hookspecs import hookimpl
from ..model.families import MetricFamily


@hookimpl
def tinyobs_exporters(services: Services) -> Sequence[Exporter]:
    """Return the exporter of the agent's own metrics, unless it is switched off."""
    return [SelfMetrics(services)] if services.config.tinyobs.self_metrics.enabled else []


class SelfMetrics(Exporter):
    """The agent as an exporter."""

    def __init__(self, services: Services) -> None:
        self._services = services
        settings = services.config.tinyobs.self_metrics
        self.name, self.interval_ms = settings.job, settings.interval_ms

    def collect(self) -> Sequence[MetricFamily]:
        """Return what `/metrics` shows."""
        return self._services.gather()
