"""Discovery kind `openstack`: hypervisors, instances and load balancers of one region.

Settings and labels: prometheus discovery/openstack.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

from attrs import frozen
from tinyobs.abc import DiscovererContext, DiscovererKind, TargetGroup
from tinyobs.cloud_auth.tokens import Renewed
from tinyobs.config.fields import Fault, setting
from tinyobs.config.http_client import HttpClientConfig, TlsConfig
from tinyobs.discovery.refreshing import DiscoveryError
from tinyobs.model.durations import DurationMs
from tinyobs.model.secrets import Secret

from .discoverer import CloudDiscoverer, in_thread
from .openstack_answers import hypervisor_targets, instance_targets, load_balancer_targets
from .openstack_identity import (
    OpenStackLogin,
    OpenStackSession,
    endpoint_of,
    login_of_environment,
    next_link,
    session_of,
    sign_in_body,
    token_url,
)
from .shapes import objects

KEY: Final = "openstack_sd_configs"
AVAILABILITIES: Final = ("public", "internal", "admin")


class OpenStackRole(StrEnum):
    """What is looked for."""

    HYPERVISOR = "hypervisor"
    INSTANCE = "instance"
    LOADBALANCER = "loadbalancer"

    @classmethod
    def refusal(cls, given: str) -> str:
        """Return the message for a role that there is not."""
        return f'unknown OpenStack SD role "{given}"'


@frozen(kw_only=True)
class OpenStackSdConfig:
    """One entry of `openstack_sd_configs`.  Without `identity_endpoint` the login is that of the variables `OS_*`."""

    role: OpenStackRole | None = setting(default=None)
    region: str = setting(default="")
    identity_endpoint: str = setting(default="")
    username: str = setting(default="")
    userid: str = setting(default="")
    password: Secret = setting(default=Secret())
    domain_name: str = setting(default="")
    domain_id: str = setting(default="")
    project_name: str = setting(default="")
    project_id: str = setting(default="")
    application_credential_name: str = setting(default="")
    application_credential_id: str = setting(default="")
    application_credential_secret: Secret = setting(default=Secret())
    all_tenants: bool = setting(default=False)
    """Whether the instances of all projects are wanted; needs an administrator."""
    availability: str = setting(default="public")
    """Which endpoints of the catalogue are asked: public, internal or admin."""
    port: int = setting(default=80, low=0, high=65535)
    refresh_interval_ms: DurationMs = setting("refresh_interval", default=DurationMs(60_000), low=1)
    tls_config: TlsConfig = setting(factory=TlsConfig)

    def faults(self) -> Iterator[Fault]:
        """Yield what is missing or unknown."""
        if self.availability not in AVAILABILITIES:
            yield Fault(
                f"unknown availability {self.availability}, must be one of admin, internal or public", "availability"
            )
        if self.role is None:
            yield Fault("role missing (one of: instance, hypervisor, loadbalancer)", "role")
        if not self.region:
            yield Fault("openstack SD configuration requires a region", "region")
        if self.identity_endpoint and not self.identity_endpoint.startswith(("http://", "https://")):
            yield Fault(f"expected an http or https URL, got '{self.identity_endpoint}'", "identity_endpoint")

    def login(self) -> OpenStackLogin:
        """Return who signs in, as configured."""
        return OpenStackLogin(
            identity_endpoint=self.identity_endpoint,
            username=self.username,
            user_id=self.userid,
            password=self.password,
            project_name=self.project_name,
            project_id=self.project_id,
            domain_name=self.domain_name,
            domain_id=self.domain_id,
            application_credential_name=self.application_credential_name,
            application_credential_id=self.application_credential_id,
            application_credential_secret=self.application_credential_secret,
        )


class OpenStackDiscoverer(CloudDiscoverer):
    """Publishes what one role finds in one group."""

    def __init__(self, config: OpenStackSdConfig, context: DiscovererContext) -> None:
        http = HttpClientConfig(tls_config=config.tls_config)
        super().__init__("openstack", config.refresh_interval_ms, context, http)
        self._config = config
        self._sessions: Renewed[OpenStackSession] = Renewed(
            self._sign_in, lambda session: session.expires_ms, context.clock.now_ms
        )

    async def credentials(self) -> Mapping[str, str]:
        """Return the token."""
        return {"X-Auth-Token": (await self._sessions.get()).token.reveal()}

    def forget_credentials(self) -> bool:
        """Sign in again."""
        self._sessions.forget()
        return True

    async def refresh(self) -> Sequence[TargetGroup]:
        """List what the role needs."""
        config = self._config
        match config.role:
            case OpenStackRole.HYPERVISOR:
                found = await self._listed("compute", "os-hypervisors/detail", "hypervisors")
                targets = await in_thread(hypervisor_targets, found, config.port)
            case OpenStackRole.INSTANCE:
                ports = await self._listed("network", "v2.0/ports", "ports")
                floating = await self._listed("network", "v2.0/floatingips", "floatingips")
                path = "servers/detail" + ("?all_tenants=true" if config.all_tenants else "")
                servers = await self._listed("compute", path, "servers")
                targets = await in_thread(instance_targets, servers, ports, floating, config.port)
            case _:
                balancers = await self._listed("load-balancer", "v2.0/lbaas/loadbalancers", "loadbalancers")
                listeners = await self._listed("load-balancer", "v2.0/lbaas/listeners", "listeners")
                floating = await self._listed("network", "v2.0/floatingips", "floatingips")
                targets = await in_thread(load_balancer_targets, balancers, listeners, floating)
        return [TargetGroup(f"OS_{config.region}", tuple(targets))]

    async def _listed(self, service: str, path: str, what: str) -> list[Mapping[str, Any]]:
        session = await self._sessions.get()
        base = endpoint_of(session, service, self._config.availability, self._config.region)
        if path.startswith("v2.0/"):
            base = base.removesuffix("v2.0/")  # some catalogues name the version, some do not
        pages = await self.linked_pages(base + path, lambda page: next_link(page, what))
        return [item for page in pages for item in objects(page, what)]

    async def _sign_in(self) -> OpenStackSession:
        login = self._config.login() if self._config.identity_endpoint else login_of_environment(os.environ)
        if not login.identity_endpoint:
            raise DiscoveryError("identity_endpoint is not configured, and OS_AUTH_URL is not set")
        for reason in login.missing():
            raise DiscoveryError(f"cannot sign in to OpenStack: {reason}")
        answer = await self._json.request(
            "POST",
            token_url(login.identity_endpoint),
            headers={"Content-Type": "application/json"},
            content=json.dumps(sign_in_body(login)).encode(),
        )
        return session_of(answer.value, answer.headers.get("x-subject-token", ""))


KIND: Final = DiscovererKind(KEY, OpenStackSdConfig, OpenStackDiscoverer)
