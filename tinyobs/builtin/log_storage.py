"""The storage of agent mode: opens the log alone, for URLs `log:PATH` (`tinyobs run --agent`).

Sizes and ages of what is kept for sinks are those of `tinyobs.storage`; `--storage.agent.retention.min-time` and
`.max-time` go before the ages.
"""

from __future__ import annotations

from typing import Any, Final

from ..abc import Services, Storage
from ..hookspecs import hookimpl
from ..storage.log_storage import open_log
from ..storage.memory import share_one_arena
from ..storage.options import DAY_MS, EngineOptions, SyncMode

SCHEME: Final = "log:"
NO_RETENTION_MS: Final = 1000 * 366 * DAY_MS
"""Samples may have any age: they are passed on, not kept."""


@hookimpl
def tinyobs_storage(url: str, services: Services) -> Storage | None:
    """Open the log in the directory of a `log:` URL."""
    if not url.startswith(SCHEME):
        return None
    share_one_arena()  # an agent is small, and its threads take turns anyway
    return open_log(
        url.removeprefix(SCHEME),
        services.registry,
        services.clock.now_ms,
        log_options(services.config, services.settings),
        services.report_progress,
    )


def log_options(config: Any, settings: Any) -> EngineOptions:
    """Return the options as configured.

    The out-of-order window is 0, as upstream's, unless `storage.tsdb` has one: late samples cannot be compared with
    what was stored, so within a window they may be there twice.
    """
    own = config.tinyobs.storage
    return EngineOptions(
        retention_ms=NO_RETENTION_MS,
        out_of_order_window_ms=config.storage.tsdb.out_of_order_time_window_ms or 0,
        future_ms=own.future_ms,
        sync=SyncMode(own.sync.value),
        sync_interval_ms=own.sync_interval_ms,
        wal_file_bytes_max=own.wal_file_size_bytes,
        log_bytes_max=own.log_size_bytes,
        log_age_ms=settings.agent_max_ms or own.log_age_ms,
        log_keep_ms=max(settings.agent_min_ms, own.log_keep_ms),
        exemplars_max=max(0, config.storage.exemplars.max_exemplars),
    )
