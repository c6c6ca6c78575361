"""OpenStack's identity service (Keystone, version 3): what is sent to sign in, and the catalogue that comes back.  Pure.

The rules of what goes with what are those of the library that Prometheus uses (gophercloud).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from attrs import field, frozen
from tinyobs.discovery.refreshing import DiscoveryError
from tinyobs.model.secrets import Secret

from .shapes import objects, text


@frozen
class OpenStackLogin:
    """Who signs in where; what is not given is empty."""

    identity_endpoint: str = ""
    username: str = ""
    user_id: str = ""
    password: Secret = field(factory=Secret)
    project_name: str = ""
    project_id: str = ""
    domain_name: str = ""
    domain_id: str = ""
    application_credential_name: str = ""
    application_credential_id: str = ""
    application_credential_secret: Secret = field(factory=Secret)

    @property
    def has_application_credential(self) -> bool:
        """Whether an application credential is used rather than a password."""
        return bool(self.application_credential_id or self.application_credential_name)

    def missing(self) -> Iterator[str]:
        """Yield what is wrong, in words for the operator."""
        if self.has_application_credential:
            if not self.application_credential_secret:
                yield "an application credential needs application_credential_secret"
            if self.application_credential_id:
                return
        elif not self.password:
            yield "a password or an application credential is needed"
        if bool(self.username) == bool(self.user_id):
            yield "exactly one of username and userid is needed"
        elif self.username and bool(self.domain_name) == bool(self.domain_id):
            yield "a username needs exactly one of domain_name and domain_id"
        elif self.project_name and not self.project_id and not (self.domain_name or self.domain_id):
            yield "a project_name needs domain_name or domain_id"


@frozen
class OpenStackSession:
    """What signing in gave."""

    token: Secret
    expires_ms: int
    catalog: tuple[Mapping[str, Any], ...] = field(repr=False)


def login_of_environment(environment: Mapping[str, str]) -> OpenStackLogin:
    """Return the login that the variables `OS_*` describe, as an `openrc` file sets them."""
    get = environment.get
    return OpenStackLogin(
        identity_endpoint=get("OS_AUTH_URL", ""),
        username=get("OS_USERNAME", ""),
        user_id=get("OS_USERID") or get("OS_USER_ID") or "",
        password=Secret(get("OS_PASSWORD", "")),
        project_name=get("OS_PROJECT_NAME") or get("OS_TENANT_NAME") or "",
        project_id=get("OS_PROJECT_ID") or get("OS_TENANT_ID") or "",
        domain_name=get("OS_DOMAIN_NAME") or get("OS_USER_DOMAIN_NAME") or "",
        domain_id=get("OS_DOMAIN_ID") or get("OS_USER_DOMAIN_ID") or "",
        application_credential_name=get("OS_APPLICATION_CREDENTIAL_NAME", ""),
        application_credential_id=get("OS_APPLICATION_CREDENTIAL_ID", ""),
        application_credential_secret=Secret(get("OS_APPLICATION_CREDENTIAL_SECRET", "")),
    )


def token_url(identity_endpoint: str) -> str:
    """Return where tokens are had; raises `DiscoveryError` for version 2, which no server has any more."""
    base = identity_endpoint.rstrip("/")
    if base.endswith("/v2.0"):
        raise DiscoveryError("the identity endpoint is of version 2.0; version 3 is needed")
    return (base if base.endswith("/v3") else base + "/v3") + "/auth/tokens"


def sign_in_body(login: OpenStackLogin) -> dict[str, Any]:
    """Return the body of the request for a token."""
    user: dict[str, Any] = (
        {"id": login.user_id} if login.user_id else {"name": login.username, "domain": _domain(login)}
    )
    if login.has_application_credential:
        secret = login.application_credential_secret.reveal()
        credential: dict[str, Any] = {"secret": secret}
        if login.application_credential_id:
            credential["id"] = login.application_credential_id
        else:
            credential |= {"name": login.application_credential_name, "user": user}
        # An application credential belongs to a project already.
        return {"auth": {"identity": {"methods": ["application_credential"], "application_credential": credential}}}
    user["password"] = login.password.reveal()
    auth: dict[str, Any] = {"identity": {"methods": ["password"], "password": {"user": user}}}
    if login.project_id:
        auth["scope"] = {"project": {"id": login.project_id}}
    elif login.project_name:
        auth["scope"] = {"project": {"name": login.project_name, "domain": _domain(login)}}
    return {"auth": auth}


def session_of(answer: Any, token: str) -> OpenStackSession:
    """Return the session; token: the header `X-Subject-Token`.  Raises `DiscoveryError` where something is missing."""
    try:
        expires = datetime.fromisoformat(text(answer, "token", "expires_at"))
    except ValueError:
        raise DiscoveryError("the identity service did not say until when its token is good") from None
    if not token:
        raise DiscoveryError("the identity service gave no token")
    catalog = objects(answer, "token", "catalog")
    return OpenStackSession(Secret(token), round(expires.timestamp() * 1000), tuple(catalog))


def endpoint_of(session: OpenStackSession, service: str, availability: str, region: str) -> str:
    """Return the address of a service, with a slash at its end; raises `DiscoveryError` where it is not in the catalogue."""
    for entry in session.catalog:
        if text(entry, "type") != service:
            continue
        for endpoint in objects(entry, "endpoints"):
            places = (text(endpoint, "region"), text(endpoint, "region_id"))
            if text(endpoint, "interface") == availability and region in places and text(endpoint, "url"):
                return text(endpoint, "url").rstrip("/") + "/"
    raise DiscoveryError(f"the catalogue has no {availability} endpoint of the service {service} in region {region}")


def next_link(page: Any, what: str) -> str:
    """Return the address of the page after this one, "" at the end."""
    return next((text(link, "href") for link in objects(page, f"{what}_links") if text(link, "rel") == "next"), "")


def _domain(login: OpenStackLogin) -> dict[str, str]:
    return {"id": login.domain_id} if login.domain_id else {"name": login.domain_name}
