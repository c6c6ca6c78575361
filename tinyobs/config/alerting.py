"""The section `alerting`: which Alertmanagers are told, and how alerts are relabelled on the way.

Format, defaults and messages: prometheus config/config.go.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Any

from attrs import frozen

from ..model.durations import DurationMs
from ..relabel import Rule
from .cloud_auth import SigV4Config
from .discovery import url_faults
from .fields import Fault, group, inline, setting
from .http_client import HttpClientConfig, Scheme


class AlertmanagerApi(StrEnum):
    """Versions of Alertmanager's API."""

    V2 = "v2"

    @classmethod
    def refusal(cls, text: str) -> str:
        """Return the message for a version that there is not."""
        return f"expected Alertmanager api version to be one of [v2] but got {text}"


@frozen(kw_only=True)
class AlertmanagerConfig:
    """Some Alertmanagers, found by discovery."""

    http: HttpClientConfig = inline(HttpClientConfig)
    sigv4: SigV4Config | None = setting(default=None)
    scheme: Scheme = setting(default=Scheme.HTTP)
    path_prefix: str = setting(default="")
    timeout_ms: DurationMs = setting("timeout", default=DurationMs(10_000))
    api_version: AlertmanagerApi = setting(default=AlertmanagerApi.V2, always=True)
    relabel_configs: tuple[Rule, ...] = setting(
        default=(), null_item="empty or null Alertmanager target relabeling rule"
    )
    alert_relabel_configs: tuple[Rule, ...] = setting(
        default=(), null_item="empty or null Alertmanager alert relabeling rule"
    )
    discovery: tuple[tuple[str, Any], ...] = group("discovery")

    def faults(self) -> Iterator[Fault]:
        """Yield what is wrong with it."""
        if self.sigv4 is not None and (self.http.basic_auth or self.http.authorization or self.http.oauth2):
            yield Fault("at most one of basic_auth, authorization, oauth2, & sigv4 must be configured", "sigv4")
        if not self.relabel_configs:
            yield from url_faults(self.discovery)


@frozen(kw_only=True)
class AlertingConfig:
    """All Alertmanagers."""

    alert_relabel_configs: tuple[Rule, ...] = setting(default=(), null_item="empty or null alert relabeling rule")
    alertmanagers: tuple[AlertmanagerConfig, ...] = setting(default=())
