"""Everything that the HTTP handlers need from the agent, as one frozen object of small parts.

The web layer knows neither storage nor runtime: the agent fills an `ApiServices`, tests fill one with fakes.  Views
(`TargetView`, `BuildInfo`, ...) are snapshots; a callable returns a fresh one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from attrs import Factory, frozen

from ..abc import Clock, Queryable, TargetGroup
from ..model.blocks import StoredBlock
from ..model.cardinality import Cardinality, CardinalityQuery
from ..model.exemplars import SeriesExemplars
from ..model.families import MetricFamily
from ..model.labels import Labels
from ..model.matchers import Matcher
from ..model.metadata import MetricMetadata
from ..promql.nodes import Expr
from ..promql.result import Result
from ..promql.signatures import FUNCTIONS, Signature
from .api_statistics import ApiStatistics
from .notifications import Notifications
from .queries.desk import QueryDesk
from .relabelling import RelabelServices
from .target_trial import TargetTester


class PromqlEngine(Protocol):
    """The two calls of the query engine.  Synchronous; called in worker threads; raise `QueryError`."""

    def instant(
        self,
        queryable: Queryable,
        text: str,
        time_ms: int,
        *,
        lookback_ms: int | None = None,
        check: Callable[[], None] | None = None,
    ) -> Result:
        """Evaluate at one time.  `check` is called between pieces of work and raises to stop it."""

    def range(
        self,
        queryable: Queryable,
        text: str,
        start_ms: int,
        end_ms: int,
        step_ms: int,
        *,
        lookback_ms: int | None = None,
        check: Callable[[], None] | None = None,
    ) -> Result:
        """Evaluate at `start_ms`, `start_ms + step_ms`, ... up to `end_ms`."""


@frozen
class TargetView:
    """An active scrape target; the fields are those of `/api/v1/targets`.  last_scrape_ms 0: never scraped."""

    discovered_labels: Labels
    labels: Labels
    scrape_pool: str
    scrape_url: str
    global_url: str
    health: str = "unknown"
    last_error: str = ""
    last_scrape_ms: int = 0
    last_scrape_seconds: float = 0.0
    scrape_interval: str = ""
    scrape_timeout: str = ""
    metadata: Mapping[str, MetricMetadata] = Factory(dict)
    """Of the families that it exposed the last time, by name."""


@frozen
class DroppedTarget:
    """A discovered target that relabelling dropped."""

    discovered_labels: Labels
    scrape_pool: str


@frozen
class TargetElsewhere:
    """A target that other members of the cluster scrape: their numbers, and where they are if that was said."""

    discovered_labels: Labels
    labels: Labels
    scrape_pool: str
    scrape_url: str
    members: Sequence[int]
    member_urls: Sequence[str] = ()


@frozen
class TargetsView:
    """All targets.  dropped: those still remembered; dropped_counts: pool -> how many there are."""

    pools: Sequence[str] = ()
    active: Sequence[TargetView] = ()
    dropped: Sequence[DroppedTarget] = ()
    dropped_counts: Mapping[str, int] = Factory(dict)
    elsewhere: Sequence[TargetElsewhere] = ()
    elsewhere_counts: Mapping[str, int] = Factory(dict)
    """Pool -> how many targets other members of the cluster scrape; {} where nothing is shared."""


@frozen
class BuildInfo:
    """What `/api/v1/status/buildinfo` says; Grafana reads the version to know what the server can do."""

    version: str
    revision: str = ""
    branch: str = ""
    build_user: str = ""
    build_date: str = ""
    go_version: str = ""
    """Named so for clients; holds the Python version."""


@frozen
class RuntimeInfo:
    """What `/api/v1/status/runtimeinfo` says; times in milliseconds since 1970."""

    start_ms: int
    working_directory: str
    hostname: str
    reload_succeeded: bool
    last_reload_ms: int
    storage_retention: str
    corruption_count: int = 0
    task_count: int = 0
    processors_max: int = 0
    memory_bytes_max: int = 0


@frozen
class Readiness:
    """Whether the agent serves yet.  The replay numbers count log segments; `reason` is for people."""

    ready: bool
    reason: str = ""
    replay_first: int = 0
    replay_last: int = 0
    replay_current: int = 0


@frozen
class StorageAdmin:
    """What changes the storage as a whole.  All raise `StorageError` or `Unavailable`; `delete` also `LimitExceeded`.

    delete: (matcher sets, first ms, last ms) -> None, durable.  clean_tombstones: returns when all space of deletes is
    free.  snapshot: (skip_head) -> its name.  compact: returns when everything is packed as densely as can be.
    """

    delete: Callable[[Sequence[Sequence[Matcher]], int, int], Awaitable[None]]
    clean_tombstones: Callable[[], Awaitable[None]]
    snapshot: Callable[[bool], Awaitable[str]]
    compact: Callable[[], Awaitable[None]]


@frozen
class ApiServices:
    """What the agent gives to the handlers.  Synchronous callables must be quick: they run in the event loop.

    parse raises `QueryParseError`.  format prints a syntax tree; None: `/format_query` is not served.
    metadata: family name -> metadata.  expose writes families in the format that an `Accept` header asks for and returns
    body and content type.  exemplars: (matcher sets, first ms, last ms) -> those of series that fulfil any of the sets.
    exemplars, gather, expose and cardinality run in worker threads; exemplars and cardinality raise `StorageError`.
    reload raises `ConfigError`.
    """

    clock: Clock
    queryable: Queryable
    promql: PromqlEngine
    parse: Callable[[str], Expr]
    metadata: Callable[[], Mapping[str, MetricMetadata]]
    exemplars: Callable[[Sequence[Sequence[Matcher]], int, int], Sequence[SeriesExemplars]]
    targets: Callable[[], TargetsView]
    config_yaml: Callable[[], str]
    flags: Mapping[str, str]
    build: BuildInfo
    runtime: Callable[[], RuntimeInfo]
    cardinality: Callable[[CardinalityQuery], Cardinality]
    limits: Callable[[], Mapping[str, Any]]
    """What the limits refused and folded; in a worker thread."""
    gather: Callable[[], Sequence[MetricFamily]]
    expose: Callable[[Sequence[MetricFamily], str], tuple[bytes, str]]
    readiness: Callable[[], Readiness]
    reload: Callable[[], Awaitable[None]]
    quit: Callable[[], None]
    admin: StorageAdmin | None = None
    """None: the admin API is not enabled."""
    format: Callable[[Expr], str] | None = None
    notifications: Notifications = Factory(lambda: Notifications(lambda: 0, 16))
    statistics: ApiStatistics = Factory(ApiStatistics)
    blocks: Callable[[], Sequence[StoredBlock]] = tuple
    """The immutable pieces of the storage; runs in a worker thread and raises `StorageError`."""
    features: Callable[[], Mapping[str, Mapping[str, bool]]] = dict
    """Category -> feature -> whether it is there or switched on."""
    external_labels: Callable[[], Labels] = tuple
    """Those of the running configuration."""
    search_enabled: Callable[[], bool] = lambda: False
    """Whether the search endpoints are switched on."""
    functions: Mapping[str, Signature] = FUNCTIONS
    """The functions that `parse` knows."""
    lookback_ms: int = 300_000
    """How far back the newest sample of a series may lie (`--query.lookback-delta`)."""
    desk: QueryDesk | None = None
    """Where queries are taken in; None: the API has one of its own."""
    relabelling: RelabelServices = Factory(RelabelServices)
    test_target: TargetTester | None = None
    """None: nothing is scraped here."""
    discovered: Callable[[], Mapping[str, Sequence[TargetGroup]]] = dict
    """Scrape pool -> what its discovery has found, before relabelling."""
    series_count: Callable[[], int] = lambda: 0
    """About how many series are stored; quick queries are measured again when the number has doubled."""
