"""Pressure stall information.  Source: kernel accounting/psi.  Names as node_exporter's `pressure` collector."""

from __future__ import annotations

import re
from typing import Final

from .gathering import Gathering
from .settings import Host

_PER_SECOND: Final = 1e6
_TOTAL = re.compile(r"^(some|full) .*total=(\d+)", re.MULTILINE)
METRICS: Final = {
    ("cpu", "some"): ("node_pressure_cpu_waiting_seconds_total", "Time in which tasks waited for a CPU, in seconds."),
    ("io", "some"): ("node_pressure_io_waiting_seconds_total", "Time in which tasks waited for I/O, in seconds."),
    ("io", "full"): ("node_pressure_io_stalled_seconds_total", "Time in which all tasks waited for I/O, in seconds."),
    ("memory", "some"): (
        "node_pressure_memory_waiting_seconds_total",
        "Time in which tasks waited for memory, in seconds.",
    ),
    ("memory", "full"): (
        "node_pressure_memory_stalled_seconds_total",
        "Time in which all tasks waited for memory, in seconds.",
    ),
    ("irq", "full"): (
        "node_pressure_irq_stalled_seconds_total",
        "Time in which interrupts kept all tasks waiting, in seconds.",
    ),
}
"""By resource and line; `cpu full` means nothing for a whole system."""


def collect(host: Host, out: Gathering) -> None:
    """Add the totals; the file for interrupts came with Linux 6.1."""
    for resource in ("cpu", "io", "memory", "irq"):
        try:
            text = host.files.proc(f"pressure/{resource}")
        except FileNotFoundError:
            if resource == "irq":
                continue
            raise
        for line in _TOTAL.finditer(text):
            metric = METRICS.get((resource, line[1]))
            if metric:
                out.counter(*metric, int(line[2]) / _PER_SECOND)
