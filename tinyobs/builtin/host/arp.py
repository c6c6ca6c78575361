"""Neighbours known by ARP.  Source: proc(5) /proc/net/arp.  Names as node_exporter's `arp` collector."""

from __future__ import annotations

from collections import Counter

from .gathering import Gathering
from .settings import Host


def collect(host: Host, out: Gathering) -> None:
    """Add the number of entries by device, the last column of the table."""
    devices = Counter(line.split()[-1] for line in host.files.proc("net/arp").splitlines()[1:] if line.strip())
    for device, count in devices.items():
        out.gauge("node_arp_entries", "Entries of the ARP table.", count, (("device", device),))
