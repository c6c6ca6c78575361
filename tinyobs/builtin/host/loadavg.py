"""Load averages.  Source: proc(5) /proc/loadavg.  Names as node_exporter's `loadavg` collector."""

from __future__ import annotations

from .gathering import Gathering
from .settings import Host


def collect(host: Host, out: Gathering) -> None:
    """Add the three load averages."""
    one, five, fifteen = host.files.proc("loadavg").split()[:3]
    out.gauge("node_load1", "Load average over 1 minute.", float(one))
    out.gauge("node_load5", "Load average over 5 minutes.", float(five))
    out.gauge("node_load15", "Load average over 15 minutes.", float(fifteen))
