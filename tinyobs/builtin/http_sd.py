"""Targets that a server lists in JSON: `http_sd_configs`.

The server is asked at each `refresh_interval`; what it answers replaces the groups of before, and what is no good
answer (another status than 200, another type than `application/json`, no list of groups) leaves them as they are.
Protocol and names: prometheus discovery/http/http.go.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from attrs import field, frozen

from ..abc import DiscovererContext, DiscovererKind, TargetGroup
from ..config.encoder import redact_url
from ..config.http_sd import HTTP, HttpSdConfig
from ..discovery.group_lists import read_list
from ..discovery.http_json import JsonClient
from ..discovery.refreshing import DiscoveryError, RefreshingDiscoverer
from ..errors import TinyObsError
from ..hookspecs import hookimpl

URL_LABEL: Final = "__meta_url"
_CONTENT_TYPE: Final = re.compile(r'application/json(;\s*charset=("utf-8"|utf-8))?', re.IGNORECASE)


@hookimpl
def tinyobs_discoverers() -> Sequence[DiscovererKind]:
    """Offer `http_sd_configs`."""
    return [DiscovererKind(HTTP, HttpSdConfig, HttpDiscoverer)]


@frozen
class HttpSdStatistics:
    """How the servers answer."""

    failures_total: int = field(metadata={"metric": "prometheus_sd_http_failures_total"})
    """Number of HTTP service discovery refresh failures."""


class HttpDiscoverer(RefreshingDiscoverer):
    """Publishes the groups that one URL lists."""

    def __init__(self, config: HttpSdConfig, context: DiscovererContext) -> None:
        super().__init__("http", config.refresh_interval_ms, context)
        self._url = str(config.url)
        self._label = redact_url(self._url)
        interval = f"{self.interval_seconds:.3f}".rstrip("0").rstrip(".")
        self._client = JsonClient(
            config.http,
            headers={"X-Prometheus-Refresh-Interval-Seconds": interval},
            deadline_seconds=max(self.interval_seconds, 1.0),
        )
        self._failures = 0

    async def refresh(self) -> Sequence[TargetGroup]:
        """Ask the server."""
        try:
            answer = await self._client.fetch("GET", self._url)
            if answer.status != 200:
                raise DiscoveryError(f"{self._label}: server returned HTTP status {answer.status}")
            content_type = answer.headers.get("content-type", "").strip()
            if not _CONTENT_TYPE.fullmatch(content_type):
                raise DiscoveryError(f'{self._label}: unsupported content type "{content_type}"')
            found = read_list(answer.data, self._label)
        except TinyObsError:
            self._failures += 1
            raise
        return [
            TargetGroup(f"{self._label}:{i}", targets, {**labels, URL_LABEL: self._label})
            for i, (targets, labels) in enumerate(found)
        ]

    async def aclose(self) -> None:
        """Close the connection."""
        await self._client.aclose()

    def statistics(self) -> HttpSdStatistics:
        """Return the counters."""
        return HttpSdStatistics(self._failures)
