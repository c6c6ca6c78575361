"""`/openapi.yaml`: the description of the API for programs."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from ...form import read_form
from ...options import WebOptions
from .document import text

_HEADERS: Final = {
    "content-type": "application/yaml; charset=utf-8",
    "cache-control": "no-cache, no-store, must-revalidate",
}


class OpenApi:
    """The handler."""

    def __init__(self, options: WebOptions) -> None:
        self._base = options.route_prefix.rstrip("/") + "/api/v1"

    async def document(self, request: Request) -> Response:
        """Answer `/openapi.yaml`; any version but 3.2 gives 3.1, as upstream."""
        wanted = (await read_form(request)).get("openapi_version")
        version = "3.2" if wanted in ("3.2", "3.2.0") else "3.1"
        return Response(text(version, self._base).encode(), headers=_HEADERS)
