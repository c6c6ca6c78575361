"""Accepts Prometheus remote write 1.0 and 2.0 at `/api/v1/write` (`--web.enable-remote-write-receiver`).

    negotiation.py   which message a request has, by its headers
    receiver.py      a body decoded and stored, and what became of it
    routes.py        the answers

Source: the specifications of remote write 1.0 and 2.0, and prometheus storage/remote/write_handler.go.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...abc import Route, Services
from ...hookspecs import hookimpl
from .receiver import Receiver
from .routes import write_routes


@hookimpl
def tinyobs_routes(services: Services) -> Sequence[Route]:
    """Return the routes; without the flag they answer that the receiver is not enabled."""
    settings = services.settings
    if not settings.remote_write_receiver:
        return write_routes(None)
    return write_routes(Receiver(services), settings.remote_write_messages)
