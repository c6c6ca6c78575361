"""Time on and waiting for the run queues.

Source: kernel scheduler/sched-stats, /proc/schedstat version 15 and later (times in nanoseconds).  Names as
node_exporter's `schedstat` collector.
"""

from __future__ import annotations

from typing import Final

from .gathering import Gathering
from .settings import Host

_PER_SECOND: Final = 1e9


def collect(host: Host, out: Gathering) -> None:
    """Add the last three of the nine columns of each cpu line."""
    for line in host.files.proc("schedstat").splitlines():
        name, *columns = line.split()
        if not name.startswith("cpu") or len(columns) < 9:
            continue
        labels = (("cpu", name[3:]),)
        running, waiting, slices = (float(c) for c in columns[6:9])
        out.counter(
            "node_schedstat_running_seconds_total",
            "Time tasks ran on the CPU, in seconds.",
            running / _PER_SECOND,
            labels,
        )
        help = "Time tasks waited for the CPU, in seconds."
        out.counter("node_schedstat_waiting_seconds_total", help, waiting / _PER_SECOND, labels)
        out.counter("node_schedstat_timeslices_total", "Times a task was given the CPU.", slices, labels)
