"""The agent's HTTP server: made from the settings, started before the storage is open, drained before it closes."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

import trio
from attrs import evolve

from ..abc import Route
from ..config.settings import Settings
from ..config.web_config import ClientAuth, WebConfig
from ..errors import UsageError
from ..model.families import MetricFamily
from ..web.application import Application
from ..web.options import ServerOptions, TlsOptions, WebOptions
from ..web.server import Server
from ..web.services import Readiness
from .settings import AgentSettings
from .statistics import families

SERVED_CLIENT_AUTH: Final = (ClientAuth.NONE, ClientAuth.VERIFY_IF_GIVEN, ClientAuth.REQUIRE_AND_VERIFY)


class Listeners:
    """One HTTP application on all listen addresses."""

    def __init__(
        self, settings: AgentSettings, web: WebConfig | None, options: WebOptions, routes: Sequence[Route]
    ) -> None:
        """Raises `UsageError` for settings that make no sense."""
        self.readiness = Readiness(False, "opening the storage")
        try:
            self.application = Application(routes, options, lambda: self.readiness)
        except ValueError as e:
            raise UsageError(str(e)) from e
        self.server: Server | None = None
        if settings.listen:
            self.server = Server(self.application, settings.listen, server_options(settings, web), tls_options(web))
        self._scope = trio.CancelScope()
        self._ended = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[list[str]]) -> None:
        """Serve until `drain` or cancellation; `started` gets the URLs."""
        try:
            with self._scope:
                if self.server is None:
                    task_status.started([])
                    await trio.sleep_forever()
                else:
                    await self.server.serve(task_status=task_status)
        finally:
            self._ended.set()

    def report(self, ready: bool, reason: str = "", current: int = 0, last: int = 0) -> None:
        """Say whether the daemon serves, and how far the replay of the log is."""
        self.readiness = evolve(self.readiness, ready=ready, reason=reason, replay_current=current, replay_last=last)

    def families(self) -> list[MetricFamily]:
        """Return the metrics of the server and of its requests."""
        found = self.application.statistics.families()
        found += families("http", self.application.bodies.statistics())
        found += families("websockets", self.application.sockets.statistics())
        if self.server is not None:
            found += families("http", self.server.statistics())
        return found

    async def drain(self) -> None:
        """Accept no more, let requests in flight end within their time, cut the rest."""
        self._scope.cancel()
        await self._ended.wait()


def web_options(settings: AgentSettings, web: WebConfig | None, configured: Settings) -> WebOptions:
    """Return limits and policies of the application: flags, web config file, and sections of `tinyobs`."""
    try:
        origin = re.compile(settings.cors_origin)
    except re.error as e:
        raise UsageError(f"--web.cors.origin is no regular expression: {e}") from e
    bounds, query = configured.web, configured.query
    prefix = settings.route_prefix or urlsplit(settings.external_url).path
    return WebOptions(
        route_prefix="/" + prefix.strip("/") if prefix.strip("/") else "",
        external_url=settings.external_url,
        page_title=settings.page_title,
        cors_origin=origin,
        lifecycle=settings.lifecycle,
        body_bytes_max=bounds.body_size_max_bytes,
        bodies_bytes_max=bounds.bodies_size_max_bytes,
        body_seconds=bounds.body_timeout_ms / 1000,
        requests_max=bounds.requests_max,
        compress_bytes_min=bounds.compress_size_min_bytes,
        websockets_max=bounds.websockets_max,
        websocket_message_bytes_max=bounds.websocket_message_size_max_bytes,
        queries_max=settings.queries_max,
        query_seconds=settings.query_seconds,
        search_limit_max=settings.search_limit_max,
        read_samples_max=settings.read_samples_max,
        reads_max=settings.reads_max,
        read_frame_bytes_max=settings.read_frame_bytes_max,
        queries_queued_max=query.queue_max,
        query_queue_seconds=query.queue_timeout_ms / 1000,
        query_threads=query.threads,
        answer_bytes_max=query.answer_max_bytes,
        answer_seconds=query.answer_timeout_ms / 1000,
        users={name: hashed.reveal() for name, hashed in web.basic_auth_users} if web else {},
        headers=web.http_server_config.headers if web else (),
    )


def server_options(settings: AgentSettings, web: WebConfig | None) -> ServerOptions:
    """Return limits of the listener."""
    return ServerOptions(
        connections_max=settings.connections_max,
        keep_alive_seconds=settings.read_seconds or math.inf,
        drain_seconds=settings.drain_seconds,
        http2=web.http_server_config.http2 if web else True,
    )


def tls_options(web: WebConfig | None) -> TlsOptions | None:
    """Return TLS as the web config file has it, None where it has none; raises `UsageError` for what is not served."""
    if web is None or not web.tls_server_config.enabled:
        return None
    tls = web.tls_server_config
    if tls.cert or tls.key or tls.client_ca:
        raise UsageError(
            "inline certificates are not supported yet by this version: use cert_file, key_file, client_ca_file"
        )
    if tls.client_auth_type not in (None, *SERVED_CLIENT_AUTH):
        raise UsageError(f"client_auth_type {tls.client_auth_type} is not supported yet by this version")
    if tls.curve_preferences:
        raise UsageError("curve_preferences is not supported yet by this version")
    return TlsOptions(
        tls.cert_file,
        tls.key_file,
        (tls.client_auth_type or ClientAuth.NONE).value,
        tls.client_ca_file,
        tls.client_allowed_sans,
        tls.min_version.value,
        tls.max_version.value,
        tuple(suite.value for suite in tls.cipher_suites),
    )
