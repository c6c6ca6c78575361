"""Which route answers a path: exact paths by dictionary, patterns with `{name}` one after the other.

Patterns are named in the metrics as Prometheus names its own: `/api/v1/label/{name}/values` is
`/api/v1/label/:name/values`.  A path that ends in `/*` answers, with its own methods only, what no other route knows.
As in Prometheus HEAD is answered where a route names it, and OPTIONS everywhere, with the methods that there are.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from urllib.parse import unquote

from attrs import frozen
from starlette.requests import Request
from starlette.responses import Response

from ..abc import Route
from .problem import HttpError

Handler = Callable[[Request], Awaitable[Response]]

_VARIABLE = re.compile(r"\{([a-z_]+)\}")
_NOTHING: Mapping[str, str] = {}


@frozen
class Match:
    """A route found for a request, what its pattern captured, and the `handler` label for the metrics."""

    route: Route
    label: str
    parameters: Mapping[str, str]


class Router:
    """All routes.  Raises `ValueError` when two routes claim the same method and path."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._exact: dict[str, dict[str, Match]] = {}
        self._patterns: dict[str, tuple[re.Pattern[str], dict[str, Match]]] = {}
        self._prefixes: dict[str, dict[str, Match]] = {}
        for route in routes:
            table = self._table(route.path)
            match = Match(route, _VARIABLE.sub(r":\1", route.path), _NOTHING)
            for method in route.methods:
                if method in table:
                    raise ValueError(f"two routes for {method} {route.path}")
                table[method] = match
        for table in [*self._exact.values(), *[table for _, table in self._patterns.values()]]:
            if "OPTIONS" not in table:
                first = next(iter(table.values()))
                options = Route(first.route.path, _tells(", ".join(sorted({*table, "OPTIONS"}))), ("OPTIONS",))
                table["OPTIONS"] = Match(options, first.label, _NOTHING)

    def find(self, method: str, path: str) -> Match:
        """Return the route for a request; raises `HttpError` 404 or 405.

        path: as sent, still percent-encoded, so that an encoded slash stays within its part.
        """
        table = self._exact.get(path) or (self._exact.get(unquote(path)) if "%" in path else None)
        parameters = _NOTHING
        if table is None:
            table, parameters = self._search(path)
        if table is None:
            for prefix, fallback in self._prefixes.items():
                if path.startswith(prefix) and method in fallback:
                    return fallback[method]
            raise HttpError(404, "404 page not found")
        match = table.get(method)
        if match is None:
            raise HttpError(405, "Method Not Allowed", {"allow": ", ".join(sorted(table))})
        return Match(match.route, match.label, parameters) if parameters else match

    def _search(self, path: str) -> tuple[dict[str, Match] | None, Mapping[str, str]]:
        for pattern, table in self._patterns.values():
            if found := pattern.fullmatch(path):
                values = found.groupdict().items()
                return table, {k: unquote(v, errors="surrogateescape") for k, v in values}
        return None, _NOTHING

    def _table(self, path: str) -> dict[str, Match]:
        if path.endswith("/*"):
            return self._prefixes.setdefault(path[:-1], {})
        if not _VARIABLE.search(path):
            return self._exact.setdefault(path, {})
        expression = "".join(
            f"(?P<{part}>[^/]+)" if i % 2 else re.escape(part) for i, part in enumerate(_VARIABLE.split(path))
        )
        return self._patterns.setdefault(path, (re.compile(expression), {}))[1]


def _tells(methods: str) -> Handler:
    async def answer(request: Request) -> Response:
        return Response(headers={"allow": methods})

    return answer
