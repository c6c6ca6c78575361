"""`/status/active_queries`, which is TinyObs' own: the queries that wait or run, and how one is stopped.

Stopping needs `--web.enable-admin-api`, as all that one client may do to others does.
"""

from __future__ import annotations

import time
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ..problem import ApiError
from ..queries.active import ActiveQuery
from ..queries.desk import QueryDesk
from .admin import disabled
from .envelope import success
from .targets import rfc3339


class ActiveQueriesApi:
    """The handlers."""

    def __init__(self, desk: QueryDesk, *, may_cancel: bool) -> None:
        self._desk, self._may_cancel = desk, may_cancel

    async def list(self, request: Request) -> Response:
        """Answer `/status/active_queries`: those that have been there longest first."""
        now = time.monotonic()
        return success([_shown(query, now) for query in self._desk.active])

    async def cancel(self, request: Request) -> Response:
        """Answer POST and DELETE on `/status/active_queries/<id>`: that query is answered `canceled`."""
        if not self._may_cancel:
            raise disabled()
        text = request.path_params["id"]
        if not text.isascii() or not text.isdigit() or len(text) > 18 or not self._desk.cancel(int(text)):
            raise ApiError("not_found", f"no active query has the id {text!r}")
        return success({"id": text})


def _shown(query: ActiveQuery, now: float) -> dict[str, Any]:
    asked = query.question
    return {
        "id": str(query.number),
        "query": asked.text,
        "kind": asked.kind,
        "start": asked.start_ms / 1000,
        "end": asked.end_ms / 1000,
        "step": asked.step_ms / 1000,
        "client": asked.client,
        "state": "running" if query.running else "queued",
        "started": rfc3339(query.begun_ms),
        "elapsedSeconds": round(now - query.begun, 3),
        "samplesRead": query.samples,
    }
