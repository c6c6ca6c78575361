"""Asks an API server: lists in pages, and watches, which are answers that do not end.

Protocol: kubernetes.io/docs/reference/using-api/api-concepts (`limit` and `continue`, `watch`, `resourceVersion`,
bookmarks, 410).  Every body and line is bounded.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from time import perf_counter
from typing import Any, Final
from urllib.parse import quote, urlencode

import trio
from attrs import frozen

from ...errors import TinyObsError
from ...http_client import Answer, Client
from .json_lists import read_list
from .objects import Object
from .resources import Resource

PAGE_OBJECTS: Final = 500
"""Objects asked for at a time."""
PAGE_BYTES_MAX: Final = 256 << 20
"""Longest page; an object has at most 1.5 MB."""
LINE_BYTES_MAX: Final = 8 << 20
"""Longest event of a watch."""
ERROR_BYTES_MAX: Final = 64 << 10
OBJECTS_MAX: Final = 500_000
"""Objects of one kind that are kept."""
ANSWER_SECONDS_MAX: Final = 30.0
"""How long a page, or the beginning of a watch, may take."""
BYTES_IN_LOOP_MAX: Final = 256 << 10
"""Pages and events up to this size are decoded at once, longer ones in a thread: a few milliseconds are no matter."""
RETRY_AFTER_SECONDS_MAX: Final = 300.0
EVENTS: Final = ("ADDED", "MODIFIED", "DELETED", "BOOKMARK")

_METADATA_ONLY: Final = "application/json;as={};g=meta.k8s.io;v=v1,application/json"


class ApiError(TinyObsError):
    """The API server refused; `status` is that of HTTP, or of the error that a watch told of."""

    def __init__(self, message: str, status: int = 0, retry_after_seconds: float = 0.0) -> None:
        self.status, self.retry_after_seconds = status, retry_after_seconds
        super().__init__(message)


@frozen
class Scope:
    """Which objects are meant: a kind, a namespace or all ("") and selectors."""

    resource: Resource
    namespace: str = ""
    label: str = ""
    field: str = ""

    def __str__(self) -> str:
        place = f"namespace {self.namespace}" if self.namespace else "all namespaces"
        return f"{self.resource.name} in {place}" if self.resource.is_namespaced else self.resource.name

    @property
    def path(self) -> str:
        """Return where the API has them."""
        return self.resource.path(quote(self.namespace, safe=""))

    def url(self, base: str, **query: str) -> str:
        """Return the URL of a request for them."""
        selectors = {"labelSelector": self.label, "fieldSelector": self.field}
        given = {k: v for k, v in (selectors | query).items() if v}
        return f"{base.rstrip('/')}{self.path}?{urlencode(given)}"


@frozen
class Event:
    """One line of a watch."""

    kind: str
    """`ADDED`, `MODIFIED`, `DELETED`, `BOOKMARK`, or `OPEN` for the beginning of the answer."""
    version: str
    """The resource version to go on from."""
    object: Object | None


class ApiClient:
    """One connection to an API server; `note` is told path, status and time to the head, in s, of each answer."""

    def __init__(self, base: str, client: Client, note: Callable[[str, int, float], None]) -> None:
        self._base, self._client, self._note = base, client, note

    async def list_objects(self, scope: Scope) -> tuple[dict[str, Object], str]:
        """Return (key -> object, resource version); raises `HttpError` or `ApiError`.

        What a field selector leaves over, the pods of one node, is asked of the server's memory (`resourceVersion=0`):
        else the storage behind it would be read as a whole, for each agent.  All else comes in pages, which only the
        storage gives: the memory gives the list in one piece, as large as the cluster.  When the list changes so much that the server cannot go on with it, it is asked for in one piece.
        """
        try:
            return await self._list(scope, PAGE_OBJECTS)
        except ApiError as e:
            if e.status != 410:
                raise
        return await self._list(scope, 0)

    async def _list(self, scope: Scope, limit: int) -> tuple[dict[str, Object], str]:
        found: dict[str, Object] = {}
        query = {"limit": str(limit)} if limit else {}
        if scope.field:
            query["resourceVersion"] = "0"
        while True:
            metadata, objects = await self._page(scope, query)
            for one in objects:
                if one.meta.name:
                    found[one.meta.key] = one
            if len(found) > OBJECTS_MAX:
                raise ApiError(f"more than {OBJECTS_MAX} {scope}; narrow them with namespaces or selectors")
            rest = metadata.get("continue")
            if not rest:
                return found, str(metadata.get("resourceVersion", ""))
            query["continue"] = str(rest)
            query.pop("resourceVersion", None)

    async def _page(self, scope: Scope, query: Mapping[str, str]) -> tuple[Mapping[str, Any], list[Object]]:
        with trio.move_on_after(ANSWER_SECONDS_MAX):
            headers = _accept(scope.resource, "PartialObjectMetadataList")
            began = perf_counter()
            async with self._client.stream("GET", scope.url(self._base, **query), headers) as answer:
                self._note(scope.path, answer.status, perf_counter() - began)
                if answer.status != 200:
                    raise await _refusal(answer, "list", scope)
                data = await _body(answer, PAGE_BYTES_MAX, f"a page of {scope}")
                try:
                    if len(data) <= BYTES_IN_LOOP_MAX:
                        return read_list(data, scope.resource.read)
                    return await trio.to_thread.run_sync(read_list, data, scope.resource.read)
                except ValueError as e:
                    raise ApiError(f"cannot read the list of {scope}: {e}") from e
        raise ApiError(f"no list of {scope} within {ANSWER_SECONDS_MAX:g} s")

    async def watch(self, scope: Scope, version: str, seconds: int) -> AsyncGenerator[Event, None]:
        """Yield what happens after a resource version until the server ends the answer, after `seconds` or before.

        The first event is `OPEN`.  Use it with `contextlib.aclosing`.  Raises `HttpError` or `ApiError`; with status 410 the version is too old.
        """
        url = scope.url(
            self._base,
            watch="1",
            allowWatchBookmarks="true",
            resourceVersion=version,
            timeoutSeconds=str(seconds),
        )
        headers = _accept(scope.resource, "PartialObjectMetadata")
        began = perf_counter()
        async with self._client.stream("GET", url, headers) as answer:
            self._note(scope.path, answer.status, perf_counter() - began)
            if answer.status != 200:
                raise await _refusal(answer, "watch", scope)
            yield Event("OPEN", version, None)  # noqa: ASYNC119 - used with aclosing, as are the next
            async with aclosing(_lines(answer, scope)) as lines:
                async for line in lines:
                    if len(line) <= BYTES_IN_LOOP_MAX:
                        yield _event(line, scope)  # noqa: ASYNC119
                    else:
                        yield await trio.to_thread.run_sync(_event, line, scope)  # noqa: ASYNC119


def _accept(resource: Resource, kind: str) -> dict[str, str]:
    return {"Accept": _METADATA_ONLY.format(kind) if resource.only_metadata else "application/json"}


async def _body(answer: Answer, bytes_max: int, what: str) -> bytes:
    body = bytearray()
    async with aclosing(answer.pieces()) as pieces:
        async for piece in pieces:
            body += piece
            if len(body) > bytes_max:
                raise ApiError(f"{what} is longer than {bytes_max} bytes")
    return bytes(body)


async def _lines(answer: Answer, scope: Scope) -> AsyncGenerator[bytes, None]:
    """Yield complete lines."""
    rest = bytearray()
    async with aclosing(answer.pieces()) as pieces:
        async for piece in pieces:
            rest += piece
            *lines, last = rest.split(b"\n") if b"\n" in piece else [rest]
            rest = last
            for line in lines:
                if line.strip():
                    yield bytes(line)  # noqa: ASYNC119 - used with aclosing
            if len(rest) > LINE_BYTES_MAX:
                raise ApiError(f"an event of {scope} is longer than {LINE_BYTES_MAX} bytes")


def _event(line: bytes, scope: Scope) -> Event:
    try:
        raw = json.loads(line)
        kind, given = raw["type"], raw["object"]
        if kind == "ERROR":
            raise ApiError(f"watching {scope}: {_message(given)}", _code(given))
        if kind not in EVENTS:
            raise ValueError(f"it is of no kind that is known: {kind!r}")
        version = str(given["metadata"]["resourceVersion"])
    except (ValueError, KeyError, TypeError, RecursionError) as e:
        raise ApiError(f"cannot read an event of {scope}: {type(e).__name__}: {e}") from e
    return Event(kind, version, None if kind == "BOOKMARK" else scope.resource.read(given))


async def _refusal(answer: Answer, verb: str, scope: Scope) -> ApiError:
    """Return what the status of an answer means, and what to do about it."""
    with trio.move_on_after(ANSWER_SECONDS_MAX):
        body = await _body(answer, ERROR_BYTES_MAX, "the text of an error")
    try:
        said = _message(json.loads(body))
    except (ValueError, RecursionError):
        said = ""
    told = f": {said}" if said else ""
    resource, status = scope.resource, answer.status
    if status == 401:
        reason = f"the API server does not accept the credentials, to {verb} {scope} (401){told}"
    elif status == 403:
        group = f' of the API group "{resource.group}"' if resource.group else ""
        reason = (
            f'not allowed to {verb} {scope} (403): grant the verbs "list" and "watch" on the resource '
            f'"{resource.name}"{group}{told}'
        )
    elif status == 404:
        reason = f"the API server has no {resource.name} at {resource.path(scope.namespace)} (404){told}"
    else:
        reason = f"the API server answers {status} {answer.reason} to {verb} {scope}{told}"
    return ApiError(reason, status, _retry_after(answer))


def _retry_after(answer: Answer) -> float:
    try:
        return min(max(float(answer.headers.get("Retry-After", "0")), 0.0), RETRY_AFTER_SECONDS_MAX)
    except ValueError:
        return 0.0


def _message(status: Any) -> str:
    """Return the text of a `Status` object, shortened."""
    message = status.get("message") if isinstance(status, dict) else None
    return message[:500] if isinstance(message, str) else ""


def _code(status: Any) -> int:
    code = status.get("code") if isinstance(status, dict) else None
    return code if isinstance(code, int) else 0
