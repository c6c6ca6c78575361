"""Whether SELinux is on.  Source: selinuxfs.  Names as node_exporter's `selinux` collector."""

from __future__ import annotations

from .gathering import Gathering
from .settings import Host


def collect(host: Host, out: Gathering) -> None:
    """Add the state; a system without selinuxfs does not use it."""
    enforce = host.files.sys_number("fs/selinux/enforce")
    out.gauge("node_selinux_enabled", "Whether SELinux is used.", enforce is not None)
    if enforce is not None:
        out.gauge("node_selinux_current_mode", "Mode in force: 1 enforcing, 0 permissive.", enforce)
