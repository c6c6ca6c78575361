"""Open files of the whole system.  Source: proc(5) file-nr.  Names as node_exporter's `filefd` collector."""

from __future__ import annotations

from .gathering import Gathering
from .settings import Host


def collect(host: Host, out: Gathering) -> None:
    """Add the file handles in use and their limit."""
    allocated, _, maximum = host.files.proc("sys/fs/file-nr").split()
    out.gauge("node_filefd_allocated", "File handles in use.", float(allocated))
    out.gauge("node_filefd_maximum", "Most file handles that can be in use.", float(maximum))
