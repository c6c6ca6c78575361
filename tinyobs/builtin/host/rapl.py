"""Energy used by packages, cores and memory.

Source: kernel power/powercap.  Names as node_exporter's `rapl` collector.  Since 2020 kernels let only root read it.
"""

from __future__ import annotations

import re

from .gathering import Gathering
from .settings import Host

_ZONE = re.compile(r"[^:]+:\d+(:\d+)*\Z")
_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9:_]")
_PER_JOULE = 1e6


def collect(host: Host, out: Gathering) -> None:
    """Add the energy of every zone; a name `package-0` is split into the metric's name and the index."""
    names = [n for n in host.files.sys_names("class/powercap") if _ZONE.match(n)]
    if not names:
        raise FileNotFoundError("no powercap zone")
    for zone in names:
        base = f"class/powercap/{zone}"
        label = host.files.sys(f"{base}/name")
        energy = float(host.files.sys(f"{base}/energy_uj"))
        stem, dash, index = label.rpartition("-")
        if not dash or not index.isdigit():
            stem, index = label, zone.rsplit(":", 1)[-1]
        metric = f"node_rapl_{_NOT_IN_NAMES.sub('_', stem)}_joules_total"
        labels = (("index", index), ("path", f"{host.files.sysfs}/{base}"))
        out.counter(metric, "Energy used by the zone, in joules.", energy / _PER_JOULE, labels)
