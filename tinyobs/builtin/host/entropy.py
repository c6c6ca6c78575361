"""The kernel's randomness.  Source: random(4).  Names as node_exporter's `entropy` collector."""

from __future__ import annotations

from .gathering import Gathering
from .settings import Host


def collect(host: Host, out: Gathering) -> None:
    """Add fill and size of the pool."""
    available = float(host.files.proc("sys/kernel/random/entropy_avail"))
    size = float(host.files.proc("sys/kernel/random/poolsize"))
    out.gauge("node_entropy_available_bits", "Entropy in the kernel's pool, in bits.", available)
    out.gauge("node_entropy_pool_size_bits", "Size of the kernel's entropy pool, in bits.", size)
