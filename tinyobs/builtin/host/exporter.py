"""The exporter that runs the collectors.  Not here: what is collected (one module each) and when (the agent)."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Final

import structlog

from ... import __version__
from ...abc import Exporter
from ...model.families import MetricFamily, merge
from ...model.labels import from_mapping
from . import portable
from .collectors import OFF_BY_DEFAULT, Collector, linux_collectors
from .gathering import Gathering
from .settings import Host, HostSettings

JOB: Final = "node"
"""The `job` label that dashboards and rules for node_exporter expect."""

_log = structlog.get_logger("tinyobs.host")


class HostExporter(Exporter):
    """Metrics of the machine, under node_exporter's names.

    A collector that fails leaves out its own families, reports `node_scrape_collector_success` 0 and is logged when
    its failure changes; the others go on.
    """

    name = JOB

    def __init__(self, settings: HostSettings, collectors: Mapping[str, Collector] | None = None) -> None:
        self.interval_ms = settings.interval
        self._host = Host(settings.files(), settings)
        self._collectors = _chosen(settings, available_collectors(settings) if collectors is None else collectors)
        self._failures: dict[str, str] = {}

    def collect(self) -> Sequence[MetricFamily]:
        """Return the families of all collectors; not to be called twice at the same time."""
        found: list[MetricFamily] = []
        own = Gathering()
        for name, collector in self._collectors.items():
            started = time.perf_counter()
            families = self._run(name, collector)
            seconds = time.perf_counter() - started
            labels = (("collector", name),)
            help = "How long the collector took, in seconds."
            own.gauge("node_scrape_collector_duration_seconds", help, seconds, labels)
            own.gauge("node_scrape_collector_success", "Whether the collector worked.", families is not None, labels)
            found += families or ()
        own.gauge("node_exporter_build_info", "What made these metrics; always 1.", 1, _build_labels())
        return merge([*found, *own.families()])

    def _run(self, name: str, collector: Collector) -> list[MetricFamily] | None:
        """Return the families of one collector, None when it failed."""
        out = Gathering()
        try:
            collector(self._host, out)
        except OSError as e:
            # The usual case: the machine has no such thing.  Nobody wants a line a minute about it.
            self._note(name, f"{type(e).__name__}: {e}", expected=True)
            return None
        except Exception as e:  # noqa: BLE001 - a file in an unknown form must not cost the other collectors
            self._note(name, f"{type(e).__name__}: {e}", expected=False)
            return None
        self._failures.pop(name, None)
        return out.families()

    def _note(self, name: str, reason: str, *, expected: bool) -> None:
        if self._failures.get(name) != reason:
            self._failures[name] = reason
            (_log.debug if expected else _log.warning)("host collector failed", collector=name, reason=reason)


def available_collectors(settings: HostSettings) -> dict[str, Collector]:
    """Return the collectors that this system can have: those for Linux, or those through psutil."""
    if os.path.isfile(f"{settings.path_procfs}/stat") or platform.system() == "Linux":
        return linux_collectors()
    return dict(portable.COLLECTORS)


def _chosen(settings: HostSettings, available: Mapping[str, Collector]) -> dict[str, Collector]:
    wanted = set(settings.collectors) or set(available) - OFF_BY_DEFAULT
    wanted -= set(settings.exclude_collectors)
    return {name: collector for name, collector in available.items() if name in wanted}


def _build_labels() -> tuple[tuple[str, str], ...]:
    return from_mapping(
        {
            "version": __version__,
            "pythonversion": platform.python_version(),
            "goos": sys.platform,
            "goarch": platform.machine(),
        }
    )
