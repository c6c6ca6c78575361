"""The local storage: opens the engine for URLs `file:PATH` with the configured options."""

from __future__ import annotations

from typing import Any, Final

import structlog

from ..abc import Services, Storage
from ..config.schema import Config
from ..config.settings import TIERS
from ..hookspecs import hookimpl
from ..promql.parser import parse_selector
from ..storage.engine import open_directory
from ..storage.memory import keep_large_blocks_apart, share_one_arena
from ..storage.options import EngineOptions, SelectorRetention, SyncMode

SCHEME: Final = "file:"

log = structlog.get_logger("storage")


@hookimpl
def tinyobs_storage(url: str, services: Services) -> Storage | None:
    """Open the data directory of a `file:` URL; readiness tells how far the replay of the log is."""
    if not url.startswith(SCHEME):
        return None
    keep_large_blocks_apart()
    share_one_arena()
    path = url.removeprefix(SCHEME)
    return open_directory(
        path,
        services.registry,
        services.clock.now_ms,
        engine_options(services.config, *services.retention()),
        services.report_progress,
    )


def engine_options(config: Config, retention_ms: int, retention_bytes: int) -> EngineOptions:
    """Return the options of the engine as configured; the ages and sizes of flags go before those of the file."""
    own: Any = config.tinyobs.storage
    return EngineOptions(
        retention_ms=retention_ms,
        retention_bytes=retention_bytes,
        retention_percent=config.storage.tsdb.retention.percentage,
        tiers=tuple((TIERS[name], kept_ms) for name, kept_ms in own.tiers),
        retention_by_selector=tuple(
            SelectorRetention(parse_selector(r.match), r.retention_ms) for r in own.retention_by_selector
        ),
        out_of_order_window_ms=config.out_of_order_window_ms,
        future_ms=own.future_ms,
        last_write_wins=own.last_write_wins,
        sync=SyncMode(own.sync.value),
        sync_interval_ms=own.sync_interval_ms,
        wal_file_bytes_max=own.wal_file_size_bytes,
        log_bytes_max=own.log_size_bytes,
        log_age_ms=own.log_age_ms,
        log_keep_ms=own.log_keep_ms,
        block_ms=own.block_range_ms,
        head_bytes_max=own.head_size_bytes,
        page_cache_bytes_max=own.page_cache_size_bytes,
        exemplars_max=max(0, config.storage.exemplars.max_exemplars),
    )
