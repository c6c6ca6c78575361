"""Sockets in use.

Source: proc(5) /proc/net/sockstat and sockstat6.  Names as node_exporter's `sockstat` collector.
"""

from __future__ import annotations

import contextlib
import os

from .gathering import Gathering
from .settings import Host


def collect(host: Host, out: Gathering) -> None:
    """Add every pair of the two tables; memory is counted in pages and given in bytes as well."""
    text = host.files.proc("net/sockstat")
    with contextlib.suppress(FileNotFoundError):  # a kernel without IPv6 has no such file
        text += "\n" + host.files.proc("net/sockstat6")
    page_bytes = os.sysconf("SC_PAGE_SIZE")
    for line in text.splitlines():
        protocol, colon, rest = line.partition(":")
        words = rest.split()
        if not colon:
            continue
        for name, number in zip(words[::2], words[1::2], strict=True):
            value = float(number)
            key = f"node_sockstat_{protocol}_{name}"
            if protocol == "sockets":
                out.gauge("node_sockstat_sockets_used", "Sockets in use.", value)
                continue
            out.gauge(key, f"{protocol} sockets: {name}.", value)
            if name == "mem":
                out.gauge(f"{key}_bytes", f"Memory of {protocol} sockets, in bytes.", value * page_bytes)
