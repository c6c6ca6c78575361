"""What runs: opens the journal, and stores the last values of all groups again and again, as scrapes would."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

import structlog
import trio
from attrs import frozen

from ...abc import Services, Source
from ...errors import TinyObsError, Unavailable
from ...model.schedule import next_tick_ms
from ...storage.posix_disk import PosixDisk
from ...storage.push_journal import PushJournal
from .changes import Change, Kind
from .gateway import Gateway
from .settings import SECTION

SCHEMES: Final = ("file:", "log:")
"""Of the URLs of storages with a data directory; with others the groups end with the process."""
EXPIRE_EVERY_MS: Final = 15_000
"""How often old groups are looked for where values are not stored again."""

log = structlog.get_logger("pushgateway")


@frozen
class PushgatewayStatistics:
    """How the groups fare."""

    groups: int
    """Groups there are."""
    series: int
    """Series of them."""
    body_bytes: int
    """Bytes of the bodies that are kept of them."""
    journal_bytes: int
    """Size of the journal."""
    commits_total: int
    """Commits; each makes all changes durable that waited for it."""
    journal_rewrites_total: int
    """How often the journal was written anew."""
    inconsistent_total: int
    """Pushes that were refused because they were inconsistent."""
    stored_again_samples_total: int
    """Samples of last values that were stored again."""
    expired_total: int
    """Groups that were deleted because nobody had pushed to them for long."""


class Pushgateway(Source):
    """The component."""

    name = SECTION

    def __init__(self, services: Services, gateway: Gateway | None = None) -> None:
        self.gateway = gateway or Gateway(services, services.reception(SECTION))
        self._services = services
        self._changed = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Store the last values at every tick until cancelled; after a start at once, so that they are found again."""
        gateway = self.gateway
        await self._open()
        try:
            task_status.started()
            while True:
                await self._tick()
                await self._wait()
        finally:
            gateway.trouble = "the pushgateway is stopping"
            if gateway.journal is not None:
                with trio.CancelScope(shield=True):  # it waits until what is being written is durable
                    await trio.to_thread.run_sync(gateway.journal.close)

    async def reconfigure(self, config: Any) -> None:
        """Look at the interval again."""
        settings = self.gateway.settings
        groups = self.gateway.groups
        groups.groups_max, groups.bytes_max = settings.groups_max, settings.size_max_bytes
        self._changed.set()

    def restart(self) -> Pushgateway:
        """Go on with the same gateway, whose groups are read from the journal again."""
        return Pushgateway(self._services, self.gateway)

    def statistics(self) -> PushgatewayStatistics:
        """Return the figures."""
        gateway, counts = self.gateway, self.gateway.counts
        groups = list(gateway.groups)
        return PushgatewayStatistics(
            len(groups),
            sum(len(group.state.refs) for group in groups),
            gateway.groups.body_bytes,
            journal.size if (journal := gateway.journal) is not None else 0,
            counts.commits,
            counts.rewrites,
            counts.inconsistent,
            counts.again,
            counts.expired,
        )

    async def _open(self) -> None:
        """Read the journal; while it cannot be read no push is taken, so that none is lost."""
        gateway = self.gateway
        url: str = self._services.settings.storage_url
        scheme = next((s for s in SCHEMES if url.startswith(s)), None)
        if scheme is None or not self._has_storage():
            gateway.trouble = ""
            return
        try:
            gateway.journal = journal = PushJournal(PosixDisk(url.removeprefix(scheme)))
            found = await trio.to_thread.run_sync(journal.open, abandon_on_cancel=False)
            unreadable = await trio.to_thread.run_sync(gateway.restore, found.records, abandon_on_cancel=False)
        except TinyObsError as e:
            gateway.trouble = str(e)
            raise
        gateway.trouble = ""
        if found.torn_bytes:
            log.warning("the end of the journal was never acknowledged and is dropped", bytes=found.torn_bytes)
        if unreadable:
            log.error("pushes of the journal cannot be read any more", pushes=unreadable)

    def _has_storage(self) -> bool:
        """Tell whether there is a storage, which holds the lock of the data directory."""
        with suppress(Unavailable):
            self._services.open_storage()
            return True
        return False

    def _interval_ms(self) -> int:
        own = self.gateway.settings.interval_ms
        return int(self._services.config.global_config.scrape_interval_ms if own is None else own)

    async def _tick(self) -> None:
        await self.gateway.expire()
        if self._interval_ms():
            with suppress(TinyObsError):  # told in the log already
                await self.gateway.submit(Change(Kind.AGAIN, "", self._services.clock.now_ms()))

    async def _wait(self) -> None:
        """Wait for the next tick, or for another configuration."""
        self._changed = trio.Event()
        now_ms = self._services.clock.now_ms()
        tick_ms = next_tick_ms(now_ms, self._interval_ms() or EXPIRE_EVERY_MS, 0)
        with trio.move_on_after((tick_ms - now_ms) / 1000):
            await self._changed.wait()
