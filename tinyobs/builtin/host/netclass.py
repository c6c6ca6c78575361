"""Properties of network devices.

Source: kernel ABI/testing/sysfs-class-net.  Names as node_exporter's `netclass` collector.
"""

from __future__ import annotations

import os
from typing import Final

from ...model.labels import from_mapping
from .files import to_number
from .gathering import Gathering
from .settings import Host, found

GAUGES: Final = {
    "addr_assign_type": ("node_network_address_assign_type", "How the hardware address was chosen."),
    "carrier": ("node_network_carrier", "Whether the link is there."),
    "dev_id": ("node_network_device_id", "Number that tells apart devices sharing an address."),
    "dormant": ("node_network_dormant", "Whether the device waits for an external event before it works."),
    "flags": ("node_network_flags", "Flags of the device, as a bit set."),
    "ifindex": ("node_network_iface_id", "Number of the device."),
    "iflink": ("node_network_iface_link", "Number of the device below this one."),
    "link_mode": ("node_network_iface_link_mode", "Link mode: 0 default, 1 dormant."),
    "mtu": ("node_network_mtu_bytes", "Largest packet, in bytes."),
    "name_assign_type": ("node_network_name_assign_type", "How the name was chosen."),
    "netdev_group": ("node_network_net_dev_group", "Group of the device."),
    "tx_queue_len": ("node_network_transmit_queue_length", "Length of the send queue, in packets."),
    "type": ("node_network_protocol_type", "Protocol type of the device."),
}
COUNTERS: Final = {
    "carrier_changes": ("node_network_carrier_changes_total", "Times the link came or went."),
    "carrier_up_count": ("node_network_carrier_up_changes_total", "Times the link came."),
    "carrier_down_count": ("node_network_carrier_down_changes_total", "Times the link went."),
}
SPEED: Final = ("node_network_speed_bytes", "Speed of the link, in bytes per second; negative where unknown.")
_MEGABIT_BYTES: Final = 125_000
_FLAG_UP: Final = 1


def collect(host: Host, out: Gathering) -> None:
    """Add every device that is not ignored."""
    for device in host.files.sys_names("class/net"):
        is_directory = os.path.isdir(f"{host.files.sysfs}/class/net/{device}")
        if is_directory and not found(host.settings.netclass_ignored_devices, device):
            _add_device(host, out, device)


def _add_device(host: Host, out: Gathering, device: str) -> None:
    files, base, labels = host.files, f"class/net/{device}", (("device", device),)
    for file, (name, help) in GAUGES.items():
        value = files.sys_number(f"{base}/{file}")
        if value is not None:
            out.gauge(name, help, value, labels)
    for file, (name, help) in COUNTERS.items():
        value = files.sys_number(f"{base}/{file}")
        if value is not None:
            out.counter(name, help, value, labels)
    speed = files.sys_number(f"{base}/speed")
    if speed is not None:
        out.gauge(*SPEED, speed * _MEGABIT_BYTES, labels)
    texts = {key: files.sys_text(f"{base}/{key}") or "" for key in ("address", "broadcast", "duplex", "ifalias")}
    operstate = files.sys_text(f"{base}/operstate") or ""
    flags = to_number(files.sys_text(f"{base}/flags"))
    admin = "unknown" if flags is None else "up" if int(flags) & _FLAG_UP else "down"
    out.gauge("node_network_up", "Whether the device is operational.", operstate == "up", labels)
    info = from_mapping(texts | {"device": device, "operstate": operstate, "adminstate": admin})
    out.gauge("node_network_info", "Properties of the device that are no numbers; always 1.", 1, info)
