"""The table of contents: every collector by the name that node_exporter gives it.

To add one: write a module with `collect(host, out)` and enter it here.  What keeps state between two collections is a
class, made once per exporter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from . import (
    arp,
    bonding,
    clock,
    conntrack,
    cpufreq,
    diskstats,
    dmi,
    edac,
    entropy,
    filefd,
    hwmon,
    loadavg,
    mdadm,
    meminfo,
    netclass,
    netdev,
    netstat,
    nvme,
    os_release,
    power_supply,
    pressure,
    processes,
    rapl,
    schedstat,
    selinux,
    sockstat,
    softnet,
    stat,
    thermal_zone,
    timex,
    udp_queues,
    uname,
    vmstat,
)
from .cpu import CpuCollector
from .filesystem import FilesystemCollector
from .gathering import Gathering
from .settings import COLLECTOR_NAMES, Host
from .textfile import TextfileCollector

Collector: TypeAlias = Callable[[Host, Gathering], None]
"""Adds what it finds; raises `OSError` where the system lacks it, `ValueError` where a file is not as documented."""

STATELESS: Final[Mapping[str, Collector]] = {
    "arp": arp.collect,
    "bonding": bonding.collect,
    "conntrack": conntrack.collect,
    "cpufreq": cpufreq.collect,
    "diskstats": diskstats.collect,
    "dmi": dmi.collect,
    "edac": edac.collect,
    "entropy": entropy.collect,
    "filefd": filefd.collect,
    "hwmon": hwmon.collect,
    "loadavg": loadavg.collect,
    "mdadm": mdadm.collect,
    "meminfo": meminfo.collect,
    "netclass": netclass.collect,
    "netdev": netdev.collect,
    "netstat": netstat.collect,
    "nvme": nvme.collect,
    "os": os_release.collect,
    "powersupplyclass": power_supply.collect,
    "pressure": pressure.collect,
    "processes": processes.collect,
    "rapl": rapl.collect,
    "schedstat": schedstat.collect,
    "selinux": selinux.collect,
    "sockstat": sockstat.collect,
    "softnet": softnet.collect,
    "stat": stat.collect,
    "thermal_zone": thermal_zone.collect,
    "time": clock.collect,
    "timex": timex.collect,
    "udp_queues": udp_queues.collect,
    "uname": uname.collect,
    "vmstat": vmstat.collect,
}
STATEFUL: Final[Mapping[str, Callable[[], Collector]]] = {
    "cpu": CpuCollector,
    "filesystem": FilesystemCollector,
    "textfile": TextfileCollector,
}
OFF_BY_DEFAULT: Final = frozenset({"processes"})
"""Costly: off unless named, as upstream."""
NAMES: Final = frozenset({*STATELESS, *STATEFUL})


def linux_collectors() -> dict[str, Collector]:
    """Return new collectors for one exporter, in order of their names."""
    assert NAMES <= COLLECTOR_NAMES
    made = {**STATELESS, **{name: make() for name, make in STATEFUL.items()}}
    return {name: made[name] for name in sorted(made)}
