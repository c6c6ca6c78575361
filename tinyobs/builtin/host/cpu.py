"""CPU time by mode, guest time, thermal throttling and isolation.

Sources: proc(5) /proc/stat, whose unit is the clock tick; kernel ABI/testing/sysfs-devices-system-cpu.  Names as
node_exporter's `cpu` collector.
"""

from __future__ import annotations

import os
import re
from typing import Final

from attrs import define, field

from .gathering import Gathering
from .settings import Host

MODES: Final = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
"""The first eight columns of a cpu line; the ninth and tenth are guest and guest_nice."""
CPUS_MAX: Final = 65_536
"""Highest number of a CPU that a range of CPUs may name; Linux knows 8192."""
_IDLE: Final = MODES.index("idle")
HOTPLUG_JUMP_SECONDS: Final = 3.0
"""An idle counter that falls by more belongs to a CPU that went away and came back: its counters start anew."""

_SECONDS = "CPU time spent in each mode, in seconds."
_GUEST = "CPU time spent running virtual machines, in seconds; part of the modes user and nice as well."
_CPU_DIR = re.compile(r"cpu\d+\Z")


@define
class CpuCollector:
    """Keeps the last counters: the kernel's idle and iowait may step back by a tick, and counters must not."""

    _last: dict[str, list[float]] = field(factory=dict, init=False)
    _ticks_per_second: int = field(factory=lambda: os.sysconf("SC_CLK_TCK"), init=False)

    def __call__(self, host: Host, out: Gathering) -> None:
        """Add the families of all CPUs that are online."""
        current: dict[str, list[float]] = {}
        for line in host.files.proc("stat").splitlines():
            if not line.startswith("cpu"):
                break
            name, *columns = line.split()
            if name == "cpu":
                continue
            ticks = [int(c) / self._ticks_per_second for c in columns[:10]]
            current[name[3:]] = _monotonic(self._last.get(name[3:]), ticks + [0.0] * (10 - len(ticks)))
        self._last = current
        for cpu, seconds in current.items():
            for mode, value in zip(MODES, seconds, strict=False):
                out.counter("node_cpu_seconds_total", _SECONDS, value, (("cpu", cpu), ("mode", mode)))
            out.counter("node_cpu_guest_seconds_total", _GUEST, seconds[8], (("cpu", cpu), ("mode", "user")))
            out.counter("node_cpu_guest_seconds_total", _GUEST, seconds[9], (("cpu", cpu), ("mode", "nice")))
        _add_throttles(host, out)
        _add_isolated(host, out)


def _monotonic(old: list[float] | None, new: list[float]) -> list[float]:
    if old is None or old[_IDLE] - new[_IDLE] >= HOTPLUG_JUMP_SECONDS:
        return new
    return list(map(max, old, new))


def _add_throttles(host: Host, out: Gathering) -> None:
    """Add how often cores and packages were slowed down for heat; each core and package once."""
    files, base = host.files, "devices/system/cpu"
    packages: set[str] = set()
    cores: set[tuple[str, str]] = set()
    try:
        names = [n for n in files.sys_names(base) if _CPU_DIR.match(n)]
    except OSError:
        return
    for name in names:
        if not os.path.isdir(f"{files.sysfs}/{base}/{name}/thermal_throttle"):
            continue
        package = files.sys_text(f"{base}/{name}/topology/physical_package_id")
        core = files.sys_text(f"{base}/{name}/topology/core_id")
        if package is None or core is None:
            continue
        count = files.sys_number(f"{base}/{name}/thermal_throttle/core_throttle_count")
        if (package, core) not in cores and count is not None:
            cores.add((package, core))
            help_core = "Times a core was throttled."
            out.counter("node_cpu_core_throttles_total", help_core, count, (("core", core), ("package", package)))
        count = files.sys_number(f"{base}/{name}/thermal_throttle/package_throttle_count")
        if package not in packages and count is not None:
            packages.add(package)
            out.counter(
                "node_cpu_package_throttles_total", "Times a package was throttled.", count, (("package", package),)
            )


def _add_isolated(host: Host, out: Gathering) -> None:
    for part in (host.files.sys_text("devices/system/cpu/isolated") or "").split(","):
        first, _, last = part.partition("-")
        if first.isdigit():
            end = min(int(last if last.isdigit() else first), CPUS_MAX)
            for cpu in range(int(first), end + 1):
                out.gauge("node_cpu_isolated", "CPUs kept free of the scheduler's load.", 1, (("cpu", str(cpu)),))
