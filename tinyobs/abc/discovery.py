"""Discovery of scrape targets: kinds that plugins offer, and one configured discovery of a kind."""

from __future__ import annotations

import abc
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs
from attrs import frozen

from .services import Clock

if TYPE_CHECKING:
    import trio


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

        Called in worker threads, as `Component.statistics` is.  Those of all discoverers of a class are united: numbers and
        summaries (`MetricFamily`) add up, mappings unite, and what counts since the start (fields that end in `_total`; mappings
        add up by key) outlives the discoverer.
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
    note_failure: Callable[[], None] = lambda: None
    """Counts a failed attempt in `prometheus_sd_refresh_failures_total`."""
    note_refresh: Callable[[float], None] = lambda seconds: None
    """Adds the time that an attempt took to `prometheus_sd_refresh_duration_seconds`."""


@frozen
class DiscovererKind:
    """A kind of discovery: `key` in a scrape config holds a list of `schema` values, each made into a `Discoverer`."""

    key: str
    schema: type
    """A frozen attrs class; the configuration decoder reads it."""
    make: Callable[[Any, DiscovererContext], Discoverer]
