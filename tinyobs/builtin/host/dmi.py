"""The make of the machine.

Source: kernel ABI/testing/sysfs-class-dmi.  Names as node_exporter's `dmi` collector.  Serial numbers are readable
for root only; what cannot be read is left out.
"""

from __future__ import annotations

from typing import Final

from ...model.labels import from_mapping
from .gathering import Gathering
from .settings import Host

FILES: Final = {
    "bios_date": "bios_date",
    "bios_release": "bios_release",
    "bios_vendor": "bios_vendor",
    "bios_version": "bios_version",
    "board_asset_tag": "board_asset_tag",
    "board_name": "board_name",
    "board_serial": "board_serial",
    "board_vendor": "board_vendor",
    "board_version": "board_version",
    "chassis_asset_tag": "chassis_asset_tag",
    "chassis_serial": "chassis_serial",
    "chassis_vendor": "chassis_vendor",
    "chassis_version": "chassis_version",
    "product_family": "product_family",
    "product_name": "product_name",
    "product_serial": "product_serial",
    "product_sku": "product_sku",
    "product_uuid": "product_uuid",
    "product_version": "product_version",
    "sys_vendor": "system_vendor",
}
"""File name -> label name."""


def collect(host: Host, out: Gathering) -> None:
    """Add one info point; raises `OSError` where the machine has no DMI table."""
    present = set(host.files.sys_names("class/dmi/id"))
    info = {label: host.files.sys_text(f"class/dmi/id/{f}") or "" for f, label in FILES.items() if f in present}
    out.gauge("node_dmi_info", "Vendor, model and version of the machine's parts; always 1.", 1, from_mapping(info))
