"""NVMe drives.  Source: /sys/class/nvme of the kernel's driver.  Names as node_exporter's `nvme` collector."""

from __future__ import annotations

from ...model.labels import from_mapping
from .gathering import Gathering
from .settings import Host


def collect(host: Host, out: Gathering) -> None:
    """Add one info point per drive; raises `OSError` where the class is missing."""
    for device in host.files.sys_names("class/nvme"):
        files = {"firmware_revision": "firmware_rev", "model": "model", "serial": "serial", "state": "state"}
        info = {label: host.files.sys_text(f"class/nvme/{device}/{file}") or "" for label, file in files.items()}
        labels = from_mapping(info | {"device": device})
        out.gauge("node_nvme_info", "What the drive says of itself; always 1.", 1, labels)
