"""What an agent gives to its parts, and what they hand to it besides themselves: config sections and routes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from attrs import frozen

from ..model.batch import AppendResult, Batch
from ..model.families import MetricFamily
from ..model.registry import SeriesRegistry
from .log import CursorStart, Logged, LogLoss
from .reading import Querier
from .receiving import Reception, Then
from .running import Component, Exporter
from .storing import Storage

if TYPE_CHECKING:
    from .discovery import DiscovererKind

T = TypeVar("T")


@frozen
class ConfigSection:
    """A plugin's section `name` below `tinyobs:`; `schema` is a frozen attrs class whose fields all have defaults."""

    name: str
    schema: type


@frozen
class Dialect:
    """How the clients of a protocol are refused, and how they say who they are.

    refuse: makes the answer out of a `starlette.requests.Request` and a `tinyobs.web.problem.HttpError`, whether a handler raised
    it or there was none to ask: credentials that are wrong, a method or a path that does not exist, a daemon that is not ready.
    credentials: parameters of the URL that may have a user and a password, for requests without the header `Authorization`.
    """

    refuse: Callable[[Any, Any], Any]
    credentials: tuple[str, str] | None = None


@frozen
class Route:
    """An HTTP route: `handler` takes a `starlette.requests.Request` and returns a `starlette.responses.Response`.

    It is cancelled when its client goes away; with `whole_body`, for handlers that read the body first, it is not.
    The one method `WEBSOCKET` is for WebSockets: the handler takes a `tinyobs.web.websocket.WebSocket`, and what it
    returns is ignored.  A `dialect` counts for the path, whichever of its routes has it.
    """

    path: str
    handler: Callable[[Any], Awaitable[Any]]
    methods: tuple[str, ...] = ("GET",)
    whole_body: bool = False
    dialect: Dialect | None = None


class Clock(Protocol):
    """Wall time; tests give a virtual one."""

    def now_ms(self) -> int:
        """Return milliseconds since 1970."""


class LogFollower(Protocol):
    """A cursor as a sink uses it in the event loop; one task reads, any task settles."""

    @property
    def is_draining(self) -> bool:
        """Whether the agent is stopping: what cannot be handed on at once is better left to the next process."""

    async def read(self, samples_max: int) -> Sequence[Logged]:
        """Wait for committed records and return them in order; () when the agent stops and all were read.

        Cancelled, it loses nothing.  Damage in the log is logged and passed over; see `take_loss`.
        """

    def settle(self, logged: Logged) -> None:
        """Say that a record has been dealt with: delivered, or refused for good.  Records may be settled in any order.

        The cursor moves up to the first that is not settled, and is saved soon after.
        """

    def take_loss(self) -> LogLoss:
        """Return what was missed since the last call; see `LogLoss`."""

    def bytes_behind(self) -> int:
        """Return how many bytes of the log are still to be read."""

    async def aclose(self) -> None:
        """Save the place and close the cursor; idempotent."""


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

    async def append(self, batch: Batch, *, may_wait: bool = False, then: Then | None = None) -> AppendResult:
        """Pass a batch through the processors into storage; returns when it is durable.

        may_wait: nobody waits for the samples, so that the commit may begin a moment later and serve others as well.
        then: called in the writer's thread when the batch is durable, before this returns; what it raises is raised here.
        Raises `Unavailable` when the queue is full or the disk is, `StorageError` when storage failed.
        """

    async def append_from(self, make: Callable[[], Batch], samples: int) -> AppendResult:
        """Store what `make` returns, which is called in the writer's thread and must be quick; what it raises is raised.

        samples: about how many the batch has, for the limits of the queue.
        """

    def reception(self, protocol: str) -> Reception:
        """Return the way into storage for samples that are pushed by a protocol, which becomes a label of its metrics."""

    async def follow(self, name: str, start: CursorStart) -> LogFollower:
        """Return a follower of the log at the durable cursor of that name; raises `StorageError` where there is none.

        The caller closes it.
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
