"""Boot time, interrupts, context switches and process counts.

Source: proc(5) /proc/stat.  Names as node_exporter's `stat` collector.
"""

from __future__ import annotations

from typing import Final

from .gathering import Gathering
from .settings import Host

COUNTERS: Final = {
    "intr": ("node_intr_total", "Interrupts served."),
    "ctxt": ("node_context_switches_total", "Context switches."),
    "processes": ("node_forks_total", "Processes and threads created."),
}
GAUGES: Final = {
    "btime": ("node_boot_time_seconds", "When the system booted, in seconds since 1970."),
    "procs_running": ("node_procs_running", "Processes that are able to run."),
    "procs_blocked": ("node_procs_blocked", "Processes that wait for input or output to finish."),
}


def collect(host: Host, out: Gathering) -> None:
    """Add the system-wide lines; the first number of the `intr` line is the sum over all interrupts."""
    for line in host.files.proc("stat").splitlines():
        key, _, rest = line.partition(" ")
        if key in COUNTERS:
            out.counter(*COUNTERS[key], float(rest.split(None, 1)[0]))
        elif key in GAUGES:
            out.gauge(*GAUGES[key], float(rest))
