"""Batteries and mains adapters.

Source: kernel ABI/testing/sysfs-class-power (microvolts, microamperes, microwatts; temperatures in tenths of a
degree).  Names as node_exporter's `powersupplyclass` collector.
"""

from __future__ import annotations

from typing import Final

from ...model.labels import from_mapping
from .gathering import Gathering
from .settings import Host

_PLAIN: Final = ["authentic", "calibrate", "capacity", "capacity_alert_max", "capacity_alert_min", "online", "present"]
_MICRO: Final = [
    "current_boot",
    "current_max",
    "energy_empty",
    "energy_empty_design",
    "energy_full",
    "energy_full_design",
    "voltage_boot",
    "voltage_max",
    "voltage_max_design",
    "voltage_min",
    "voltage_min_design",
    "voltage_ocv",
    "charge_control_limit",
    "charge_control_limit_max",
    "charge_counter",
    "charge_empty",
    "charge_empty_design",
    "charge_full",
    "charge_full_design",
    "charge_term_current",
    "constant_charge_current",
    "constant_charge_current_max",
    "constant_charge_voltage",
    "constant_charge_voltage_max",
    "precharge_current",
    "input_current_limit",
]
_TENTHS: Final = ["alert_max", "alert_min", "ambient", "ambient_max", "ambient_min", "max", "min"]
TEXTS: Final = [
    "capacity_level",
    "charge_type",
    "health",
    "manufacturer",
    "model_name",
    "serial_number",
    "status",
    "technology",
    "type",
    "usb_type",
    "scope",
]

NUMBERS: Final[dict[str, tuple[str, float]]] = (
    {name: (name, 1.0) for name in _PLAIN}
    | {name: (name, 1e6) for name in _MICRO}
    | {f"temp_{name}": (f"temp_{name}_celsius", 10.0) for name in _TENTHS}
    | {
        "cycle_count": ("cyclecount", 1.0),
        "time_to_empty_now": ("time_to_empty_seconds", 1.0),
        "time_to_full_now": ("time_to_full_seconds", 1.0),
        "current_now": ("current_ampere", 1e6),
        "energy_now": ("energy_watthour", 1e6),
        "voltage_now": ("voltage_volt", 1e6),
        "charge_now": ("charge_ampere", 1e6),
        "power_now": ("power_watt", 1e6),
        "temp": ("temp_celsius", 10.0),
    }
)
"""File name -> (name behind `node_power_supply_`, divisor)."""


def collect(host: Host, out: Gathering) -> None:
    """Add every supply; raises `OSError` where the class is missing."""
    for supply in host.files.sys_names("class/power_supply"):
        base = f"class/power_supply/{supply}"
        for file in host.files.sys_names(base):
            if file not in NUMBERS:
                continue
            name, divisor = NUMBERS[file]
            value = host.files.sys_number(f"{base}/{file}")
            if value is not None:
                help = f"{file} of the power supply, in base units."
                out.gauge(f"node_power_supply_{name}", help, value / divisor, (("power_supply", supply),))
        info = {name: host.files.sys_text(f"{base}/{name}") or "" for name in TEXTS} | {"power_supply": supply}
        out.gauge("node_power_supply_info", "Texts the power supply gives; always 1.", 1, from_mapping(info))
