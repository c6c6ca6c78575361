"""Memory.  Source: proc(5) /proc/meminfo.  Names as node_exporter's `meminfo` collector.

Each field becomes `node_memory_<field>`, in bytes with suffix `_bytes` where the kernel gives a unit; `Active(anon)`
becomes `Active_anon`.
"""

from __future__ import annotations

from .gathering import Gathering
from .settings import Host


def collect(host: Host, out: Gathering) -> None:
    """Add every field of the table."""
    for line in host.files.proc("meminfo").splitlines():
        name, colon, rest = line.partition(":")
        words = rest.split()
        if not colon or not words:
            continue
        field = name.replace("(", "_").replace(")", "")
        value = float(words[0])
        if len(words) > 1:
            out.gauge(f"node_memory_{field}_bytes", f"{name} of /proc/meminfo, in bytes.", value * 1024)
        else:
            out.gauge(f"node_memory_{field}", f"{name} of /proc/meminfo.", value)
