"""Metrics through psutil, for systems without the /proc and /sys of Linux (macOS, the BSDs).

Names and labels as node_exporter gives them on those systems, as far as psutil knows the numbers.  The collectors for
Linux read the kernel's files themselves and do not come here.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

import psutil

from .gathering import Gathering
from .settings import Host, found

MODES: Final = ("user", "nice", "system", "idle")
_MEMORY: Final = {
    "total": "total",
    "free": "free",
    "active": "active",
    "inactive": "inactive",
    "wired": "wired",
    "available": "available",
}
_DISK: Final = {
    "read_count": ("node_disk_reads_completed_total", "Reads that succeeded.", 1.0),
    "write_count": ("node_disk_writes_completed_total", "Writes that succeeded.", 1.0),
    "read_bytes": ("node_disk_read_bytes_total", "Bytes read.", 1.0),
    "write_bytes": ("node_disk_written_bytes_total", "Bytes written.", 1.0),
    "read_time": ("node_disk_read_time_seconds_total", "Time spent by all reads, in seconds.", 1e-3),
    "write_time": ("node_disk_write_time_seconds_total", "Time spent by all writes, in seconds.", 1e-3),
}
_NETWORK: Final = {
    "bytes_recv": ("node_network_receive_bytes_total", "Bytes received."),
    "bytes_sent": ("node_network_transmit_bytes_total", "Bytes sent."),
    "packets_recv": ("node_network_receive_packets_total", "Packets received."),
    "packets_sent": ("node_network_transmit_packets_total", "Packets sent."),
    "errin": ("node_network_receive_errs_total", "Packets received with an error."),
    "errout": ("node_network_transmit_errs_total", "Packets whose sending failed."),
    "dropin": ("node_network_receive_drop_total", "Received packets that were dropped."),
}


def cpu(host: Host, out: Gathering) -> None:
    """Add CPU time by mode."""
    for i, times in enumerate(psutil.cpu_times(percpu=True)):
        for mode in MODES:
            value = getattr(times, mode, None)
            if value is not None:
                labels = (("cpu", str(i)), ("mode", mode))
                out.counter("node_cpu_seconds_total", "CPU time spent in each mode, in seconds.", value, labels)


def loadavg(host: Host, out: Gathering) -> None:
    """Add the three load averages."""
    for minutes, value in zip((1, 5, 15), psutil.getloadavg(), strict=True):
        out.gauge(f"node_load{minutes}", f"Load average over {minutes} minutes.", value)


def memory(host: Host, out: Gathering) -> None:
    """Add main memory and swap."""
    main: Any = psutil.virtual_memory()
    for field, name in _MEMORY.items():
        if hasattr(main, field):
            out.gauge(f"node_memory_{name}_bytes", f"Memory: {name}, in bytes.", getattr(main, field))
    swap = psutil.swap_memory()
    out.gauge("node_memory_swap_total_bytes", "Swap space, in bytes.", swap.total)
    out.gauge("node_memory_swap_used_bytes", "Swap space in use, in bytes.", swap.used)


def disks(host: Host, out: Gathering) -> None:
    """Add every block device that is not excluded."""
    for device, counters in (psutil.disk_io_counters(perdisk=True) or {}).items():
        if not found(host.settings.diskstats_device_exclude, device):
            for field, (name, help, factor) in _DISK.items():
                out.counter(name, help, getattr(counters, field, 0) * factor, (("device", device),))


def network(host: Host, out: Gathering) -> None:
    """Add every network device that is not excluded."""
    for device, counters in psutil.net_io_counters(pernic=True).items():
        if not found(host.settings.netdev_device_exclude, device):
            for field, (name, help) in _NETWORK.items():
                out.counter(name, help, getattr(counters, field), (("device", device),))


def boot(host: Host, out: Gathering) -> None:
    """Add the boot time and the time."""
    out.gauge("node_boot_time_seconds", "When the system booted, in seconds since 1970.", psutil.boot_time())
    out.gauge("node_time_seconds", "The system's time, in seconds since 1970.", time.time())


COLLECTORS: Final[dict[str, Callable[[Host, Gathering], None]]] = {
    "boottime": boot,
    "cpu": cpu,
    "diskstats": disks,
    "loadavg": loadavg,
    "meminfo": memory,
    "netdev": network,
}
"""Name -> collector, where the system has no /proc."""
