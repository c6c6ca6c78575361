"""Thermal zones and cooling devices.

Source: kernel driver-api/thermal/sysfs-api.  Names as node_exporter's `thermal_zone` collector.
"""

from __future__ import annotations

from .gathering import Gathering
from .settings import Host

_PER_DEGREE = 1e3


def collect(host: Host, out: Gathering) -> None:
    """Add every zone and device that answers; a zone that is switched off refuses to be read."""
    for entry in host.files.sys_names("class/thermal"):
        base = f"class/thermal/{entry}"
        kind = host.files.sys_text(f"{base}/type")
        if not kind:
            continue
        if entry.startswith("thermal_zone"):
            value = host.files.sys_number(f"{base}/temp")
            labels = (("type", kind), ("zone", entry.removeprefix("thermal_zone")))
            if value is not None:
                out.gauge(
                    "node_thermal_zone_temp",
                    "Temperature of the zone, in degrees Celsius.",
                    value / _PER_DEGREE,
                    labels,
                )
        elif entry.startswith("cooling_device"):
            labels = (("name", entry.removeprefix("cooling_device")), ("type", kind))
            for file in ("cur_state", "max_state"):
                value = host.files.sys_number(f"{base}/{file}")
                if value is not None:
                    which = "present" if file == "cur_state" else "highest"
                    out.gauge(f"node_cooling_device_{file}", f"The {which} cooling step.", value, labels)
