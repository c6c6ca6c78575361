"""What parts of an agent are given, without an agent: for tests of sources, exporters and processors.

Time is trio's: under an autojump clock (`pytest-trio`'s `autojump_clock`) days pass in no time, and `VirtualClock` shows
the wall time that belongs to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import trio
from numpy.typing import NDArray

from ..abc import Component, CursorStart, DiscovererKind, Exporter, LogFollower, Querier, Reception, Storage, Then
from ..config import loader
from ..config.schema import Config
from ..errors import Unavailable
from ..model.batch import AppendResult, Batch
from ..model.families import MetricFamily
from ..model.histograms import is_handle
from ..model.labels import Labels, from_mapping, to_text
from ..model.registry import SeriesRegistry
from ..runtime.following import Followers
from ..runtime.reception import Receptions
from ..runtime.settings import AgentSettings
from .memory_log import MemoryLog

T = TypeVar("T")

EPOCH_MS = 1_700_000_000_000
"""The wall time at which a `VirtualClock` begins."""


class VirtualClock:
    """Wall time that follows trio's clock; outside of trio it stands still."""

    def __init__(self, begin_ms: int = EPOCH_MS) -> None:
        self._begin_ms = begin_ms
        self._origin: float | None = None

    def now_ms(self) -> int:
        """Return milliseconds since 1970."""
        try:
            now = trio.current_time()
        except RuntimeError:
            return self._begin_ms
        if self._origin is None:
            self._origin = now
        return self._begin_ms + round((now - self._origin) * 1000)


class FakeServices:
    """Keeps what is appended; refuses it after `fail_with` is set."""

    def __init__(self, config: Config | None = None, clock: VirtualClock | None = None) -> None:
        self.registry = SeriesRegistry()
        self.clock = clock or VirtualClock()
        self.config = config or loader.parse("", "test.yml")
        self.settings = AgentSettings()
        self.batches: list[Batch] = []
        self.fail_with: Exception | None = None
        self.kinds: dict[str, DiscovererKind] = {}
        self.in_process: list[Exporter] = []
        self.families: list[MetricFamily] = []
        self.on_append: Callable[[Batch], None] = lambda batch: None
        self.log = MemoryLog()
        """What `follow` reads; `commit` adds to it."""
        self.followers = Followers(lambda: self.log)
        self.receptions = Receptions(self)

    def commit(self, batch: Batch) -> None:
        """Add a batch to the log, for sinks."""
        self.log.add(batch)
        self.followers.wake()

    def restart(self) -> None:
        """Let a new process begin, as far as sinks can tell: places stay, what was not saved is read again."""
        self.log.restart()
        self.followers = Followers(lambda: self.log)

    async def follow(self, name: str, start: CursorStart) -> LogFollower:
        """Return a follower of `log`."""
        return await self.followers.follow(name, start)

    async def append(self, batch: Batch, *, may_wait: bool = False, then: Then | None = None) -> AppendResult:
        """Keep the batch."""
        await trio.lowlevel.checkpoint()
        if self.fail_with is not None:
            raise self.fail_with
        self.batches.append(batch)
        self.on_append(batch)
        histograms = 0 if batch.histograms is None else int(is_handle(batch.values).sum())
        result = AppendResult(len(batch), exemplars_stored=len(batch.exemplars), histograms_stored=histograms)
        if then is not None:
            then(result)
        return result

    async def append_from(self, make: Callable[[], Batch], samples: int) -> AppendResult:
        """Keep the batch that `make` returns."""
        return await self.append(make())

    def reception(self, protocol: str) -> Reception:
        """Return a way into `batches`, with the limits and counters of an agent."""
        return self.receptions.of(protocol)

    async def run_on_writer(self, work: Callable[[Storage], T]) -> T:
        """Raise `Unavailable`: there is no storage."""
        raise Unavailable("no storage in this test")

    def samples(self, name: str = "") -> dict[str, list[tuple[int, float]]]:
        """Return what was appended: series in PromQL notation -> [(time in ms, value), ...], of one metric name or all."""
        found: dict[str, list[tuple[int, float]]] = {}
        for batch in self.batches:
            rows = zip(batch.refs.tolist(), batch.timestamps_ms.tolist(), batch.values.tolist(), strict=True)
            for ref, at_ms, value in rows:
                labels = self.registry.labels(ref)
                if not name or dict(labels).get("__name__") == name:
                    found.setdefault(to_text(labels), []).append((at_ms, value))
        return found

    def values(self, **labels: str) -> NDArray[np.float64]:
        """Return all values appended to the one series whose labels are exactly these."""
        ref = self.registry.intern(from_mapping(labels))
        parts = [batch.values[batch.refs == ref] for batch in self.batches]
        return np.concatenate(parts) if parts else np.empty(0)

    def querier(self, mint_ms: int, maxt_ms: int) -> Querier:
        """Raise `Unavailable`: there is no storage."""
        raise Unavailable("no storage in this test")

    def open_storage(self) -> Storage:
        """Raise `Unavailable`: there is no storage."""
        raise Unavailable("no storage in this test")

    def gather(self) -> list[MetricFamily]:
        """Return `families`."""
        return self.families

    def discoverer_kinds(self) -> Mapping[str, DiscovererKind]:
        """Return `kinds`."""
        return self.kinds

    def exporters(self) -> Sequence[Exporter]:
        """Return `in_process`."""
        return self.in_process

    def retention(self) -> tuple[int, int]:
        """Return 15 days and no limit of size."""
        return 15 * 86_400_000, 0

    def report_progress(self, share: float) -> None:
        """Do nothing."""

    def component(self, name: str) -> Component | None:
        """Return None."""
        return None

    @property
    def api(self) -> Any:
        """None: there is no HTTP server."""
        return None

    @property
    def web_options(self) -> Any:
        """None: there is no HTTP server."""
        return None


def labels_of(services: FakeServices, batch: Batch) -> list[Labels]:
    """Return the label sets of a batch's samples, in order."""
    return [services.registry.labels(ref) for ref in batch.refs.tolist()]
