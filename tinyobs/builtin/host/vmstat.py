"""Virtual memory counters.  Source: proc(5) /proc/vmstat.  Names as node_exporter's `vmstat` collector."""

from __future__ import annotations

from .gathering import Gathering
from .settings import Host, found


def collect(host: Host, out: Gathering) -> None:
    """Add the fields that `vmstat_fields` selects."""
    pattern = host.settings.vmstat_fields
    for line in host.files.proc("vmstat").splitlines():
        name, _, value = line.partition(" ")
        if found(pattern, name):
            out.untyped(f"node_vmstat_{name}", f"{name} of /proc/vmstat.", float(value))
