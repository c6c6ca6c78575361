"""`/admin/tsdb/...`: snapshots, deleting series, regaining their space, compacting (`--web.enable-admin-api`).

Parameters, answers and texts: prometheus web/api/v1/api.go `snapshot`, `deleteSeries`, `cleanTombstones`.  One thing is
stricter: a selector that fits every series is refused, as it is wherever else `match[]` is taken.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

from starlette.requests import Request
from starlette.responses import Response

from ...errors import LimitExceeded, QueryParseError, StorageError, Unavailable
from ...model.matchers import Matcher
from ...promql.parser import parse_selector
from ..form import read_form
from ..problem import ApiError
from ..services import StorageAdmin
from .envelope import success
from .parameters import BOOLEANS, MATCHERS_MAX, TIME_MS_MAX, TIME_MS_MIN, invalid, time_or

T = TypeVar("T")


class AdminApi:
    """The handlers."""

    def __init__(self, admin: StorageAdmin | None) -> None:
        """None: the admin API is not enabled."""
        self._enabled = admin

    async def snapshot(self, request: Request) -> Response:
        """Answer `/admin/tsdb/snapshot`: make one and tell its name."""
        admin, form = self._admin(), await read_form(request)
        text = form.get("skip_head")
        if text and text not in BOOLEANS:
            reason = f'unable to parse boolean: strconv.ParseBool: parsing "{text}": invalid syntax'
            raise invalid("skip_head", reason)
        name = await _done(admin.snapshot(bool(text) and BOOLEANS[text]), "create snapshot: ")
        return success({"name": name})

    async def delete_series(self, request: Request) -> Response:
        """Answer `/admin/tsdb/delete_series`: delete samples, durably."""
        admin, form = self._admin(), await read_form(request)
        texts = form.all("match[]")
        if not texts:
            raise ApiError("bad_data", "no match[] parameter provided")
        if len(texts) > MATCHERS_MAX:
            raise ApiError("bad_data", f"more than {MATCHERS_MAX} values of match[]")
        start_ms = time_or(form, "start", TIME_MS_MIN)
        end_ms = time_or(form, "end", TIME_MS_MAX)
        await _done(admin.delete([_selector(text) for text in texts], start_ms, end_ms))
        return Response(status_code=204)

    async def clean_tombstones(self, request: Request) -> Response:
        """Answer `/admin/tsdb/clean_tombstones`: when it is answered the space of what was deleted is free."""
        await _done(self._admin().clean_tombstones())
        return Response(status_code=204)

    async def compact(self, request: Request) -> Response:
        """Answer `/admin/tsdb/compact`, which is TinyObs' own: all is cut and merged when it is answered."""
        await _done(self._admin().compact())
        return Response(status_code=204)

    def _admin(self) -> StorageAdmin:
        if self._enabled is None:
            raise disabled()
        return self._enabled


def disabled() -> ApiError:
    """Return the error for what only `--web.enable-admin-api` allows."""
    error = ApiError("unavailable", "admin APIs disabled")
    error.status = 500  # upstream has no status of its own for this
    return error


def _selector(text: str) -> tuple[Matcher, ...]:
    try:
        matchers = parse_selector(text)
    except QueryParseError as e:
        raise invalid("match[]", e) from None
    if all(m.matches_empty() for m in matchers):
        raise invalid("match[]", "match[] must contain at least one non-empty matcher")
    return matchers


async def _done(work: Awaitable[T], what: str = "") -> T:
    """Wait for the storage; turn what it raises into answers."""
    try:
        return await work
    except LimitExceeded as e:
        raise ApiError("bad_data", str(e)) from None
    except Unavailable as e:
        raise ApiError("unavailable", str(e)) from None
    except StorageError as e:
        raise ApiError("internal", f"{what}{e}") from None
