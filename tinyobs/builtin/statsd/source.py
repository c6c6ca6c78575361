"""The component: listens, keeps the state, and stores it each `flush_interval` and at the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import structlog
import trio
from attrs import field, frozen

from ...abc import Component, Services, Source
from ...errors import TinyObsError
from ...exposition.floats import printable
from ...model.schedule import next_tick_ms
from ...receiving.datagrams import DatagramStatistics
from ...receiving.line_listeners import LineListeners, Listening
from ...receiving.streams import LINES_IN_FRAMES
from .bunches import Bunches, LineCounts
from .mapper import Mapper
from .settings import SECTION, StatsdSettings
from .state import State

PIECE_BYTES: Final = (64 << 10, 4 << 10)
"""Lines that are taken before others get their turn, about a millisecond: those that are known, and those that are new."""
NEW_LINES_MAX: Final = 32
"""New lines in a piece from which on the next is a small one."""
THREAD_SERIES_MIN: Final = 2000
"""Series from which on samples are made in a thread."""
LAST_FLUSH_SECONDS: Final = 10.0
"""How long storing at the end may take."""

log = structlog.get_logger("statsd")


@frozen
class StatsdStatistics:
    """What came, and what became of it."""

    lines_total: int
    """Lines that came; what could not be taken of them is in `tinyobs_receivers_refused_total`."""
    dropped_total: int
    """Lines that mappings dropped."""
    events_total: int
    """Events of DogStatsD, which are no metrics."""
    service_checks_total: int
    """Service checks of DogStatsD."""
    bad_tags_total: int
    """Tags that were left out, counted once for each kind of line."""
    series: int
    """Names with tags that are kept."""
    expired_total: int
    """Those that nothing was sent for, and that ended."""
    flushes_failed_total: int
    """Times that the storage could not take samples; counters and histograms lose nothing by that."""
    datagrams: Sequence[DatagramStatistics]
    """Of the listeners for datagrams, together."""
    connections: int
    """Connections open now."""
    connections_refused_total: int = field(default=0)
    """Connections closed at once because there were too many."""


class StatsdSource(Source):
    """Everything of StatsD in an agent."""

    name = SECTION

    def __init__(self, services: Services) -> None:
        """Raises `ConfigError` when the mapping file cannot be read, `UsageError` for addresses that are none."""
        self._services = services
        self._reception = services.reception(SECTION)
        self._listeners = LineListeners(self._reception, self._take, frames=LINES_IN_FRAMES)
        self._counts = LineCounts()
        self._expired = self._failed = self._flushed_ms = 0
        self._has_new = False
        self._settings = self._section(services.config)
        self._begin(Mapper(self._settings))

    @property
    def bound(self) -> list[str]:
        """Where it listens; see `LineListeners`."""
        return self._listeners.bound

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Listen until cancelled, and store what there is then."""
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(self._listeners.run, *_listening(self._services.config))
                nursery.start_soon(self._flush_for_ever)
                task_status.started()
        finally:
            with trio.move_on_after(LAST_FLUSH_SECONDS, shield=True):
                await self.flush(self._services.clock.now_ms())

    def restart(self) -> Component:
        """Return a source that starts afresh."""
        return StatsdSource(self._services)

    async def reconfigure(self, config: Any) -> None:
        """Take over settings and mappings.  Where lines would mean something else, all series begin anew."""
        mapper = await trio.to_thread.run_sync(Mapper, self._section(config))
        if mapper.identity != self._mapper.identity:
            await self.flush(self._services.clock.now_ms())
            before = self._state.all_refs()
            self._begin(mapper)
            self._state.mark_stale(before)
        self._settings = self._section(config)
        await self._listeners.listen(*_listening(config))

    def statistics(self) -> StatsdStatistics:
        """Return the numbers as of now."""
        counts = self._counts
        listeners = self._listeners.statistics()
        (streams,) = listeners.streams
        return StatsdStatistics(
            counts.lines,
            counts.dropped,
            counts.events,
            counts.service_checks,
            counts.bad_tags,
            len(self._state.table),
            self._expired,
            self._failed,
            listeners.datagrams,
            streams.connections,
            streams.connections_refused_total,
        )

    # -- lines -------------------------------------------------------------------------------------------------

    def _section(self, config: Any) -> StatsdSettings:
        section: StatsdSettings = config.tinyobs.section(SECTION)
        return section

    def _begin(self, mapper: Mapper) -> None:
        settings = mapper.settings
        self._mapper = mapper
        self._state = State(self._services.registry, settings.series_max, settings.set_values_max)
        self._bunches = Bunches(self._state, mapper, self._refuse, self._counts)

    def _refuse(self, reason: str, count: int, first: bytes) -> None:
        self._reception.refuse(reason, count)
        log.debug("lines were refused", reason=reason, count=count, first=printable(first))

    async def _take(self, lines: bytes, source: str) -> bytes:
        """Take lines, a piece at a time; nothing is answered."""
        at = 0
        while at < len(lines):
            end = lines.find(b"\n", at + PIECE_BYTES[self._has_new])
            end = len(lines) if end < 0 else end
            new = self._bunches.take(lines[at:end], self._services.clock.now_ms())
            self._has_new = new > NEW_LINES_MAX
            at = end + 1
            if at < len(lines):
                await trio.lowlevel.checkpoint()
        return b""

    # -- storing -----------------------------------------------------------------------------------------------

    async def _flush_for_ever(self) -> None:
        while True:
            interval_ms = self._settings.flush_interval_ms
            now = self._services.clock.now_ms()
            tick = next_tick_ms(now, interval_ms, 0)
            await trio.sleep((tick - now) / 1000)
            await self.flush(tick)

    async def flush(self, at_ms: int) -> None:
        """Store everything with timestamp `at_ms`, or one a little later where the clock went back."""
        at_ms = self._flushed_ms = max(at_ms, self._flushed_ms + 1)
        expired = self._state.expire(at_ms)
        self._bunches.forget(expired)
        self._expired += len(expired)
        snapshot = self._state.snapshot(at_ms, self._services.clock.now_ms())
        if len(snapshot.families) < THREAD_SERIES_MIN:
            batch = snapshot.batch()
        else:
            batch = await trio.to_thread.run_sync(snapshot.batch)
        if not len(batch):
            return
        try:
            await self._reception.store(batch, "")
        except TinyObsError as e:
            self._failed += 1
            self._state.mark_stale(snapshot.stale)
            self._state.describe_again()
            log.warning("samples were not stored", error=str(e))


def _listening(config: Any) -> tuple[Listening, Any]:
    """Return where to listen, and the bounds of listeners."""
    s: StatsdSettings = config.tinyobs.section(SECTION)
    streams = (s.listen_tcp, s.listen_unix and f"unix:{s.listen_unix}")
    where = Listening(s.listen_udp, tuple(filter(None, streams)), s.listen_unixgram, int(s.unix_socket_mode, 8))
    return where, config.tinyobs.receivers
