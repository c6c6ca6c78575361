"""Bonded network devices.

Source: kernel networking/bonding.  Names as node_exporter's `bonding` collector.
"""

from __future__ import annotations

from .gathering import Gathering
from .settings import Host


def collect(host: Host, out: Gathering) -> None:
    """Add how many members each bond has and how many have a link; raises `OSError` where there is no bond."""
    files = host.files
    for master in files.sys("class/net/bonding_masters").split():
        base, labels = f"class/net/{master}", (("master", master),)
        members = files.sys(f"{base}/bonding/slaves").split()
        up = 0
        for member in members:
            state = files.sys_text(f"{base}/lower_{member}/bonding_slave/mii_status")
            up += (state or files.sys_text(f"class/net/{member}/bonding_slave/mii_status")) == "up"
        out.gauge("node_bonding_slaves", "Members of the bond.", len(members), labels)
        out.gauge("node_bonding_active", "Members of the bond that have a link.", up, labels)
