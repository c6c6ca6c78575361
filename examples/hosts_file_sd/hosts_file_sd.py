"""A plugin that finds targets: `hosts_file_sd_configs` makes a target of every host in a file like /etc/hosts.

    scrape_configs:
      - job_name: nodes
        hosts_file_sd_configs:
          - file: /etc/hosts
            port: 9100

A target has the address from the file, and the names of its host as `__meta_hosts_file_name` (the first) and
`__meta_hosts_file_names` (all, separated and surrounded by commas) for relabelling.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

import structlog
import trio
from attrs import frozen

import tinyobs
from tinyobs.abc import Discoverer, DiscovererContext, DiscovererKind, TargetGroup
from tinyobs.config.fields import FilePath, setting
from tinyobs.model.durations import DurationMs

FILE_BYTES_MAX: Final = 1 << 20
"""Longest hosts file that is read."""

log = structlog.get_logger("hosts_file_sd")


@frozen(kw_only=True)
class HostsFileConfig:
    """One entry of `hosts_file_sd_configs`."""

    file: FilePath = setting(default=FilePath("/etc/hosts"))
    """A relative path starts at the folder of the configuration file."""
    port: int = setting(default=9100, low=1, high=65535)
    refresh_interval_ms: DurationMs = setting("refresh_interval", default=DurationMs(30_000), low=100)
    """How often the file is read; default 30s."""


class HostsFileDiscoverer(Discoverer):
    """Reads one file again and again and publishes when its content changes."""

    def __init__(self, config: HostsFileConfig, context: DiscovererContext) -> None:
        self._config = config

    async def run(
        self, publish: Callable[[Sequence[TargetGroup]], Awaitable[None]], *, task_status: trio.TaskStatus[None]
    ) -> None:
        """Publish at once, then whatever changes; a file that cannot be read leaves the last targets standing."""
        last = await self._read() or TargetGroup(self._config.file, ())
        await publish([last])
        task_status.started()
        while True:
            await trio.sleep(self._config.refresh_interval_ms / 1000)
            now = await self._read()
            if now is not None and now != last:
                last = now
                await publish([now])

    async def _read(self) -> TargetGroup | None:
        try:
            text = await trio.to_thread.run_sync(read_text, self._config.file)
        except (OSError, UnicodeDecodeError) as e:
            log.error("hosts file cannot be read; the last targets stay", file=self._config.file, error=str(e))
            return None
        return TargetGroup(self._config.file, hosts(text, self._config.port))


def read_text(file: str) -> str:
    """Return the content of a file."""
    with Path(file).open("rb") as f:
        return f.read(FILE_BYTES_MAX).decode()


def hosts(text: str, port: int) -> tuple[dict[str, str], ...]:
    """Return the targets in the text of a hosts file: `address name [name...]` a line, `#` begins a comment."""
    targets = []
    for line in text.splitlines():
        address, *names = line.partition("#")[0].split() or [""]
        if address and names:
            host = f"[{address}]" if ":" in address else address
            labels = {"__meta_hosts_file_name": names[0], "__meta_hosts_file_names": f",{','.join(names)},"}
            targets.append({"__address__": f"{host}:{port}", **labels})
    return tuple(targets)


@tinyobs.hookimpl
def tinyobs_discoverers() -> Sequence[DiscovererKind]:
    """Offer `hosts_file_sd_configs`."""
    return [DiscovererKind("hosts_file_sd_configs", HostsFileConfig, HostsFileDiscoverer)]
