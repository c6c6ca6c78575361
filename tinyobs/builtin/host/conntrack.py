"""Connection tracking.

Source: kernel networking/nf_conntrack-sysctl and /proc/net/stat/nf_conntrack.  Names as node_exporter's `conntrack`
collector.  A kernel without the module has no such files: the collector then fails, as upstream's does.
"""

from __future__ import annotations

from typing import Final

from .gathering import Gathering
from .settings import Host

STATS: Final = {
    "found": "Searches that found an entry.",
    "invalid": "Packets that cannot be tracked.",
    "ignore": "Packets already connected to an entry.",
    "insert": "Entries inserted.",
    "insert_failed": "Insertions that failed.",
    "drop": "Packets dropped because tracking failed.",
    "early_drop": "Entries dropped to make room in a full table.",
    "search_restart": "Searches restarted because the table was resized.",
}


def collect(host: Host, out: Gathering) -> None:
    """Add the size of the table and its counters, summed over the CPUs (one line each, hexadecimal)."""
    entries = float(host.files.proc("sys/net/netfilter/nf_conntrack_count"))
    limit = float(host.files.proc("sys/net/netfilter/nf_conntrack_max"))
    out.gauge("node_nf_conntrack_entries", "Connections tracked.", entries)
    out.gauge("node_nf_conntrack_entries_limit", "Most connections that can be tracked.", limit)
    heading, *lines = host.files.proc("net/stat/nf_conntrack").splitlines()
    sums = [sum(int(v, 16) for v in column) for column in zip(*(line.split() for line in lines), strict=True)]
    for name, value in zip(heading.split(), sums, strict=False):
        if name in STATS:
            out.gauge(f"node_nf_conntrack_stat_{name}", STATS[name], value)
