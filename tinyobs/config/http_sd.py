"""`http_sd_configs`: targets that a server lists in JSON.  Format and messages: prometheus discovery/http/http.go."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from attrs import frozen

from ..model.durations import DurationMs
from .fields import Fault, UrlText, inline, setting
from .http_client import HttpClientConfig

HTTP: Final = "http_sd_configs"


@frozen(kw_only=True)
class HttpSdConfig:
    """A URL that is asked again and again."""

    http: HttpClientConfig = inline(HttpClientConfig)
    refresh_interval_ms: DurationMs = setting("refresh_interval", default=DurationMs(60_000), low=1000)
    """How often it is asked, in ms; also how long one request may take."""
    url: UrlText = setting(default=UrlText(""), always=True)

    def faults(self) -> Iterator[Fault]:
        """Yield what is wrong with the URL."""
        if not self.url:
            yield Fault("URL is missing", "url")
            return
        try:
            parts = urlsplit(self.url)
            host = parts.hostname
            parts.port  # noqa: B018  (raises when the port is no number)
        except ValueError as e:
            yield Fault(f"invalid URL: {e}", "url")
            return
        if parts.scheme not in ("http", "https"):
            yield Fault("URL scheme must be 'http' or 'https'", "url")
        elif not host:
            yield Fault("host is missing in URL", "url")
