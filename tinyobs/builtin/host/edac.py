"""Memory errors.  Source: kernel driver-api/edac.  Names as node_exporter's `edac` collector."""

from __future__ import annotations

import re

from .gathering import Gathering
from .settings import Host

_CONTROLLER = re.compile(r"mc(\d+)\Z")
_ROW = re.compile(r"csrow(\d+)\Z")
_KINDS = (("ce", "correctable"), ("ue", "uncorrectable"))


def collect(host: Host, out: Gathering) -> None:
    """Add the error counts of each memory controller and row; a machine without ECC has none."""
    base = "devices/system/edac/mc"
    try:
        names = host.files.sys_names(base)
    except FileNotFoundError:
        return
    for name in names:
        match = _CONTROLLER.match(name)
        if match is None:
            continue
        controller = ("controller", match[1])
        for row, suffix in (("unknown", "_noinfo"), ("", "")):
            for short, kind in _KINDS:
                value = host.files.sys_number(f"{base}/{name}/{short}{suffix}_count")
                if value is not None:
                    _add(out, kind, value, controller, row)
        for entry in host.files.sys_names(f"{base}/{name}"):
            if number := _ROW.match(entry):
                for short, kind in _KINDS:
                    value = host.files.sys_number(f"{base}/{name}/{entry}/{short}_count")
                    if value is not None:
                        _add(out, kind, value, controller, number[1])


def _add(out: Gathering, kind: str, value: float, controller: tuple[str, str], row: str) -> None:
    if row:
        name, help = f"node_edac_csrow_{kind}_errors_total", f"Errors of a memory row that were {kind}."
        out.counter(name, help, value, (controller, ("csrow", row)))
    else:
        name, help = f"node_edac_{kind}_errors_total", f"Memory errors that were {kind}."
        out.counter(name, help, value, (controller,))
