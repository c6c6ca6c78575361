"""A URL as a client needs it: whom to ask, and for what.  httpx parses, normalises and joins."""

from __future__ import annotations

import base64
from typing import Final
from urllib.parse import unquote

import httpx
from attrs import field, frozen

from .errors import HttpError

PORTS: Final = {"http": 80, "https": 443}


@frozen
class Place:
    """Where a request goes.  authority: host and port as in a Host header."""

    scheme: str
    host: str
    port: int
    target: bytes
    authority: bytes
    userinfo: str = field(repr=False)
    """The value of an Authorization header for the user and the password in the URL, "" without."""
    url: httpx.URL = field(eq=False, repr=False)

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port: the same for what the same credentials are for."""
        return self.scheme, self.host, self.port

    @property
    def host_and_port(self) -> str:
        """The host and always the port, for CONNECT."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def join(self, location: str) -> Place:
        """Return where a redirect leads; raises `HttpError` for what is no URL of a server."""
        try:
            return _place(self.url.join(location))
        except (httpx.InvalidURL, ValueError):
            raise HttpError("the server redirects to what is no URL") from None


def place(url: str) -> Place:
    """Return the place of an absolute URL; raises `HttpError`, which shows no user and no password."""
    try:
        return _place(httpx.URL(url))
    except (httpx.InvalidURL, ValueError) as e:
        raise HttpError(f"invalid URL: {e}") from None


def basic(user: str, password: str) -> str:
    """Return the value of an Authorization header."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _place(url: httpx.URL) -> Place:
    if url.scheme not in PORTS:
        raise HttpError(f"unsupported URL scheme {url.scheme!r}: only http and https can be asked")
    if not url.host:
        raise HttpError("the URL names no host")
    user = basic(unquote(url.username), unquote(url.password)) if url.userinfo else ""
    host = url.raw_host.decode("ascii").strip("[]")
    return Place(url.scheme, host, url.port or PORTS[url.scheme], url.raw_path, url.netloc, user, url)
