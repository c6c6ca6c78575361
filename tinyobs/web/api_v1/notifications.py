"""`/notifications` and `/notifications/live`: what the server has to tell, once or as server-sent events.

Source: prometheus web/api/v1/api.go `notifications`, `notificationsSSE`.
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ...exposition.json import dump
from ..notifications import Notification, Notifications
from .envelope import success
from .targets import rfc3339


class NotificationsApi:
    """The handlers."""

    def __init__(self, notifications: Notifications) -> None:
        self._notifications = notifications

    async def all(self, request: Request) -> Response:
        """Answer `/notifications`."""
        return success([_plain(n) for n in self._notifications.active])

    async def live(self, request: Request) -> Response:
        """Answer `/notifications/live`."""
        return _LiveResponse(self._notifications)


class _LiveResponse(Response):
    """Sends an event for everything that holds and for every change, until either side ends it."""

    media_type = "text/event-stream"

    def __init__(self, notifications: Notifications) -> None:
        super().__init__(headers={"cache-control": "no-cache"})
        self._notifications = notifications

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer 204 when there are too many listeners, else send events as they come."""
        with self._notifications.subscription() as changes:
            if changes is None:
                await Response(status_code=204)(scope, receive, send)
                return
            headers = [(k, v) for k, v in self.raw_headers if k != b"content-length"]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b"", "more_body": True})
            async for change in changes:
                event = f"data: {dump(_plain(change))}\n\n".encode()
                await send({"type": "http.response.body", "body": event, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _plain(notification: Notification) -> dict[str, Any]:
    return {"text": notification.text, "date": rfc3339(notification.time_ms), "active": notification.active}
