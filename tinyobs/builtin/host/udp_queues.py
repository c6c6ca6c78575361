"""Bytes that wait in UDP sockets.

Source: proc(5) /proc/net/udp and udp6.  Names as node_exporter's `udp_queues` collector.
"""

from __future__ import annotations

from .gathering import Gathering
from .settings import Host


def collect(host: Host, out: Gathering) -> None:
    """Add the sums over all sockets; raises `OSError` where there is neither table."""
    seen = 0
    for file, version in (("net/udp", "v4"), ("net/udp6", "v6")):
        try:
            lines = host.files.proc(file).splitlines()[1:]
        except FileNotFoundError:
            continue
        seen += 1
        sizes = [line.split()[4].split(":") for line in lines]
        for i, queue in enumerate(("tx", "rx")):
            total = sum(int(s[i], 16) for s in sizes)
            help = "Bytes in the queues of UDP sockets."
            out.gauge("node_udp_queues", help, total, (("ip", version), ("queue", queue)))
    if not seen:
        raise FileNotFoundError("neither net/udp nor net/udp6")
