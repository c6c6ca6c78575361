"""The HTTP side: pushes and deletes as a Pushgateway takes them, and what it shows of its groups.

Source: prometheus/pushgateway handler/push.go, handler/delete.go, handler/wipe.go, api/v1/api.go.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import trio
from starlette.requests import Request
from starlette.responses import Response

from ... import __version__
from ...abc import Route, Services
from ...errors import ExpositionError, LimitExceeded, TinyObsError, WireError
from ...exposition.formats import Format
from ...exposition.group_body import GroupBody
from ...exposition.grouping_key import grouping_key
from ...exposition.json import dump
from ...exposition.negotiate import choose
from ...exposition.writer import write
from ...model.labels import Labels
from ...receiving.answers import http_error, refused_error, refused_status
from ...receiving.push import MALFORMED, TOO_LARGE, take_push
from ...receiving.threads import in_thread
from ...web.problem import HttpError
from .changes import Change, Kind
from .exposing import Shown, families_of, json_of, rfc3339
from .gateway import Gateway
from .settings import SECTION
from .source import Pushgateway

READ_IN_THREAD_BYTES: Final = 256 << 10
"""Bodies from this size on are read in a thread of their own."""
PATHS_MAX: Final = 65_536
"""Paths whose grouping key is remembered; then all are forgotten."""
REMEMBERED_PATH_BYTES_MAX: Final = 256
"""Longest path that is remembered: whatever is asked for, the memory for it has a bound."""
REFUSED: Final = "pushed metrics are invalid or inconsistent with existing metrics: "

_PUSHES: Final = {"PUT": Kind.REPLACE, "POST": Kind.PUSH}
_PREFIX: Final = len("/metrics/")


class Handlers:
    """The handlers of one agent."""

    def __init__(self, services: Services) -> None:
        self._services, self._reception = services, services.reception(SECTION)
        self._found: Gateway | None = None
        options = services.web_options
        self._behind = _PREFIX + (len(options.route_prefix.rstrip("/")) if options is not None else 0)
        self._keys: dict[tuple[bytes, bool], Labels] = {}

    def routes(self) -> list[Route]:
        """Return all routes."""
        jobs, roots = ("job", "job@base64"), ("", "/pushgateway")
        return [
            *(Route(f"/metrics/{job}/*", self.change, ("PUT", "POST", "DELETE"), whole_body=True) for job in jobs),
            *(Route(f"{root}/api/v1/admin/wipe", self.wipe, ("PUT",), whole_body=True) for root in roots),
            *(Route(f"{root}/api/v1/metrics", self.groups) for root in roots),
            *(Route(f"{root}/api/v1/status", self.status) for root in roots),
            Route("/pushgateway/metrics", self.exposition),
        ]

    async def change(self, request: Request) -> Response:
        """Answer a push or a delete: 200 or 202 when it is durable, 400 when it was refused."""
        try:
            push = await take_push(request, self._services, self._reception)
            if push.extra_labels:
                raise HttpError(400, "extra_label is not for pushed groups: their labels stand in the path")
            try:
                key = self._key(request.scope["raw_path"][self._behind :])
                change = await self._change(request, key, push.source, push.body)
            except (ExpositionError, WireError):
                self._reception.refuse(MALFORMED)
                raise
            try:
                await self._gateway.submit(change)
            except LimitExceeded:
                self._reception.refuse(TOO_LARGE)
                raise
            except WireError as e:  # what the storage refuses
                status = refused_status(self._services, is_over_limit=change.is_over_limit)
                raise refused_error(status, str(e)) from None
        except TinyObsError as e:
            raise http_error(e) from None
        if change.fault:
            raise HttpError(400, REFUSED + change.fault)
        checked = change.kind is not Kind.DELETE and self._gateway.settings.consistency_check
        return Response(status_code=200 if checked else 202)

    async def wipe(self, request: Request) -> Response:
        """Delete all groups; only with `--web.enable-admin-api`."""
        if not self._services.settings.admin_api:
            raise HttpError(404, "the admin API is not enabled: --web.enable-admin-api")
        try:
            push = await take_push(request, self._services, self._reception)
            await self._gateway.submit(Change(Kind.WIPE, push.source, self._services.clock.now_ms()))
        except TinyObsError as e:
            raise http_error(e) from None
        return Response(status_code=202)

    async def exposition(self, request: Request) -> Response:
        """Answer all groups as a Pushgateway exposes them."""
        answer = choose(request.headers.get("accept", ""))
        groups, registry = self._groups(), self._services.registry
        body = await trio.to_thread.run_sync(lambda: write(families_of(groups, registry), answer))
        return Response(body, headers={"content-type": answer.content_type})

    async def groups(self, request: Request) -> Response:
        """Answer all groups as JSON."""
        groups, registry = self._groups(), self._services.registry
        return await trio.to_thread.run_sync(lambda: _success(json_of(groups, registry)))

    async def status(self, request: Request) -> Response:
        """Answer version, settings and start."""
        settings = self._gateway.settings
        flags = {
            "push.disable-consistency-check": str(not settings.consistency_check).lower(),
            "push.enable-utf8-names": str(settings.utf8_names).lower(),
            "web.enable-admin-api": str(self._services.settings.admin_api).lower(),
        }
        started = rfc3339(self._gateway.started_ms)
        return _success({"build_information": {"version": __version__}, "flags": flags, "start_time": started})

    # -- private -----------------------------------------------------------------------------------------------

    @property
    def _gateway(self) -> Gateway:
        """The gateway of the component that runs, or ran; where none ever did, one of our own without a journal."""
        component = self._services.component(SECTION)
        if isinstance(component, Pushgateway):
            self._found = component.gateway
        elif self._found is None:
            self._found = Gateway(self._services, self._reception)
        return self._found

    def _groups(self) -> Shown:
        return [(group.key, group.state) for group in self._gateway.groups]

    def _key(self, path: bytes) -> Labels:
        utf8 = self._gateway.settings.utf8_names
        key = self._keys.get((path, utf8))
        if key is None:
            key = grouping_key(path, utf8_names=utf8)
            if len(self._keys) >= PATHS_MAX:
                self._keys.clear()
            if len(path) <= REMEMBERED_PATH_BYTES_MAX:
                self._keys[path, utf8] = key
        return key

    async def _change(self, request: Request, key: Labels, source: str, raw: bytes) -> Change:
        now_ms = self._services.clock.now_ms()
        kind = _PUSHES.get(request.method)
        if kind is None:
            return Change(Kind.DELETE, source, now_ms, key)
        format = _format(request.headers.get("content-type", ""))
        body = await self._read(key, format, raw)
        return Change(kind, source, now_ms, key, body, raw, format)

    async def _read(self, key: Labels, format: Format, raw: bytes) -> GroupBody:
        reader = self._gateway.take_reader(key, format)
        try:
            if len(raw) < READ_IN_THREAD_BYTES:
                return reader.read(raw)
            return await in_thread(partial(reader.read, raw))
        finally:
            self._gateway.give_back(key, reader)


def _format(content_type: str) -> Format:
    """Return the format that a content type names; the text format where it names none that is known."""
    if content_type.startswith("text/plain") or not content_type:
        return Format.TEXT_0_0_4
    media, *parameters = content_type.replace(" ", "").replace('"', "").split(";")
    if media.lower() == "application/openmetrics-text":
        return Format.OPENMETRICS_1_0_0
    wanted = {"proto=io.prometheus.client.MetricFamily", "encoding=delimited"}
    if media.lower() == "application/vnd.google.protobuf" and wanted <= set(parameters):
        return Format.PROTOBUF
    return Format.TEXT_0_0_4


def _success(data: Any) -> Response:
    return Response(dump({"status": "success", "data": data}).encode(), media_type="application/json")
