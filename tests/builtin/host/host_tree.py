"""A host made of files: tests write what /proc, /sys and / shall hold and read series back."""

from __future__ import annotations

from pathlib import Path

from tinyobs.builtin.host.gathering import Gathering
from tinyobs.builtin.host.settings import Host, HostSettings
from tinyobs.model.labels import to_text


class HostTree:
    """Files below a temporary folder, and collectors run on them."""

    def __init__(self, base: Path) -> None:
        self.base = base
        for name in ("proc", "sys", "root"):
            (base / name).mkdir()

    def write(self, path: str, text: str) -> None:
        """Write a file given as `proc/...`, `sys/...` or `root/...`."""
        file = self.base / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def settings(self, **changes) -> HostSettings:
        """Return settings that point at the tree."""
        b = self.base
        paths = {"path_procfs": f"{b}/proc", "path_sysfs": f"{b}/sys", "path_rootfs": f"{b}/root"}
        return HostSettings(**(paths | changes))

    def families(self, collector, **changes):
        """Run a collector and return its families by name."""
        settings = self.settings(**changes)
        out = Gathering()
        collector(Host(settings.files(), settings), out)
        return {f.name: f for f in out.families()}

    def series(self, collector, **changes) -> dict[str, float]:
        """Run a collector and return its points as `name{labels}` -> value."""
        found = {}
        for f in self.families(collector, **changes).values():
            for p in f.points:
                assert p.labels == tuple(sorted(p.labels)), f"labels of {f.name} are out of order"
                assert all(v for _, v in p.labels), f"{f.name} has an empty label"
                key = f.name + (to_text(p.labels) if p.labels else "")
                assert key not in found, f"{key} appears twice"
                found[key] = p.value
        return found
