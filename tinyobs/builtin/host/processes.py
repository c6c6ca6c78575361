"""Counts of processes and threads by state.

Source: proc(5) /proc/<pid>/stat.  Names as node_exporter's `processes` collector; like there off by default, since it
reads a file per process.
"""

from __future__ import annotations

import os
from collections import Counter

from .gathering import Gathering
from .settings import Host


def collect(host: Host, out: Gathering) -> None:
    """Add the counts and their limits; a process that ends meanwhile is not counted."""
    states: Counter[str] = Counter()
    threads = 0
    for pid in os.listdir(host.files.procfs):
        if not pid.isdigit():
            continue
        try:
            text = host.files.proc(f"{pid}/stat")
        except OSError:
            continue
        # The command stands in brackets and may hold anything, brackets and spaces too.
        fields = text[text.rindex(")") + 2 :].split()
        states[fields[0]] += 1
        threads += int(fields[17])
    for state, count in sorted(states.items()):
        out.gauge("node_processes_state", "Processes by state.", count, (("state", state),))
    out.gauge("node_processes_pids", "Processes.", states.total())
    out.gauge("node_processes_threads", "Threads.", threads)
    limit = float(host.files.proc("sys/kernel/threads-max"))
    out.gauge("node_processes_max_threads", "Most threads that can be.", limit)
    out.gauge("node_processes_max_processes", "Highest process id.", float(host.files.proc("sys/kernel/pid_max")))
