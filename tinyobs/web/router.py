"""Which route answers a path: exact paths by dictionary, patterns with `{name}` one after the other.

Patterns are named in the metrics as Prometheus names its own: `/api/v1/label/{name}/values` is
`/api/v1/label/:name/values`.  A path that ends in `/*` answers what no other route knows; where its only method is OPTIONS,
paths below it are unknown to all others.
As in Prometheus HEAD is answered where a route names it, and OPTIONS everywhere, with the methods that there are.
A route of the method `WEBSOCKET` takes WebSockets, for which clients ask by GET.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final
from urllib.parse import unquote

from attrs import evolve, frozen
from starlette.requests import Request
from starlette.responses import Response

from ..abc import Dialect, Route
from .problem import HttpError

Handler = Callable[[Request], Awaitable[Response]]

SOCKET: Final = "WEBSOCKET"
"""The method of routes for WebSockets."""

_VARIABLE = re.compile(r"\{([a-z_]+)\}")
_NOTHING: Mapping[str, str] = {}


@frozen
class Match:
    """A route found for a request, what its pattern captured, and the `handler` label for the metrics."""

    route: Route
    label: str
    parameters: Mapping[str, str]
    is_socket: bool = False
    dialect: Dialect | None = None


class NoRoute(HttpError):
    """Nothing answers the request.  dialect: that of its path."""

    def __init__(
        self, status: int, message: str, headers: Mapping[str, str] | None = None, dialect: Dialect | None = None
    ) -> None:
        super().__init__(status, message, headers)
        self.dialect = dialect


class Router:
    """All routes.  Raises `ValueError` when two routes claim the same method and path."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._exact: dict[str, dict[str, Match]] = {}
        self._patterns: dict[str, tuple[re.Pattern[str], dict[str, Match]]] = {}
        self._prefixes: dict[str, dict[str, Match]] = {}
        for route in routes:
            table = self._table(route.path)
            label = _VARIABLE.sub(r":\1", route.path)
            for method in route.methods:
                if method in table:
                    raise ValueError(f"two routes for {method} {route.path}")
                table[method] = Match(route, label, _NOTHING, method == SOCKET)
        patterns = [table for _, table in self._patterns.values()]
        for table in [*self._exact.values(), *patterns, *self._prefixes.values()]:
            if "OPTIONS" not in table:
                first = next(iter(table.values()))
                options = Route(first.route.path, _tells(_allowed({*table, "OPTIONS"})), ("OPTIONS",))
                table["OPTIONS"] = Match(options, first.label, _NOTHING)
            dialect = next((match.route.dialect for match in table.values() if match.route.dialect), None)
            table.update({method: evolve(match, dialect=dialect) for method, match in table.items()})

    def find(self, method: str, path: str, wants_socket: bool = False) -> Match:
        """Return the route for a request; raises `NoRoute` 404, 405 or, where there are only WebSockets, 426.

        path: as sent, still percent-encoded, so that an encoded slash stays within its part.  wants_socket: the client
        asks for a WebSocket, and gets another answer where there is none.
        """
        table = self._exact.get(path) or (self._exact.get(unquote(path)) if "%" in path else None)
        parameters = _NOTHING
        if table is None:
            table, parameters = self._search(path)
        if table is None:
            return self._below(method, path)
        match = table.get(SOCKET) if wants_socket else None
        if match is None and method != SOCKET:
            match = table.get(method)
        if match is None:
            if method == "GET" and SOCKET in table:
                raise NoRoute(426, "this is for WebSockets", {"upgrade": "websocket"}, _dialect(table))
            raise _not_allowed(table)
        return evolve(match, parameters=parameters) if parameters else match

    def _search(self, path: str) -> tuple[dict[str, Match] | None, Mapping[str, str]]:
        for pattern, table in self._patterns.values():
            if found := pattern.fullmatch(path):
                values = found.groupdict().items()
                return table, {k: unquote(v, errors="surrogateescape") for k, v in values}
        return None, _NOTHING

    def _below(self, method: str, path: str) -> Match:
        """Return the route of a prefix; raises `NoRoute` 404 or 405."""
        prefixes = sorted(filter(path.startswith, self._prefixes), key=len, reverse=True)
        tables = [self._prefixes[prefix] for prefix in prefixes]
        for table in tables:
            if method in table:
                return table[method]
        known = [table for table in tables if len(table) > 1]
        if not known:
            raise NoRoute(404, "404 page not found", dialect=_dialect(tables[0]) if tables else None)
        raise _not_allowed(known[0])

    def _table(self, path: str) -> dict[str, Match]:
        if path.endswith("/*"):
            return self._prefixes.setdefault(path[:-1], {})
        if not _VARIABLE.search(path):
            return self._exact.setdefault(path, {})
        expression = "".join(
            f"(?P<{part}>[^/]+)" if i % 2 else re.escape(part) for i, part in enumerate(_VARIABLE.split(path))
        )
        return self._patterns.setdefault(path, (re.compile(expression), {}))[1]


def _dialect(table: Mapping[str, Match]) -> Dialect | None:
    """Return the dialect of a path, which all of its routes have."""
    return next(iter(table.values())).dialect


def _not_allowed(table: Mapping[str, Match]) -> NoRoute:
    return NoRoute(405, "Method Not Allowed", {"allow": _allowed(table)}, _dialect(table))


def _allowed(methods: Iterable[str]) -> str:
    """Return methods as clients know them."""
    return ", ".join(sorted({"GET" if method == SOCKET else method for method in methods}))


def _tells(methods: str) -> Handler:
    async def answer(request: Request) -> Response:
        return Response(headers={"allow": methods})

    return answer
