"""The kernel's name for itself and the machine.  Source: uname(2).  Names as node_exporter's `uname` collector."""

from __future__ import annotations

import os

from ...model.labels import from_mapping
from .gathering import Gathering
from .settings import Host


def collect(host: Host, out: Gathering) -> None:
    """Add one info point; the NIS domain is not in POSIX and comes from /proc."""
    name = os.uname()
    try:
        domain = host.files.proc("sys/kernel/domainname").strip()
    except OSError:
        domain = ""
    info = {
        "domainname": domain,
        "machine": name.machine,
        "nodename": name.nodename,
        "release": name.release,
        "sysname": name.sysname,
        "version": name.version,
    }
    out.gauge("node_uname_info", "What uname says of the system; always 1.", 1, from_mapping(info))
