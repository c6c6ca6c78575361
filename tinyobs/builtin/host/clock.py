"""The system's time, time zone and clock sources.

Source: kernel ABI/testing/sysfs-devices-clocksource.  Names as node_exporter's `time` collector.
"""

from __future__ import annotations

import time

from .gathering import Gathering
from .settings import Host


def collect(host: Host, out: Gathering) -> None:
    """Add now, the offset of the local zone, and the clock sources."""
    now = time.time()
    local = time.localtime(now)
    out.gauge("node_time_seconds", "The system's time, in seconds since 1970.", now)
    help = "Offset of the local time zone from UTC, in seconds."
    out.gauge("node_time_zone_offset_seconds", help, local.tm_gmtoff, (("time_zone", local.tm_zone),))
    base = "devices/system/clocksource"
    try:
        names = host.files.sys_names(base)
    except FileNotFoundError:
        return
    for name in names:
        if not name.startswith("clocksource"):
            continue
        device = ("device", name.removeprefix("clocksource"))
        for source in (host.files.sys_text(f"{base}/{name}/available_clocksource") or "").split():
            help = "Clock sources that can be used; always 1."
            out.gauge("node_time_clocksource_available_info", help, 1, (("clocksource", source), device))
        current = host.files.sys_text(f"{base}/{name}/current_clocksource")
        if current:
            help = "The clock source in use; always 1."
            out.gauge("node_time_clocksource_current_info", help, 1, (("clocksource", current), device))
