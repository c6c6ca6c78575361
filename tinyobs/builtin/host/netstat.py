"""Protocol statistics.

Source: proc(5) /proc/net/netstat, snmp and snmp6.  Names as node_exporter's `netstat` collector:
`node_netstat_<protocol>_<field>`.
"""

from __future__ import annotations

from collections.abc import Iterator

from .gathering import Gathering
from .settings import Host, found


def collect(host: Host, out: Gathering) -> None:
    """Add the fields that `netstat_fields` selects; a kernel without IPv6 has no snmp6."""
    pattern = host.settings.netstat_fields
    texts = [host.files.proc("net/netstat"), host.files.proc("net/snmp")]
    try:
        snmp6 = host.files.proc("net/snmp6")
    except FileNotFoundError:
        snmp6 = ""
    for text in texts:
        for protocol, name, value in _paired_lines(text):
            _add(out, pattern, protocol, name, value)
    for line in snmp6.splitlines():
        name, value = line.split()
        at = name.find("6") + 1
        if at:
            _add(out, pattern, name[:at], name[at:], value)


def _add(out: Gathering, pattern: str, protocol: str, name: str, value: str) -> None:
    key = f"{protocol}_{name}"
    if found(pattern, key):
        out.untyped(f"node_netstat_{key}", f"{name} of protocol {protocol}.", float(value))


def _paired_lines(text: str) -> Iterator[tuple[str, str, str]]:
    """Yield (protocol, field, value) of a table in which each line of names is followed by one of values."""
    lines = text.splitlines()
    for names, values in zip(lines[::2], lines[1::2], strict=True):
        protocol, *fields = names.split()
        other, *numbers = values.split()
        if protocol != other or len(fields) != len(numbers):
            raise ValueError(f"lines of {protocol} and {other} do not belong together")
        for field, number in zip(fields, numbers, strict=True):
            yield protocol.rstrip(":"), field, number
