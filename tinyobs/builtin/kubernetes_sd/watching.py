"""Keeps the objects of one kind in step with the API server: a list once, then a watch, for ever.

Several entries of the configuration that look at the same objects share one `Watcher`.  The first that runs it does
the work; when that one ends, the next goes on where it stopped.  The way of client-go's reflector: after an error or
the end of an answer the watch goes on from the last resource version; when the server does not remember that version
(410), the list is asked for again and compared.  Until then the last good objects stay.
"""

from __future__ import annotations

import math
import random
from contextlib import aclosing
from typing import Any, Final, Protocol, TypeAlias, TypeVar
from weakref import WeakValueDictionary

import structlog
import trio
from attrs import Factory, define

from ...discovery.call_durations import Durations
from ...discovery.refreshing import DiscoveryError
from ...http_client import Client, HttpError
from .access import Access
from .client import ANSWER_SECONDS_MAX, ApiClient, ApiError, Event, Scope
from .objects import Object

WATCH_SECONDS: Final = (240, 480)
"""How long the server is asked to keep an answer open; by chance, so that not all watches end together."""
WATCH_GRACE_SECONDS: Final = 30.0
"""How much later than that a watch ends from this side: the server is gone without a word."""
WATCH_SECONDS_MIN: Final = 1.0
"""An answer that ends sooner is an error: asking again at once would be a storm."""
LIST_SECONDS_MIN: Final = 5.0
"""A server that has forgotten a list sooner than this is asked again after a pause."""
RECONNECT_SECONDS_MAX: Final = 1.0
"""A watch whose connection broke begins again after a part of this: others lost theirs at the same time."""
BACKOFF_FIRST_SECONDS: Final = 1.0
BACKOFF_MAX_SECONDS: Final = 30.0
BACKOFF_RESET_SECONDS: Final = 120.0
"""After so long without an error the pauses begin anew."""
UNUSED_SECONDS_MAX: Final = 60.0
"""How long the objects of a watcher that nobody uses may be gone on with: a reload takes less."""
COMPARED_IN_TURN: Final = 500
"""Objects that are compared before others get their turn."""

log = structlog.get_logger("kubernetes_sd")


class Listener(Protocol):
    """Is told what happens to the objects; must not wait."""

    def changed(self, scope: Scope, key: str, event: str, differs: bool) -> None:
        """Take note of an `add`, `update` or `delete`; `differs`: whether what is kept of the object changed."""

    def listed(self, scope: Scope) -> None:
        """Take note that all objects are there."""

    def failed(self, scope: Scope, reason: str) -> None:
        """Take note of a list or a watch that failed."""


@define
class RequestCounters:
    """What one entry has asked an API server."""

    failures: int = 0
    statuses: dict[int, int] = Factory(dict)
    """Status of HTTP -> answers."""
    durations: Durations = Factory(Durations)
    """By path."""

    def note(self, path: str, status: int, seconds: float) -> None:
        """Count an answer, whose head took this long."""
        self.statuses[status] = self.statuses.get(status, 0) + 1
        self.durations.observe(path, seconds)


@define(eq=False)
class Watcher:
    """The objects of one scope."""

    scope: Scope
    access: Access
    objects: dict[str, Object] = Factory(dict)
    """By key."""
    is_listed: bool = False
    listeners: list[Listener] = Factory(list)
    error: str = ""
    """Why the last attempt failed, "" when it did not."""
    unused_since: float = math.inf
    """When the last listener left, on trio's clock."""
    _version: str = ""
    _turn: trio.Lock = Factory(trio.Lock)

    def add(self, listener: Listener) -> None:
        """Tell a listener of what happens from now on."""
        self.listeners.append(listener)
        self.unused_since = math.inf

    def remove(self, listener: Listener) -> None:
        """Tell it no more."""
        self.listeners.remove(listener)
        if not self.listeners:
            self.unused_since = trio.current_time()

    async def run(self, counters: RequestCounters) -> None:
        """Keep in step until cancelled; of several that call this, one at a time does it."""
        async with self._turn:
            backoff = BACKOFF_FIRST_SECONDS
            while True:
                began = trio.current_time()
                pause = 0.0
                try:
                    await self._follow(counters)
                except (HttpError, DiscoveryError) as e:
                    self._note_failure(str(e), counters)
                except ApiError as e:
                    pause = e.retry_after_seconds
                    if e.status == 410:
                        self._version = ""
                    if e.status == 401:
                        self.access.forget_credentials()
                    self._note_failure(str(e), counters)
                if trio.current_time() - began > BACKOFF_RESET_SECONDS:
                    backoff = BACKOFF_FIRST_SECONDS
                await trio.sleep(max(backoff * random.uniform(0.5, 1.5), pause))  # noqa: S311 - jitter
                backoff = min(backoff * 2, BACKOFF_MAX_SECONDS)

    async def _follow(self, counters: RequestCounters) -> None:
        """List if need be, and watch again and again, until something fails."""
        endpoint = await self.access.endpoint()
        client = Client(endpoint.http)
        try:
            api = ApiClient(endpoint.url, client, counters.note)
            listed = -math.inf
            while True:
                if not self._version:
                    objects, version = await api.list_objects(self.scope)
                    await self._replace(objects)
                    self._version, listed = version, trio.current_time()
                try:
                    await self._watch(api)
                except ApiError as e:
                    if e.status != 410 or trio.current_time() - listed < LIST_SECONDS_MIN:
                        raise
                    self._version = ""
        finally:
            await client.aclose()

    async def _watch(self, api: ApiClient) -> None:
        """Apply events until the answer ends."""
        seconds = random.randint(*WATCH_SECONDS)  # noqa: S311 - jitter
        opened: float | None = None
        count = 0
        with trio.move_on_after(ANSWER_SECONDS_MAX) as limit:
            try:
                async with aclosing(api.watch(self.scope, self._version, seconds)) as events:
                    async for event in events:
                        if event.kind == "OPEN":
                            opened = trio.current_time()
                            limit.deadline = opened + seconds + WATCH_GRACE_SECONDS
                            self._note_success()
                        else:
                            count += 1
                            self._apply(event)
            except HttpError:
                if opened is None or trio.current_time() - opened < WATCH_SECONDS_MIN:
                    raise
                await trio.sleep(random.uniform(0, RECONNECT_SECONDS_MAX))  # noqa: S311 - jitter
        if opened is None:
            raise ApiError(f"no answer to watch {self.scope} within {ANSWER_SECONDS_MAX:g} s")
        if trio.current_time() - opened < WATCH_SECONDS_MIN:
            if not count:
                raise ApiError(f"the API server ends the watch of {self.scope} at once")
            await trio.sleep(WATCH_SECONDS_MIN)

    def _apply(self, event: Event) -> None:
        one = event.object
        if one is not None and one.meta.name:
            key = one.meta.key
            if event.kind == "DELETED":
                if self.objects.pop(key, None) is not None:
                    self._tell(key, "delete", True)
            else:
                self._put(key, one)
        self._version = event.version

    def _put(self, key: str, one: Object) -> None:
        before = self.objects.get(key)
        self.objects[key] = one
        self._tell(key, "add" if before is None else "update", before != one)

    async def _replace(self, objects: dict[str, Object]) -> None:
        """Compare a new list with what was there, and tell of the differences."""
        for key in [k for k in self.objects if k not in objects]:
            del self.objects[key]
            self._tell(key, "delete", True)
        for count, (key, one) in enumerate(objects.items(), 1):
            if self.objects.get(key) != one:
                self._put(key, one)
            if count % COMPARED_IN_TURN == 0:
                await trio.lowlevel.checkpoint()
        self.is_listed = True
        for listener in self.listeners:
            listener.listed(self.scope)

    def _tell(self, key: str, event: str, differs: bool) -> None:
        for listener in self.listeners:
            listener.changed(self.scope, key, event, differs)

    def _note_failure(self, reason: str, counters: RequestCounters) -> None:
        """Count every failure, log each only once as long as it stays the same."""
        counters.failures += 1
        if reason != self.error:
            self.error = reason
            log.error("objects cannot be had; the last good ones stay", objects=str(self.scope), reason=reason)
        for listener in self.listeners:
            listener.failed(self.scope, reason)

    def _note_success(self) -> None:
        if self.error:
            self.error = ""
            log.info("objects can be had again", objects=str(self.scope))


_Key: TypeAlias = tuple[Any, ...]
_WATCHERS: Final[trio.lowlevel.RunVar[WeakValueDictionary[_Key, Watcher]]] = trio.lowlevel.RunVar("kubernetes_watchers")
_ACCESSES: Final[trio.lowlevel.RunVar[WeakValueDictionary[_Key, Access]]] = trio.lowlevel.RunVar("kubernetes_accesses")
"""What is in use in this run of trio; nobody keeps them but those who use them."""
T = TypeVar("T")


def shared_access(access: Access) -> Access:
    """Return the access that is in use to the same API server with the same credentials."""
    return _known(_ACCESSES).setdefault(access.key, access)


def shared_watcher(access: Access, scope: Scope) -> Watcher:
    """Return the watcher of a scope, the one that is in use already if there is one."""
    known, key = _known(_WATCHERS), (*access.key, scope)
    watcher = known.get(key)
    if watcher is None or trio.current_time() - watcher.unused_since > UNUSED_SECONDS_MAX:
        known[key] = watcher = Watcher(scope, access)
    return watcher


def _known(variable: trio.lowlevel.RunVar[WeakValueDictionary[_Key, T]]) -> WeakValueDictionary[_Key, T]:
    try:
        return variable.get()
    except LookupError:
        known: WeakValueDictionary[_Key, T] = WeakValueDictionary()
        variable.set(known)
        return known
