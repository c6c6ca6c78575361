"""A fake interface with many paths on a real loopback socket, and AWS' check of a signature."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from contextlib import asynccontextmanager
from functools import partial
from urllib.parse import parse_qs, parse_qsl, quote, urlsplit

import h11
import trio
from attrs import define, field, frozen


@frozen
class Asked:
    """A request."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self):
        """The path without parameters."""
        return urlsplit(self.target).path

    @property
    def params(self):
        """Name -> value of the parameters; of several values all, joined by commas."""
        return {k: ",".join(v) for k, v in parse_qs(urlsplit(self.target).query, keep_blank_values=True).items()}

    @property
    def form(self):
        """Name -> value of a form in the body."""
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True))


@frozen
class Answer:
    """An answer; `body` is sent as JSON unless it is bytes."""

    body: object = b""
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()


@define
class FakeApi:
    """Answers by path: a function of the request, or an `Answer`.  Unknown paths get a 404."""

    routes: dict[str, Callable[[Asked], Answer] | Answer] = field(factory=dict)
    asked: list[Asked] = field(factory=list)
    broken: Answer | None = None
    """Given instead of everything else."""
    url: str = ""

    def answer(self, request):
        """Return the answer to a request."""
        self.asked.append(request)
        route = self.broken or self.routes.get(request.path, Answer({"message": "no such path"}, 404))
        return route if isinstance(route, Answer) else route(request)

    def paths(self):
        """Return the paths that were asked for, and forget them."""
        found = [one.path for one in self.asked]
        self.asked.clear()
        return found


@asynccontextmanager
async def serving(api=None):
    """Serve an interface on a free port of 127.0.0.1."""
    api = api or FakeApi()
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, partial(_serve, api), 0, host="127.0.0.1"))
        api.url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        yield api
        nursery.cancel_scope.cancel()


async def _serve(api, stream):
    connection = h11.Connection(h11.SERVER)
    head, body = None, b""
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            try:
                connection.receive_data(await stream.receive_some(65536))
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return
        elif isinstance(event, h11.Request):
            head, body = event, b""
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            headers = {k.decode().lower(): v.decode() for k, v in head.headers}
            answer = api.answer(Asked(head.method.decode(), head.target.decode(), headers, body))
            data = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
            fields = [("Content-Length", str(len(data))), *answer.headers]
            out = connection.send(h11.Response(status_code=answer.status, headers=fields))
            out += connection.send(h11.Data(data=data)) + connection.send(h11.EndOfMessage())
            try:
                await stream.send_all(out)
                connection.start_next_cycle()
            except (trio.BrokenResourceError, h11.LocalProtocolError):
                return
        else:
            return


def aws_signature(request, secret):
    """Return the signature that a request must have, computed from what arrived.  An own way to it, after AWS' rules."""
    given = request.headers["authorization"]
    scheme, _, rest = given.partition(" ")
    assert scheme == "AWS4-HMAC-SHA256"
    parts = dict(part.strip().split("=", 1) for part in rest.split(","))
    _, date, region, service, _ = parts["Credential"].split("/")
    url = urlsplit(request.target)
    query = "&".join(f"{quote(k, '-_.~')}={quote(v, '-_.~')}" for k, v in sorted(parse_qsl(url.query, True)))
    lines = [request.method, quote(url.path, "/-_.~"), query]
    lines += [f"{name}:{request.headers[name]}" for name in parts["SignedHeaders"].split(";")]
    lines += ["", parts["SignedHeaders"], hashlib.sha256(request.body).hexdigest()]
    canonical = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    text = f"{scheme}\n{request.headers['x-amz-date']}\n{date}/{region}/{service}/aws4_request\n{canonical}"
    key = f"AWS4{secret}".encode()
    for part in (date, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return parts["Signature"], hmac.new(key, text.encode(), "sha256").hexdigest()
