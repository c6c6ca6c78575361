"""One destination: reads the log from its own place, decides by series, and hands parts to its shards."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

import numpy as np
import structlog
import trio
from attrs import define, field, frozen
from numpy.typing import NDArray

from ...abc import CursorStart, LogFollower, Logged, LogPosition, Services
from ...aggregation.aggregator import Aggregator
from ...aggregation.engine import AggregationPlan
from ...config.remote import RemoteWriteConfig
from ...errors import TinyObsError
from ...exposition.remote_write_rows import SendRows
from ...model.batch import Batch
from ...model.histograms import is_handle
from ...model.metadata import MetricMetadata
from .aggregation import Aggregation
from .counters import AGGREGATED, NO_ROOM, RELABELLED, SWITCHED_OFF, Counters, Gauges
from .metadata import send_metadata
from .poster import Poster
from .protocol import Protocol
from .queue import Outgoing, Piece, Settlement, without_histograms
from .scaling import UPDATE_SECONDS, Scaling
from .sender import GivenUp, Sender
from .series import DROPPED, KEPT, Placing, SeriesTable
from .settings import cursor_name
from .shards import Shards

READ_SAMPLES_MAX: Final = 50_000
"""Samples that are read from the log at once, unless a request has more."""
SWEEP_SECONDS: Final = 3600.0
"""How often series are forgotten that are no longer sent."""
STOP_SECONDS: Final = 5.0
"""How long requests under way may go on when a reload ends a destination."""
BUSY_SECONDS: Final = 0.01
"""How long records may be handed on before others get a turn: many new series take their time."""
AGAIN_SECONDS: Final = 30.0
"""Pause after a destination could not be opened."""

_NO_SAMPLES: Final = Batch(np.empty(0, np.uint32), np.empty(0, np.int64), np.empty(0))
NOTHING_TO_SETTLE: Final = Settlement(Logged(_NO_SAMPLES, LogPosition(0, 0)), lambda logged: None, 1)
"""Of samples that come from no record; its count of parts never comes to nothing."""

log = structlog.get_logger("remote_write")


@frozen
class Plan:
    """All that a destination is made from; when it changes, the destination begins anew at its place in the log."""

    name: str
    url: str
    """As it may be shown."""
    config: RemoteWriteConfig
    external: tuple[tuple[str, str], ...]
    placing: Placing
    start: CursorStart = field(eq=False)
    """Where it begins when it has no place yet; of no meaning to one that runs."""
    aggregation: AggregationPlan = field(factory=AggregationPlan)


@define(eq=False)
class Memory:
    """What outlives a destination that a reload or a crash ends."""

    counters: Counters
    doubt_until: LogPosition | None = None
    """Up to here an earlier one may have delivered."""


class Destination:
    """Runs until it is stopped, or all is sent and the agent stops."""

    def __init__(self, services: Services, plan: Plan, memory: Memory) -> None:
        self.plan = plan
        self.memory = memory
        self._services = services
        self._follower: LogFollower | None = None
        self._counters = memory.counters
        queue = plan.config.queue_config
        self._protocol = Protocol(plan.config.protobuf_message, self._sent_labels, self._metadata, memory.counters)
        self._table = SeriesTable(
            services.registry.labels, plan.external, plan.config.write_relabel_configs, plan.placing, self._protocol.add
        )
        self.aggregation: Aggregation | None = None
        if plan.aggregation.rules or plan.aggregation.drop_input:
            self.aggregation = Aggregation(
                plan.name,
                plan.aggregation,
                plan.external,
                services.registry,
                services.clock,
                self._table.sent_labels,
                self._protocol.add,
            )
        self._shards = Shards(
            self._deliver, queue.max_samples_per_send, queue.batch_send_deadline_ms / 1000, self._is_ending
        )
        self._capacity = max(queue.capacity, queue.max_samples_per_send)
        self._scaling = Scaling(queue.min_shards, queue.max_shards, desired=float(queue.min_shards))
        self._wanted = queue.min_shards
        self._sender: Sender | None = None
        self._stopping = False
        self._reading = trio.CancelScope()
        self._scope = trio.CancelScope()
        self._sending = trio.CancelScope()
        self._position = LogPosition(0, 0)
        self._routed_at = 0.0
        self._doubt_until = memory.doubt_until
        self._started = False
        self.ended = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Send until stopped; what cannot be opened is tried again.  It is started when it has a place in the log."""
        try:
            with self._scope:
                while not await self._try_run(task_status.started):  # noqa: ASYNC110 - nobody tells when a file or the log can be opened
                    await trio.sleep(AGAIN_SECONDS)
        finally:
            self.ended.set()

    async def stop(self) -> None:
        """End; requests under way get a moment to be answered."""
        self._stopping = True
        self._reading.cancel()
        with trio.move_on_after(STOP_SECONDS):
            await self.ended.wait()
        self._scope.cancel()
        await self.ended.wait()

    @property
    def gauges(self) -> Gauges:
        """How it is now."""
        queue = self.plan.config.queue_config
        return Gauges(
            pending={**self._shards.pending(), "metadata": 0},
            shards=len(self._shards),
            shards_min=queue.min_shards,
            shards_max=queue.max_shards,
            shards_desired=self._scaling.desired,
            capacity=queue.capacity,
            samples_per_send=queue.max_samples_per_send,
            bytes_behind=self._bytes_behind(),
            segment=self._position.file,
            behind_ms=self._services.clock.now_ms() if self._bytes_behind() else 0,
        )

    # -- running -----------------------------------------------------------------------------------------------

    async def _try_run(self, started: Callable[[], None]) -> bool:
        """Run once; False when the log or the HTTP client cannot be opened."""
        plan, services = self.plan, self._services
        try:
            poster = Poster(plan.config, services.clock.now_ms)
            self._follower = follower = await services.follow(cursor_name(plan.name), plan.start)
        except TinyObsError as e:
            log.error("cannot send", remote_name=plan.name, url=plan.url, error=str(e), again_in_seconds=AGAIN_SECONDS)
            return False
        finally:
            if not self._started:
                self._started = True
                started()
        self._sender = Sender(
            plan.name, plan.config, poster, self._protocol, self._counters, services.clock, self._is_ending
        )
        try:
            await self._run(follower)
        finally:
            self._follower = None
            await follower.aclose()
            await poster.aclose()
        return True

    async def _run(self, follower: LogFollower) -> None:
        metadata = self.plan.config.metadata_config
        assert self._sender is not None
        async with trio.open_nursery() as nursery:
            self._sending = nursery.cancel_scope
            self._shards.start(nursery, self.plan.config.queue_config.min_shards)
            nursery.start_soon(self._scale)
            nursery.start_soon(self._sweep)
            nursery.start_soon(send_metadata, metadata, self._sender, self._protocol, self._metadata)
            if self.aggregation is not None:
                nursery.start_soon(self._aggregate, self.aggregation)
            try:
                with self._reading:
                    await self._read(follower)
                if self.aggregation is not None and not self._stopping:
                    await self._put_out(self.aggregation, self.aggregation.engine.aggregators, Aggregator.finish)
                if self._stopping:
                    await self._shards.finish()
                else:
                    await self._shards.flush()
            except GivenUp:
                self._tell_given_up()
            nursery.cancel_scope.cancel()

    async def _read(self, follower: LogFollower) -> None:
        """Hand on what is committed, until the agent stops and all has been read."""
        while True:
            self._counters.waits += await self._shards.wait_room(self._capacity)
            if self._wanted != len(self._shards):
                log.info("resharding", remote_name=self.plan.name, before=len(self._shards), now=self._wanted)
                await self._shards.resize(self._wanted)
            room = self._capacity * len(self._shards) - self._shards.queued
            records = await follower.read(max(min(room, READ_SAMPLES_MAX), 1))
            self._routed_at = trio.current_time()
            self._count_loss(follower)
            if not records:
                return
            for logged in records:
                if trio.current_time() - self._routed_at > BUSY_SECONDS:
                    await trio.lowlevel.checkpoint()
                    self._routed_at = trio.current_time()
                if self.aggregation is None:
                    self._route(logged, follower)
                else:
                    async with self.aggregation.lock:
                        self._route(logged, follower)

    async def _aggregate(self, aggregation: Aggregation) -> None:
        """Send aggregates by the clock."""
        while True:
            await self._put_out(aggregation, await aggregation.wait_due(), Aggregator.tick)

    async def _put_out(
        self,
        aggregation: Aggregation,
        aggregators: Sequence[Aggregator],
        result: Callable[[Aggregator, int], Batch | None],
    ) -> None:
        for rows in await aggregation.results(aggregators, result):
            self._put(rows, partial(aggregation.shards, rows.refs), NOTHING_TO_SETTLE, in_doubt=False)

    def _is_ending(self) -> bool:
        return self._stopping or (self._follower is not None and self._follower.is_draining)

    async def _deliver(self, out: Outgoing) -> None:
        assert self._sender is not None
        began = trio.current_time()
        try:
            await self._sender.deliver(out.rows, out.in_doubt)
        except GivenUp:
            self._tell_given_up()
            self._sending.cancel()
            await trio.sleep_forever()
        self._scaling.went.add(len(out.rows))
        self._scaling.took.add(trio.current_time() - began)

    def _tell_given_up(self) -> None:
        if self._follower is not None and self._follower.is_draining:
            log.warning(
                "stopped before all was sent; the rest follows after the next start", remote_name=self.plan.name
            )

    # -- from a record to the shards ---------------------------------------------------------------------------

    def _route(self, logged: Logged, follower: LogFollower) -> None:
        batch, memory = logged.batch, self.memory
        self._position = logged.end
        in_doubt = logged.in_doubt or (self._doubt_until is not None and logged.end <= self._doubt_until)
        in_doubt = in_doubt and self._sender is not None and self._sender.doubt.covers(len(batch))
        memory.doubt_until = logged.end if memory.doubt_until is None else max(memory.doubt_until, logged.end)
        if batch.metadata:
            self._protocol.forget_metadata()
        settlement = Settlement(logged, follower.settle, 1)
        if len(batch):
            self._route_samples(batch, settlement, in_doubt)
        if batch.exemplars:
            self._route_exemplars(batch)
        settlement.done()

    def _route_samples(self, batch: Batch, settlement: Settlement, in_doubt: bool) -> None:
        counters, n = self._counters, len(batch)
        native = np.zeros(n, np.bool_) if batch.histograms is None else is_handle(batch.values)
        counters.read["histograms"] += int(native.sum())
        counters.read["samples"] += n - int(native.sum())
        self._scaling.came.add(n)
        states = self._table.states(batch.refs)
        dropped, kept = states == DROPPED, states == KEPT
        counters.drop("histograms", RELABELLED, int((dropped & native).sum()))
        counters.drop("samples", RELABELLED, int((dropped & ~native).sum()))
        if not self.plan.config.send_native_histograms:
            counters.drop("histograms", SWITCHED_OFF, int((kept & native).sum()))
            kept &= ~native
        if self.aggregation is not None and kept.any():
            goes_on = self.aggregation.take(batch.take(kept))
            if goes_on is not None:
                counters.drop("samples", AGGREGATED, int(len(goes_on) - goes_on.sum()))
                kept[kept] = goes_on
        rows = SendRows(batch.refs, batch.timestamps_ms, batch.values, batch.starts_ms, batch.histograms)
        if not kept.all():
            rows = without_histograms(rows, ~kept)
        if not len(rows):
            return
        self._put(rows, partial(self._table.shards, rows.refs), settlement, in_doubt=in_doubt)

    def _put(
        self, rows: SendRows, shards_of: Callable[[int], NDArray[np.int64]], settlement: Settlement, *, in_doubt: bool
    ) -> None:
        """Queue samples on their shards; shards_of: gives the shard of each out of so many."""
        self._scaling.kept.add(len(rows))
        self._counters.highest_ms = max(self._counters.highest_ms, int(rows.timestamps_ms.max()))
        count = len(self._shards)
        shards = shards_of(count) if count > 1 else np.zeros(1, np.int64)
        for number in np.unique(shards).tolist():
            part = rows if count == 1 else rows.take(np.flatnonzero(shards == number))
            settlement.parts += 1
            self._shards.put(number, Piece(part, settlement, in_doubt))

    def _route_exemplars(self, batch: Batch) -> None:
        exemplars, counters = list(batch.exemplars), self._counters
        counters.read["exemplars"] += len(exemplars)
        if not self.plan.config.send_exemplars:
            counters.drop("exemplars", SWITCHED_OFF, len(exemplars))
            return
        refs = np.array([e.ref for e in exemplars], np.uint32)
        states = self._table.states(refs)
        counters.drop("exemplars", RELABELLED, int((states == DROPPED).sum()))
        shards, kept = self._table.shards(refs, len(self._shards)), states == KEPT
        if self.aggregation is not None:
            kept &= ~self.aggregation.engine.drops(refs)
        for number in np.unique(shards).tolist():
            part = [exemplars[i] for i in np.flatnonzero(kept & (shards == number)).tolist()]
            lost = self._shards.queue(number).put_exemplars(part, trio.current_time())
            counters.drop("exemplars", NO_ROOM, lost)

    # -- beside it ---------------------------------------------------------------------------------------------

    async def _scale(self) -> None:
        queue, counters = self.plan.config.queue_config, self._counters
        while True:
            await trio.sleep(UPDATE_SECONDS)
            newest = max(counters.highest_ms, self.gauges.behind_ms)
            behind = (newest - counters.highest_sent_ms) / 1000 if counters.highest_sent_ms else 0.0
            wanted = self._scaling.decide(len(self._shards), behind, UPDATE_SECONDS)
            assert self._sender is not None
            patience = max(2 * queue.batch_send_deadline_ms / 1000, UPDATE_SECONDS)
            if trio.current_time() - self._sender.delivered_at <= patience:
                self._wanted = wanted

    async def _sweep(self) -> None:
        while True:
            await trio.sleep(SWEEP_SECONDS)
            self._protocol.sweep()

    def _count_loss(self, follower: LogFollower) -> None:
        loss = follower.take_loss()
        if loss.samples or loss.files:
            self._counters.lost += loss.samples
            log.error("the log dropped samples before they were sent", remote_name=self.plan.name, samples=loss.samples)

    def _bytes_behind(self) -> int:
        follower = self._follower  # other threads ask, and it may be closed meanwhile
        return 0 if follower is None else follower.bytes_behind()

    def _sent_labels(self, ref: int) -> tuple[tuple[str, str], ...] | None:
        own = None if self.aggregation is None else self.aggregation.sent_labels(ref)
        return own or self._table.sent_labels(ref)

    def _metadata(self) -> Mapping[str, MetricMetadata]:
        if not self.plan.config.metadata_config.send:
            return {}
        found: Mapping[str, MetricMetadata] = self._services.open_storage().metadata()
        return found
