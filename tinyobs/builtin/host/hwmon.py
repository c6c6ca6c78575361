"""Hardware sensors: temperatures, fans, voltages, currents, power.

Source: kernel hwmon/sysfs-interface.  Names as node_exporter's `hwmon` collector: `node_hwmon_<type>[_<element>]` and
a unit, labels `chip` (stable: from the device's path, not from the load order of modules) and `sensor`.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from typing import Final

from ...model.labels import Labels
from .files import HostFiles, to_number
from .gathering import Gathering
from .settings import Host

TYPES: Final = frozenset(
    [
        "vrm",
        "beep_enable",
        "update_interval",
        "in",
        "cpu",
        "fan",
        "pwm",
        "temp",
        "curr",
        "power",
        "energy",
        "humidity",
        "intrusion",
        "freq",
    ]
)
MILLI: Final = 1e3
MICRO: Final = 1e6
_FILE = re.compile(r"([^0-9]+)([0-9]*)(?:_(.+))?\Z")
_NOT_IN_NAMES = re.compile(r"[^a-z0-9:_]")
_BARE_ELEMENTS: Final = frozenset(("fault", "alarm"))


def collect(host: Host, out: Gathering) -> None:
    """Add the sensors of every chip; raises `OSError` where there is no hwmon class."""
    files = host.files
    entries = [e for e in files.sys_names("class/hwmon") if os.path.isdir(f"{files.sysfs}/class/hwmon/{e}")]
    chips = {entry: _chip(files, f"class/hwmon/{entry}", entry) for entry in entries}
    uses = Counter(chips.values())
    for entry, chip in chips.items():
        base = f"class/hwmon/{entry}"
        directory = f"{files.sysfs}/{base}"
        chip = f"{chip}_{entry}" if uses[chip] > 1 else chip
        name = clean(files.sys_text(f"{base}/name") or "")
        if name:
            labels = (("chip", chip), ("chip_name", name))
            out.gauge("node_hwmon_chip_names", "The chip's own name for itself; always 1.", 1, labels)
        sensors: dict[tuple[str, str], dict[str, str]] = {}
        for path in (directory, f"{directory}/device"):
            _read_sensors(files, path, sensors)
        for (kind, sensor), elements in sensors.items():
            _add_sensor(out, chip, kind, sensor, elements)


def clean(text: str) -> str:
    """Return a text in the characters that names may have."""
    return _NOT_IN_NAMES.sub("_", text.strip().lower()).strip("_")


def _chip(files: HostFiles, base: str, entry: str) -> str:
    """Return a name that stays the same over reboots: bus and device, else the chip's name, else the entry's."""
    device = f"{files.sysfs}/{base}/device"
    if os.path.lexists(device):
        parent, name = os.path.split(os.path.realpath(device))
        kind, name = clean(os.path.basename(parent)), clean(name)
        if name:
            return f"{kind}_{name}" if kind else name
    return clean(files.sys_text(f"{base}/name") or "") or clean(entry)


def _read_sensors(files: HostFiles, directory: str, sensors: dict[tuple[str, str], dict[str, str]]) -> None:
    """Fill (type, sensor) -> element -> text from the files of a directory; "" is the element of a bare file."""
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return
    below = os.path.relpath(directory, files.sysfs)
    for name in names:
        match = _FILE.match(name)
        if match is None or match[1] not in TYPES:
            continue
        text = files.sys_text(f"{below}/{name}")
        if text is not None:
            sensors.setdefault((match[1], match[1] + (match[2] or "0")), {})[match[3] or ""] = text


def _add_sensor(out: Gathering, chip: str, kind: str, sensor: str, elements: dict[str, str]) -> None:
    labels: Labels = (("chip", chip), ("sensor", sensor))
    label = elements.get("label", "")
    if label:
        of: Labels = (("chip", chip), ("label", label), ("sensor", sensor))
        out.gauge("node_hwmon_sensor_label", "What the chip calls the sensor; always 1.", 1, of)
    for element, text in elements.items():
        value = to_number(text)
        if element == "label" or value is None:
            continue
        if kind == "beep_enable":
            out.gauge("node_hwmon_beep_enabled", "Whether the chip may beep.", value == 1, labels)
        elif kind == "vrm":
            out.gauge("node_hwmon_voltage_regulator_version", "Version of the voltage regulator.", value, labels)
        elif kind == "update_interval":
            help = "Time between two readings of the chip, in seconds."
            out.gauge("node_hwmon_update_interval_seconds", help, value / MILLI, labels)
        elif kind == "freq" and element == "input":
            # Upstream's way: the name says it twice, and the label takes the sensor's place.
            if label:
                of = (("chip", chip), ("sensor", clean(label)))
                out.gauge("node_hwmon_freq_freq_mhz", "Clock of a graphics processor, in megahertz.", value / MICRO, of)
        else:
            name = f"node_hwmon_{kind}"
            if element == "input":
                name += "_input" if "" in elements else ""
            elif element:
                name += f"_{clean(element)}"
            suffix, divisor = _unit(kind, element)
            add = out.counter if suffix.endswith("_total") else out.gauge
            add(name + suffix, f"Sensor reading of kind {kind}: {element or 'value'}.", value / divisor, labels)


def _unit(kind: str, element: str) -> tuple[str, float]:
    """Return (suffix of the name, divisor to base units) of one element of a sensor."""
    if element in _BARE_ELEMENTS:
        return "", 1.0
    if element == "beep":
        return "_enabled", 1.0
    if kind in ("in", "cpu"):
        return "_volts", MILLI
    if kind == "temp" and element != "type":
        return "_celsius", MILLI
    if kind == "curr":
        return "_amps", MILLI
    if kind == "energy":
        return "_joule_total", MICRO
    if kind == "power":
        if element == "accuracy":
            return "", MICRO
        return ("_seconds", MILLI) if element.startswith("average_interval") else ("_watt", MICRO)
    if kind == "humidity":
        return "", MICRO
    if kind == "fan" and element in ("input", "min", "max", "target"):
        return "_rpm", 1.0
    return "", 1.0
