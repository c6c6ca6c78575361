"""A fake Kubernetes API server on loopback: lists in pages, watches, bookmarks, 410, credentials, and faults on demand.

It speaks the documented protocol (kubernetes.io/docs/reference/using-api/api-concepts) for the resources that discovery
asks for; objects are plain JSON.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any
from urllib.parse import parse_qs, urlsplit

import h11
import trio
from attrs import Factory, define
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from tinyobs.web.options import ServerOptions, TlsOptions
from tinyobs.web.server import Server

GROUPS = {
    "endpointslices": "discovery.k8s.io",
    "ingresses": "networking.k8s.io",
    "replicasets": "apps",
    "jobs": "batch",
}


@define(eq=False)
class Watch:
    """An answer to a watch that is being sent."""

    resource: str
    namespace: str
    query: Mapping[str, str]
    send: trio.MemorySendChannel[bytes]
    receive: trio.MemoryReceiveChannel[bytes]
    is_broken: bool = False
    ends: float = Factory(lambda self: trio.current_time() + int(self.query["timeoutSeconds"]), takes_self=True)


@define(eq=False)
class FakeKubernetes:
    """The cluster's objects, and what it was asked."""

    token: str = ""
    """The bearer token that is demanded, "" for none."""
    refused: dict[str, tuple[int, str]] = Factory(dict)
    """Resource -> (status, message) instead of an answer; `pods/watch` for watches alone."""
    retry_after: str = ""
    """`Retry-After` of refusals."""
    expired_pages: int = 0
    """How many times a further page is answered with 410."""
    requests: list[tuple[str, dict[str, str], dict[str, str]]] = Factory(list)
    """Path, query and headers of each request."""
    version: int = 100
    port: int = 0
    is_tls: bool = False
    _objects: dict[str, dict[str, dict[str, Any]]] = Factory(dict)
    _history: list[tuple[int, str, str, dict[str, Any]]] = Factory(list)
    """Version, event, resource, object."""
    _forgotten: int = 0
    """Versions up to this one cannot be watched from any more."""
    _watches: list[Watch] = Factory(list)
    _opened: trio.Event = Factory(trio.Event)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"{'https' if self.is_tls else 'http'}://127.0.0.1:{self.port}"

    def put(self, resource: str, raw: dict[str, Any]) -> None:
        """Add or replace an object, and tell those who watch."""
        objects = self._objects.setdefault(resource, {})
        key = key_of(raw)
        event = "MODIFIED" if key in objects else "ADDED"
        objects[key] = self._happened(event, resource, raw)

    def delete(self, resource: str, key: str) -> None:
        """Remove an object, and tell those who watch."""
        self._happened("DELETED", resource, self._objects[resource].pop(key))

    def bookmark(self) -> None:
        """Tell all who watch how far they are."""
        for watch in list(self._watches):
            metadata = {"resourceVersion": str(self.version), "creationTimestamp": None}
            self._send(watch, "BOOKMARK", {**kind_of(watch.resource), "metadata": metadata})

    def send_error(self, code: int, message: str) -> None:
        """Tell all who watch of an error, and end the answers."""
        for watch in list(self._watches):
            self._send(watch, "ERROR", {"kind": "Status", "code": code, "message": message})
        self.end_watches()

    def send_raw(self, line: bytes) -> None:
        """Send a line to all who watch."""
        for watch in list(self._watches):
            watch.send.send_nowait(line)

    def forget(self) -> None:
        """Keep no history: who watches from an earlier version gets 410."""
        self._forgotten = self.version = self.version + 1
        self._history.clear()

    def end_watches(self) -> None:
        """End all answers as a server does after `timeoutSeconds`."""
        for watch in self._watches:
            watch.send.close()
        self._watches.clear()

    def break_watches(self) -> None:
        """Drop the connections of all who watch."""
        for watch in self._watches:
            watch.is_broken = True
        self.end_watches()

    @property
    def watched(self) -> list[tuple[str, str]]:
        """(resource, namespace) of each open watch, in order."""
        return sorted((w.resource, w.namespace) for w in self._watches)

    async def until_watched(self, count: int = 1) -> None:
        """Wait until there are so many open watches."""
        while len(self._watches) < count:
            await self._opened.wait()

    def asked(self, resource: str, verb: str) -> list[dict[str, str]]:
        """Return the queries of the lists or watches of a resource."""
        is_watch = verb == "watch"
        return [q for path, q, _ in self.requests if path.endswith("/" + resource) and ("watch" in q) is is_watch]

    def _happened(self, event: str, resource: str, raw: dict[str, Any]) -> dict[str, Any]:
        self.version += 1
        metadata = {**raw["metadata"], "resourceVersion": str(self.version)}
        new = {**kind_of(resource), **raw, "metadata": metadata}
        self._history.append((self.version, event, resource, new))
        for watch in list(self._watches):
            if watch.resource == resource and is_meant(new, watch.namespace, watch.query):
                self._send(watch, event, new)
        return new

    def _send(self, watch: Watch, event: str, raw: dict[str, Any]) -> None:
        watch.send.send_nowait(json.dumps({"type": event, "object": raw}).encode() + b"\n")

    def answer(self, target: str, head: dict[str, str]) -> tuple[int, bytes, list[tuple[str, str]], Watch | None]:
        """Return (status, body, headers, the watch whose lines are the body) for a request."""
        parts = urlsplit(target)
        query = {k: v[0] for k, v in parse_qs(parts.query).items()}
        self.requests.append((parts.path, query, head))
        resource, namespace = place_of(parts.path)
        refused = self._refusal(resource, query, head)
        if refused:
            status, message = refused
            body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status, "message": message}
            if status == 422:
                body["reason"] = "Invalid"
            more = [("Retry-After", self.retry_after)] if self.retry_after else []
            return status, json.dumps(body).encode(), more, None
        if "watch" not in query:
            return 200, self._page(resource, namespace, query, head), [], None
        return 200, b"", [], self._begin(resource, namespace, query)

    def _refusal(self, resource: str, query: Mapping[str, str], head: Mapping[str, str]) -> tuple[int, str] | None:
        if self.token and head.get("authorization") != f"Bearer {self.token}":
            return 401, "Unauthorized"
        if "sendInitialEvents" in query:
            return 422, "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled"
        if "watch" in query and int(query["resourceVersion"]) < self._forgotten:
            return 410, f"too old resource version: {query['resourceVersion']} ({self._forgotten})"
        if "continue" in query and "resourceVersion" in query:
            return 400, "specifying resource version is not allowed when using continue"
        if "continue" in query and self.expired_pages:
            self.expired_pages -= 1
            return 410, "The provided continue parameter is too old"
        if resource not in KINDS:
            return 404, "the server could not find the requested resource"
        return self.refused.get(f"{resource}/watch" if "watch" in query else resource, self.refused.get(resource))

    def _page(self, resource: str, namespace: str, query: Mapping[str, str], head: Mapping[str, str]) -> bytes:
        found = [o for o in self._objects.get(resource, {}).values() if is_meant(o, namespace, query)]
        begin, limit = int(query.get("continue", "0")), int(query.get("limit", "0")) or len(found) or 1
        metadata = {"resourceVersion": str(self.version)}
        if begin + limit < len(found):
            metadata["continue"] = str(begin + limit)
        items = found[begin : begin + limit]
        if "PartialObjectMetadataList" in head.get("accept", ""):
            items = [{"metadata": o["metadata"]} for o in items]
        # An empty list is null, as Go writes it.
        return json.dumps({**kind_of(resource, "List"), "metadata": metadata, "items": items or None}).encode()

    def _begin(self, resource: str, namespace: str, query: Mapping[str, str]) -> Watch:
        send, receive = trio.open_memory_channel[bytes](1 << 16)
        watch = Watch(resource, namespace, query, send, receive)
        for version, event, of, raw in self._history:
            if version > int(query["resourceVersion"]) and of == resource and is_meant(raw, namespace, query):
                self._send(watch, event, raw)
        self._watches.append(watch)
        self._opened.set()
        self._opened = trio.Event()
        return watch

    async def lines(self, watch: Watch) -> AsyncGenerator[bytes, None]:
        """Yield what is sent to who watches; raises `BrokenResourceError` to have the connection dropped."""
        try:
            while True:
                line = b""
                with trio.CancelScope(deadline=watch.ends), suppress(trio.EndOfChannel):
                    line = await watch.receive.receive()
                if watch.is_broken:
                    raise trio.BrokenResourceError
                if not line:
                    return
                yield line
        finally:
            if watch in self._watches:
                self._watches.remove(watch)


KINDS = {
    "pods": "Pod",
    "services": "Service",
    "endpoints": "Endpoints",
    "nodes": "Node",
    "namespaces": "Namespace",
    "endpointslices": "EndpointSlice",
    "ingresses": "Ingress",
    "replicasets": "ReplicaSet",
    "jobs": "Job",
}


def kind_of(resource: str, suffix: str = "") -> dict[str, str]:
    """Return what tells the type of an object, or with the suffix of a list."""
    group = GROUPS.get(resource)
    return {"kind": KINDS[resource] + suffix, "apiVersion": f"{group}/v1" if group else "v1"}


def place_of(path: str) -> tuple[str, str]:
    """Return (resource, namespace) of a path; a resource of another group or version is none."""
    parts = path.strip("/").split("/")
    resource, namespace = parts[-1], parts[-2] if parts[-3:-2] == ["namespaces"] else ""
    group = GROUPS.get(resource)
    expected = ["apis", group, "v1"] if group else ["api", "v1"]
    return (resource if parts[: len(expected)] == expected else ""), namespace


def key_of(raw: Mapping[str, Any]) -> str:
    """Return namespace/name, or the name alone."""
    meta = raw["metadata"]
    return f"{meta['namespace']}/{meta['name']}" if meta.get("namespace") else meta["name"]


def is_meant(raw: Mapping[str, Any], namespace: str, query: Mapping[str, str]) -> bool:
    """Tell whether an object is in a namespace and fits selectors of the form `key=value,...`."""
    meta = raw["metadata"]
    if namespace and meta.get("namespace") != namespace:
        return False
    for term in filter(None, query.get("labelSelector", "").split(",")):
        key, _, value = term.partition("=")
        if meta.get("labels", {}).get(key) != value:
            return False
    for term in filter(None, query.get("fieldSelector", "").split(",")):
        path, _, value = term.partition("=")
        found: Any = raw
        for part in path.split("."):
            found = found.get(part, {})
        if found != value:
            return False
    return True


def whole(connection: h11.Connection, status: int, body: bytes, more: list[tuple[str, str]] | None = None) -> bytes:
    """Return an answer."""
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body))), *(more or [])]
    out = connection.send(h11.Response(status_code=status, headers=headers)) or b""
    out += connection.send(h11.Data(data=body)) or b""
    return out + (connection.send(h11.EndOfMessage()) or b"")


@asynccontextmanager
async def serving(
    api: FakeKubernetes | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[FakeKubernetes]:
    """Serve on a free loopback port while the context is open; over TLS where a context is given."""
    api = api or FakeKubernetes()
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        api.port, api.is_tls = listeners[0].socket.getsockname()[1], tls is not None
        serve: list[Any] = [trio.SSLListener(x, tls, https_compatible=True) for x in listeners] if tls else listeners

        async def handle(stream: trio.abc.Stream) -> None:
            try:
                await converse(api, stream)
            except (trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError):
                pass
            finally:
                await trio.aclose_forcefully(stream)

        nursery.start_soon(trio.serve_listeners, handle, serve)
        yield api
        nursery.cancel_scope.cancel()


async def converse(api: FakeKubernetes, stream: trio.abc.Stream) -> None:
    """Answer the requests of one connection."""
    connection = h11.Connection(h11.SERVER)
    target, head = "", {}
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(bytes(await stream.receive_some(65536)))
        elif isinstance(event, h11.Request):
            target = event.target.decode()
            head = {name.decode().lower(): value.decode() for name, value in event.headers}
        elif isinstance(event, h11.EndOfMessage):
            status, body, more, watch = api.answer(target, head)
            if watch is None:
                await stream.send_all(whole(connection, status, body, more))
            else:
                await send_watch(api, watch, stream, connection)
            if connection.our_state is not h11.DONE:
                return
            connection.start_next_cycle()
        elif not isinstance(event, h11.Data):
            return


async def send_watch(api: FakeKubernetes, watch: Watch, stream: trio.abc.Stream, connection: h11.Connection) -> None:
    """Send the lines of a watch in chunks."""
    headers = [("Content-Type", "application/json"), ("Transfer-Encoding", "chunked")]
    async with aclosing(api.lines(watch)) as lines:
        await stream.send_all(connection.send(h11.Response(status_code=200, headers=headers)) or b"")
        async for line in lines:
            await stream.send_all(connection.send(h11.Data(data=line)) or b"")
    await stream.send_all(connection.send(h11.EndOfMessage()) or b"")


class _Api(Starlette):
    """An application as the server has them."""

    def stop(self) -> None:
        """Nothing waits here for its turn."""


@asynccontextmanager
async def serving_http2(api: FakeKubernetes, certificate: str, key: str) -> AsyncIterator[FakeKubernetes]:
    """Serve over TLS with HTTP/2, as API servers do."""

    async def handle(request: Request) -> Response:
        assert request.scope["http_version"] == "2"
        head = {name.lower(): value for name, value in request.headers.items()}
        status, body, more, watch = api.answer(f"{request.url.path}?{request.url.query}", head)
        if watch is None:
            return Response(body, status, dict(more), "application/json")
        return StreamingResponse(api.lines(watch), media_type="application/json")

    app: Any = _Api(routes=[Route("/{path:path}", handle)])
    server = Server(app, ["127.0.0.1:0"], ServerOptions(http2=True), tls=TlsOptions(certificate, key))
    async with trio.open_nursery() as nursery:

        async def serve(*, task_status: trio.TaskStatus[list[str]]) -> None:
            await server.serve(task_status=task_status)

        (url,) = await nursery.start(serve)
        api.port, api.is_tls = int(url.rpartition(":")[2].strip("/")), True
        yield api
        nursery.cancel_scope.cancel()
