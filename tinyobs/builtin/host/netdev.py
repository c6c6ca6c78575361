"""Traffic of network devices.

Sources: proc(5) /proc/net/dev, and sysfs for `rx_nohandler`, which that table lacks.  Names as node_exporter's
`netdev` collector.
"""

from __future__ import annotations

from typing import Final

from .gathering import Gathering
from .settings import Host, found

COLUMNS: Final = (
    ("node_network_receive_bytes_total", "Bytes received."),
    ("node_network_receive_packets_total", "Packets received."),
    ("node_network_receive_errs_total", "Packets received with an error."),
    ("node_network_receive_drop_total", "Received packets that were dropped."),
    ("node_network_receive_fifo_total", "Received packets lost to a full buffer of the device."),
    ("node_network_receive_frame_total", "Received packets with a framing error."),
    ("node_network_receive_compressed_total", "Compressed packets received."),
    ("node_network_receive_multicast_total", "Multicast packets received."),
    ("node_network_transmit_bytes_total", "Bytes sent."),
    ("node_network_transmit_packets_total", "Packets sent."),
    ("node_network_transmit_errs_total", "Packets whose sending failed."),
    ("node_network_transmit_drop_total", "Packets dropped instead of sent."),
    ("node_network_transmit_fifo_total", "Packets lost to a full send buffer of the device."),
    ("node_network_transmit_colls_total", "Collisions while sending."),
    ("node_network_transmit_carrier_total", "Packets not sent for lack of a carrier."),
    ("node_network_transmit_compressed_total", "Compressed packets sent."),
)
"""Name and help of each column behind the device name."""


def collect(host: Host, out: Gathering) -> None:
    """Add every device that is not excluded; the first two lines of the table are its heading."""
    exclude = host.settings.netdev_device_exclude
    for line in host.files.proc("net/dev").splitlines()[2:]:
        device, colon, rest = line.rpartition(":")
        device = device.strip()
        if not colon or found(exclude, device):
            continue
        labels = (("device", device),)
        for (name, help), value in zip(COLUMNS, rest.split(), strict=False):
            out.counter(name, help, float(value), labels)
        nohandler = host.files.sys_number(f"class/net/{device}/statistics/rx_nohandler")
        if nohandler is not None:
            out.counter(
                "node_network_receive_nohandler_total", "Received packets that no protocol wanted.", nohandler, labels
            )
