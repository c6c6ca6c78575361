"""CPU frequencies.

Source: kernel admin-guide/pm/cpufreq, whose unit is kHz.  Names as node_exporter's `cpufreq` collector.
"""

from __future__ import annotations

import re
from typing import Final

from .gathering import Gathering
from .settings import Host

FILES: Final = {
    "cpuinfo_cur_freq": ("node_cpu_frequency_hertz", "Frequency at which the CPU runs, in hertz."),
    "cpuinfo_min_freq": ("node_cpu_frequency_min_hertz", "Lowest frequency of the CPU, in hertz."),
    "cpuinfo_max_freq": ("node_cpu_frequency_max_hertz", "Highest frequency of the CPU, in hertz."),
    "scaling_cur_freq": ("node_cpu_scaling_frequency_hertz", "Frequency asked for, in hertz."),
    "scaling_min_freq": ("node_cpu_scaling_frequency_min_hertz", "Lowest frequency allowed, in hertz."),
    "scaling_max_freq": ("node_cpu_scaling_frequency_max_hertz", "Highest frequency allowed, in hertz."),
}
_KILOHERTZ: Final = 1000.0
_CPU_DIR = re.compile(r"cpu(\d+)\Z")


def collect(host: Host, out: Gathering) -> None:
    """Add the frequencies and the governor of every CPU that scales."""
    for name in host.files.sys_names("devices/system/cpu"):
        match = _CPU_DIR.match(name)
        if match is None:
            continue
        cpu, base = match[1], f"devices/system/cpu/{name}/cpufreq"
        for file, (metric, help) in FILES.items():
            value = host.files.sys_number(f"{base}/{file}")
            if value is not None:
                out.gauge(metric, help, value * _KILOHERTZ, (("cpu", cpu),))
        current = host.files.sys_text(f"{base}/scaling_governor")
        if current:
            for governor in (host.files.sys_text(f"{base}/scaling_available_governors") or current).split():
                labels = (("cpu", cpu), ("governor", governor))
                out.gauge("node_cpu_scaling_governor", "The governor in force is 1.", governor == current, labels)
