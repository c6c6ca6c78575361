"""The operating system.  Source: os-release(5).  Names as node_exporter's `os` collector."""

from __future__ import annotations

import datetime
import re
import shlex
from typing import Final

from ...model.labels import from_mapping
from .gathering import Gathering
from .settings import Host

FIELDS: Final = [
    "BUILD_ID",
    "ID",
    "ID_LIKE",
    "IMAGE_ID",
    "IMAGE_VERSION",
    "NAME",
    "PRETTY_NAME",
    "VARIANT",
    "VARIANT_ID",
    "VERSION",
    "VERSION_CODENAME",
    "VERSION_ID",
]
PLACES: Final = ("/etc/os-release", "/usr/lib/os-release")
_MAJOR_MINOR = re.compile(r"\d+\.?\d*")


def collect(host: Host, out: Gathering) -> None:
    """Add what the first readable os-release file says; raises `OSError` where there is none."""
    values = parse_os_release(_read(host))
    info = {name.lower(): values.get(name, "") for name in FIELDS}
    out.gauge("node_os_info", "What os-release says of the system; always 1.", 1, from_mapping(info))
    match = _MAJOR_MINOR.match(values.get("VERSION_ID", ""))
    if match:
        labels = from_mapping({key: info[key] for key in ("id", "id_like", "name")})
        out.gauge("node_os_version", "Version of the system: major.minor as a number.", float(match[0]), labels)
    try:
        end = datetime.datetime.fromisoformat(values.get("SUPPORT_END", "")).replace(tzinfo=datetime.UTC)
    except ValueError:
        return
    help = "When the support of the system ends, in seconds since 1970."
    out.gauge("node_os_support_end_timestamp_seconds", help, end.timestamp())


def parse_os_release(text: str) -> dict[str, str]:
    """Return the assignments of an os-release text; a line whose quotes do not close is skipped."""
    values = {}
    for line in text.splitlines():
        name, equals, value = line.strip().partition("=")
        if not equals or name.startswith("#"):
            continue
        try:
            values[name] = "".join(shlex.split(value))
        except ValueError:
            continue
    return values


def _read(host: Host) -> str:
    for place in PLACES[:-1]:
        try:
            return host.files.root(place)
        except OSError:
            continue
    return host.files.root(PLACES[-1])
