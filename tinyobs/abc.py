"""The contracts between the agent and its parts.  The docstrings are the specification.

Each contract has an executable checker in `tinyobs.testing`.  Synchronous contracts (`Storage`, `Querier`,
`Processor`) never see trio; asynchronous ones (`Component` and its kinds) run under the supervisor, which owns every
nursery.  A part gets everything it may use from the `Services` of its agent.
"""

from __future__ import annotations

import abc
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import attrs
from attrs import frozen

from .errors import StorageError
from .model.batch import AppendResult, Batch
from .model.blocks import StoredBlock
from .model.cardinality import Cardinality, CardinalityQuery
from .model.changes import Changes as Changes
from .model.columns import SeriesColumns
from .model.exemplars import SeriesExemplars
from .model.families import MetricFamily
from .model.labels import Labels
from .model.matchers import Matcher
from .model.metadata import MetricMetadata
from .model.notices import Notice as Notice
from .model.read_counts import ReadCounts
from .model.registry import SeriesRegistry
from .model.rollup import Rounding
from .model.select_hints import SelectHints

if TYPE_CHECKING:
    import trio

T = TypeVar("T")

# -- reading ---------------------------------------------------------------------------------------------------


class Selection(abc.ABC):
    """The series that fulfil matchers in a time range, before any sample is read: sorted by label set, and unique."""

    labels: Sequence[Labels]
    resolution_ms: int = 0
    """The coarsest tier that samples come from, 0 when all are as they were stored."""
    rounding: Rounding | None = None
    """How windows over ranges have to be rounded, None where those that were announced fit."""

    @abc.abstractmethod
    def read(self, first: int, last: int) -> SeriesColumns:
        """Return the samples of series `first` .. `last - 1` in the time range, both ends included; some may have none.

        Staleness markers are included.  Reading blocks in ascending order is the fast way.  Thread-safe.
        """

    def count_reads(self) -> ReadCounts:
        """Return counts that go up with each `read` from now on; a storage that does not count leaves them at 0."""
        return ReadCounts()


class Querier(abc.ABC):
    """A consistent view of stored samples within `[mint_ms, maxt_ms]`: all of a batch or none of it.

    Synchronous, thread-safe, not used after exit; may raise `StorageError`, and what `check` does between long work.
    """

    mint_ms: int
    maxt_ms: int

    @abc.abstractmethod
    def select(
        self,
        matchers: Sequence[Matcher],
        mint_ms: int,
        maxt_ms: int,
        check: Callable[[], None] | None = None,
        hints: SelectHints | None = None,
    ) -> Selection:
        """Return the series for which every matcher holds; without hints its samples are those that were stored."""

    @abc.abstractmethod
    def label_names(self, matchers: Sequence[Matcher] = ()) -> list[str]:
        """Return the sorted names of labels on series that fulfil the matchers."""

    @abc.abstractmethod
    def label_values(self, name: str, matchers: Sequence[Matcher] = ()) -> list[str]:
        """Return the sorted values of one label on series that fulfil the matchers."""

    def series(self, matchers: Sequence[Matcher]) -> Sequence[Labels]:
        """Return the label sets that fulfil the matchers and have data near the querier's range, sorted."""
        return self.select(matchers, self.mint_ms, self.maxt_ms).labels

    @abc.abstractmethod
    def close(self) -> None:
        """Release what the view holds; idempotent."""

    def __enter__(self) -> Querier:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class Queryable(Protocol):
    """Something that can be asked for a view: all that `promql` and the query API need.

    It may have an attribute `changes`, a `Changes`; without it no answer is remembered.
    """

    def querier(self, mint_ms: int, maxt_ms: int) -> Querier:
        """Return a view; the caller closes it."""


# -- storing ---------------------------------------------------------------------------------------------------


class Storage(abc.ABC):
    """Where samples are kept.  Synchronous; one writer thread calls `append` and `maintain`, any thread reads."""

    registry: SeriesRegistry
    changes: Changes | None = None
    """What changed since when, where the storage tells; every change is noted when readers can see it."""

    @abc.abstractmethod
    def append(self, batches: Sequence[Batch]) -> list[AppendResult]:
        """Store batches, in order, durably: on return every sample counted as stored survives power loss.

        Batches given together share one fsync.  Raises `DiskFullError` (nothing of these batches was stored; later
        calls may succeed) or `ReadOnlyError` / `StorageError` (nothing was acknowledged).
        """

    @abc.abstractmethod
    def querier(self, mint_ms: int, maxt_ms: int) -> Querier:
        """Return a consistent view."""

    @abc.abstractmethod
    def metadata(self) -> Mapping[str, MetricMetadata]:
        """Return what is known of metric families, by family name."""

    def exemplars(self, matcher_sets: Sequence[Sequence[Matcher]], mint_ms: int, maxt_ms: int) -> list[SeriesExemplars]:
        """Return the exemplars of series that fulfil any set of matchers, sorted by label set.  Any thread."""
        return []

    def delete(self, matcher_sets: Sequence[Sequence[Matcher]], mint_ms: int, maxt_ms: int) -> None:
        """Delete the samples stored so far in a range of series that fulfil any set of matchers; durable on return.

        Called by the writer thread.  Readers see nothing of them any more; their space comes back soon after.
        """
        raise StorageError("this storage cannot delete")

    def clean_tombstones(self) -> bool:
        """Do one slice of regaining the space of all that was deleted; tell whether there is more.  Writer thread."""
        raise StorageError("this storage cannot delete")

    def compact(self) -> bool:
        """Do one slice of packing all that is stored as densely as can be; tell whether there is more.  Writer thread."""
        raise StorageError("this storage cannot compact")

    def snapshot(self, *, skip_head: bool = False) -> str:
        """Keep what is stored now, as a directory of its own within the storage; return its name.  Writer thread."""
        raise StorageError("this storage cannot make snapshots")

    def cardinality(self, query: CardinalityQuery) -> Cardinality:
        """Return what takes the room.  Any thread; may take a second, not a minute."""
        raise StorageError("this storage cannot tell its cardinality")

    def blocks(self) -> Sequence[StoredBlock]:
        """Return the immutable pieces that samples are kept in, oldest first.  Any thread; may read tables from disk."""
        return ()

    @abc.abstractmethod
    def maintain(self, now_ms: int) -> bool:
        """Do one bounded slice of background work (cutting, compacting, dropping); tell whether more is waiting."""

    def take_sealed(self) -> Sequence[tuple[str, object]]:
        """Return (name, statistics) of the immutable files written since the last call; called by the writer thread."""
        return ()

    def take_notices(self) -> Sequence[Notice]:
        """Return what happened since the last call that belongs into the log; called by the writer thread."""
        return ()

    @abc.abstractmethod
    def statistics(self) -> Any:
        """Return a frozen attrs object of statistics (see `tinyobs.runtime.statistics`)."""

    @abc.abstractmethod
    def close(self) -> None:
        """Make everything durable and release the lock; idempotent."""


class Processor(abc.ABC):
    """A step between sources and storage.

    Synchronous and vectorised: decide per series once, remember, and apply by indexing with `batch.refs`.  An agent calls
    it in the writer's thread, with one batch at a time.
    """

    @abc.abstractmethod
    def process(self, batch: Batch) -> Batch:
        """Return the batch that goes on; may be the same object.  Must not modify arrays in place."""


# -- running ---------------------------------------------------------------------------------------------------


class Component(abc.ABC):
    """Something that runs: a source, a listener, a maintenance loop.

    `run` is called once, by the supervisor.  It calls `task_status.started()` when the component works, returns when
    it is done for good, and cleans up before it returns or raises.  A crash is logged, counted, shown in the status,
    and `run` is called again on a fresh object from `restart()` after a back-off.
    """

    name: str

    @abc.abstractmethod
    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Do the work until cancelled."""

    def restart(self) -> Component:
        """Return what to run after a crash; `self` where `run` builds all of its state anew."""
        return self

    async def reconfigure(self, config: Any) -> None:  # noqa: B027 - most components have nothing to take over
        """Take over a new configuration while running; only what changed may be disturbed."""

    def statistics(self) -> Any:
        """Return a frozen attrs object of statistics, or None."""
        return None


class Source(Component):
    """A component that makes batches and gives them to `Services.append`."""


class Exporter(abc.ABC):
    """An in-process exporter: its families are collected like a scrape target's."""

    name: str
    """The value of the `job` label."""
    instance: str = ""
    """The value of the `instance` label; "" means the name of the host."""
    interval_ms: int = 0
    """How often it is collected; 0 means the global `scrape_interval`."""

    @abc.abstractmethod
    def collect(self) -> Sequence[MetricFamily]:
        """Return the families as of now.  Runs in a worker thread; may take a second, not a minute."""


@frozen
class TargetGroup:
    """Targets found by discovery that share labels; `source` names the group and replaces its earlier version."""

    source: str
    targets: tuple[Mapping[str, str], ...]
    """For each target its own labels, `__address__` at least."""
    labels: Mapping[str, str] = attrs.Factory(dict)


class Discoverer(abc.ABC):
    """One configured discovery, e.g. one entry of `file_sd_configs`."""

    @abc.abstractmethod
    async def run(
        self, publish: Callable[[Sequence[TargetGroup]], Awaitable[None]], *, task_status: trio.TaskStatus[None]
    ) -> None:
        """Publish changed groups until cancelled; a group without targets removes it.

        Publishes at least once, then calls `task_status.started()`.  Errors of the outside world are logged, counted
        and retried here; the last good groups stand meanwhile.
        """

    def statistics(self) -> Any:
        """Return a frozen attrs object of statistics, or None.

        Those of all discoverers of a class are united: numbers add up, mappings unite, and what counts since the start
        (fields that end in `_total`) outlives the discoverer.
        """
        return None


@frozen
class DiscovererContext:
    """What a discoverer is told of its place: the scrape pool and the folder that relative paths start from."""

    job: str
    index: int
    """The position of its entry in the list, from 0."""
    folder: str
    clock: Clock


@frozen
class DiscovererKind:
    """A kind of discovery: `key` in a scrape config holds a list of `schema` values, each made into a `Discoverer`."""

    key: str
    schema: type
    """A frozen attrs class; the configuration decoder reads it."""
    make: Callable[[Any, DiscovererContext], Discoverer]


@frozen
class ConfigSection:
    """A plugin's section `name` below `tinyobs:`; `schema` is a frozen attrs class whose fields all have defaults."""

    name: str
    schema: type


@frozen
class Route:
    """An HTTP route: `handler` takes a `starlette.requests.Request` and returns a `starlette.responses.Response`.

    It is cancelled when its client goes away; with `whole_body`, for handlers that read the body first, it is not.
    """

    path: str
    handler: Callable[[Any], Awaitable[Any]]
    methods: tuple[str, ...] = ("GET",)
    whole_body: bool = False


# -- what parts are given ----------------------------------------------------------------------------------------


class Clock(Protocol):
    """Wall time; tests give a virtual one."""

    def now_ms(self) -> int:
        """Return milliseconds since 1970."""


class Services(Protocol):
    """What an agent gives to its parts."""

    registry: SeriesRegistry
    clock: Clock

    @property
    def config(self) -> Any:
        """The running `tinyobs.config.schema.Config`."""

    @property
    def settings(self) -> Any:
        """What the command line decided: `tinyobs.runtime.settings.AgentSettings`."""

    @property
    def api(self) -> Any:
        """What the HTTP handlers need: `tinyobs.web.services.ApiServices`."""

    @property
    def web_options(self) -> Any:
        """Limits and policies of the HTTP application: `tinyobs.web.options.WebOptions`."""

    async def append(self, batch: Batch) -> AppendResult:
        """Pass a batch through the processors into storage; returns when it is durable.

        Raises `Unavailable` when the queue is full or the disk is, `StorageError` when storage failed.
        """

    async def append_from(self, make: Callable[[], Batch], samples: int) -> AppendResult:
        """Store what `make` returns, which is called in the writer's thread and must be quick; what it raises is raised.

        samples: about how many the batch has, for the limits of the queue.
        """

    async def run_on_writer(self, work: Callable[[Storage], T]) -> T:
        """Return the result of short work (`Storage.delete`, ...) on the thread that alone changes the storage.

        Nothing is stored meanwhile.  Raises what it raises, and `Unavailable` while the storage is not open.
        """

    def querier(self, mint_ms: int, maxt_ms: int) -> Querier:
        """Return a view of the storage."""

    def gather(self) -> list[MetricFamily]:
        """Return the agent's own metrics."""

    def discoverer_kinds(self) -> Mapping[str, DiscovererKind]:
        """Return the kinds of discovery that plugins offer, by their key in a scrape config."""

    def retention(self) -> tuple[int, int]:
        """Return the retention: (age in ms, size in bytes or 0 for no limit)."""

    def report_progress(self, share: float) -> None:
        """Say how far the opening of the storage is, 0 to 1; may be called from any thread."""

    def exporters(self) -> Sequence[Exporter]:
        """Return new in-process exporters of all plugins, as configured now."""

    def open_storage(self) -> Storage:
        """Return the storage; raises `Unavailable` while it is not open."""

    def component(self, name: str) -> Component | None:
        """Return the running component of that name, for pages that show its state."""
