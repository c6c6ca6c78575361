"""The storage in memory: `--storage.tsdb.path=memory://` keeps everything in the process and nothing on disk.

For tests, demonstrations and agents that only pass on what they collect.  It is bounded by the retention: by time, and
by size (512 MiB where none is configured).
"""

from __future__ import annotations

from typing import Any, Final

import structlog

from ..abc import Services, Storage
from ..errors import StorageError
from ..hookspecs import hookimpl
from ..memory_storage.admission import MIB, MemoryOptions
from ..memory_storage.storage import MemoryStorage

URL: Final = "memory://"

log = structlog.get_logger("storage")


@hookimpl
def tinyobs_storage(url: str, services: Services) -> Storage | None:
    """Make a storage in memory for the URL `memory://`."""
    if not url.startswith(URL):
        return None
    if url != URL:
        raise StorageError(f"{url!r}: nothing may stand behind {URL}; its bounds are those of the retention")
    options = memory_options(services)
    log.warning("samples are kept in memory only and end with this process", bytes_max=options.bytes_max)
    return MemoryStorage(services.registry, services.clock.now_ms, options)


def memory_options(services: Services) -> MemoryOptions:
    """Return the options as configured."""
    own: Any = services.config.tinyobs.storage
    retention_ms, retention_bytes = services.retention()
    if 0 < retention_bytes < MIB:
        raise StorageError(f"a storage in memory needs a retention size of at least {MIB} bytes")
    return MemoryOptions(
        **({"bytes_max": retention_bytes} if retention_bytes else {}),
        retention_ms=retention_ms,
        out_of_order_window_ms=services.config.out_of_order_window_ms,
        future_ms=own.future_ms,
        last_write_wins=own.last_write_wins,
    )
