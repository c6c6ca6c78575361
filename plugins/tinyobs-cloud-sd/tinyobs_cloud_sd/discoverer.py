"""What all kinds here share: JSON answers page by page, and credentials that are made anew when they are refused."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias, TypeVar
from urllib.parse import urlsplit, urlunsplit

import trio
from tinyobs.abc import DiscovererContext
from tinyobs.config.http_client import HttpClientConfig
from tinyobs.discovery.http_json import JsonAnswer, JsonClient, Params, StatusError
from tinyobs.discovery.refreshing import DiscoveryError, RefreshingDiscoverer
from tinyobs.errors import TinyObsError
from tinyobs.http_client import Client

PAGES_MAX: Final = 10_000
"""Pages that one list may have."""
ANSWER_BYTES_MAX: Final = 64 << 20
"""Longest answer; a page of a list is far shorter."""
UNAUTHORIZED: Final = 401
Target: TypeAlias = dict[str, str]
T = TypeVar("T")
R = TypeVar("R")


class CloudDiscoverer(RefreshingDiscoverer):
    """Asks an interface over HTTP.  Each request may take as long as the interval, as in Prometheus."""

    def __init__(self, kind: str, interval_ms: int, context: DiscovererContext, http: HttpClientConfig) -> None:
        super().__init__(kind, interval_ms, context)
        self._http = http
        self._json = JsonClient(http, deadline_seconds=self.interval_seconds, body_bytes_max=ANSWER_BYTES_MAX)
        self._client: Client | None = None

    def client(self) -> Client:
        """Return a plain client with the settings of this entry; raises `HttpError` when they cannot be used."""
        if self._client is None:
            self._client = Client(self._http)
        return self._client

    async def aclose(self) -> None:
        """Close the connections."""
        await self._json.aclose()
        if self._client is not None:
            await self._client.aclose()

    async def credentials(self) -> Mapping[str, str]:
        """Return the headers that say who asks, beside those of the configuration."""
        return {}

    def forget_credentials(self) -> bool:
        """Make the next `credentials` anew, and tell whether that may help: the interface took none of the last."""
        return False

    async def ask(
        self,
        url: str,
        params: Params = (),
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
    ) -> JsonAnswer:
        """Return an answer with status 2xx; after a 401 it asks once more, with new credentials."""
        for _ in range(2):
            fields = {**await self.credentials(), **(headers or {})}
            try:
                return await self._json.request(method, url, params, headers=fields, content=content)
            except StatusError as e:
                if e.status != UNAUTHORIZED or not self.forget_credentials():
                    raise
                refused = e
        raise refused

    async def get(self, url: str, params: Params = (), headers: Mapping[str, str] | None = None) -> Any:
        """Return the value of a JSON answer."""
        return (await self.ask(url, params, headers=headers)).value

    async def linked_pages(self, url: str, next_of: Callable[[Any], str]) -> list[Any]:
        """Return the pages of a list in which each names the address of the next.

        next_of: page -> address, "" at the end.
        """
        pages: list[Any] = []
        asked: set[str] = set()
        while url not in asked:
            if len(pages) == PAGES_MAX:
                raise DiscoveryError(f"a list has more than {PAGES_MAX} pages")
            asked.add(url)
            pages.append(await self.get(url))
            link = next_of(pages[-1])
            if not link:
                return pages
            url = at_home(link, url)
        raise DiscoveryError("a list goes on at a page that was read already")


async def in_thread(make: Callable[..., Iterable[Target]], *given: Any) -> list[Target]:
    """Return the targets that a pure function makes.  Nothing else waits while it makes thousands."""
    return await trio.to_thread.run_sync(lambda: list(make(*given)))


async def each(items: Sequence[T], work: Callable[[T], Awaitable[R]], at_once_max: int) -> list[R]:
    """Return what work on each item gave, done for some at the same time; raises the first error."""
    found: dict[int, R] = {}
    failed: list[TinyObsError] = []
    limit = trio.CapacityLimiter(at_once_max)

    async def one(i: int) -> None:
        async with limit:
            if failed:
                return
            try:
                found[i] = await work(items[i])
            except TinyObsError as e:
                failed.append(e)

    async with trio.open_nursery() as nursery:
        for i in range(len(items)):
            nursery.start_soon(one, i)
    if failed:
        raise failed[0]
    return [found[i] for i in range(len(items))]


def at_home(link: str, home: str) -> str:
    """Return what a link leads to, at the host that was asked.

    A server behind a proxy may name itself wrongly; and whoever else it names must not be told the credentials.
    """
    try:
        there, here = urlsplit(link), urlsplit(home)
    except ValueError:
        raise DiscoveryError(f"the answer makes no sense: the address of the next page is {link[:100]!r}") from None
    return urlunsplit((here.scheme, here.netloc, there.path, there.query, ""))
