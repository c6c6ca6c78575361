"""Block devices.  Source: kernel admin-guide/iostats; udev's database for `node_disk_info`.

Names as node_exporter's `diskstats` collector.  Columns that an older kernel lacks are left out.
"""

from __future__ import annotations

from typing import Final

from ...model.labels import from_mapping
from .files import HostFiles
from .gathering import Gathering
from .settings import Host, found

SECTOR_BYTES: Final = 512
"""The unit of /proc/diskstats, whatever the device's own sector size."""
_MS: Final = 0.001

COLUMNS: Final = (
    ("node_disk_reads_completed_total", "Reads that succeeded.", 1.0),
    ("node_disk_reads_merged_total", "Reads merged with a neighbour.", 1.0),
    ("node_disk_read_bytes_total", "Bytes read.", float(SECTOR_BYTES)),
    ("node_disk_read_time_seconds_total", "Time spent by all reads, in seconds.", _MS),
    ("node_disk_writes_completed_total", "Writes that succeeded.", 1.0),
    ("node_disk_writes_merged_total", "Writes merged with a neighbour.", 1.0),
    ("node_disk_written_bytes_total", "Bytes written.", float(SECTOR_BYTES)),
    ("node_disk_write_time_seconds_total", "Time spent by all writes, in seconds.", _MS),
    ("node_disk_io_now", "Requests in flight.", 1.0),
    ("node_disk_io_time_seconds_total", "Time with at least one request in flight, in seconds.", _MS),
    ("node_disk_io_time_weighted_seconds_total", "Time in flight summed over all requests, in seconds.", _MS),
    ("node_disk_discards_completed_total", "Discards that succeeded.", 1.0),
    ("node_disk_discards_merged_total", "Discards merged with a neighbour.", 1.0),
    ("node_disk_discarded_sectors_total", "Sectors discarded.", 1.0),
    ("node_disk_discard_time_seconds_total", "Time spent by all discards, in seconds.", _MS),
    ("node_disk_flush_requests_total", "Flushes that succeeded.", 1.0),
    ("node_disk_flush_requests_time_seconds_total", "Time spent by all flushes, in seconds.", _MS),
)
"""Name, help and factor of each column behind the device name."""

UDEV_LABELS: Final = {
    "E:ID_PATH": "path",
    "E:ID_MODEL": "model",
    "E:ID_SERIAL_SHORT": "serial",
    "E:ID_WWN": "wwn",
    "E:ID_REVISION": "revision",
}


def collect(host: Host, out: Gathering) -> None:
    """Add every device that is not excluded."""
    exclude = host.settings.diskstats_device_exclude
    for line in host.files.proc("diskstats").splitlines():
        major, minor, device, *columns = line.split()
        if found(exclude, device):
            continue
        labels = (("device", device),)
        for (name, help, factor), value in zip(COLUMNS, columns, strict=False):
            add = out.gauge if name == "node_disk_io_now" else out.counter
            add(name, help, float(value) * factor, labels)
        info = _udev_properties(host.files, major, minor) | {"device": device, "major": major, "minor": minor}
        info["rotational"] = host.files.sys_text(f"block/{device}/queue/rotational") or ""
        out.gauge("node_disk_info", "What the device is; always 1.", 1, from_mapping(info))


def _udev_properties(files: HostFiles, major: str, minor: str) -> dict[str, str]:
    try:
        text = files.root(f"/run/udev/data/b{major}:{minor}")
    except OSError:
        return {}
    found_labels = {}
    for line in text.splitlines():
        key, _, value = line.partition("=")
        if key in UDEV_LABELS:
            found_labels[UDEV_LABELS[key]] = value
    return found_labels
