"""How TinyObs speaks HTTP to others: the keys that scrape configs, discovery, remote write and alerting share.

Format and messages: prometheus/common config/http_config.go.  Here is only what is configured, not a client.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Any, Final

import attrs
from attrs import frozen

from ..model.secrets import Secret
from .fields import Fault, FilePath, JsonText, ProxyUrl, Url, inline, setting, unsupported

_RESERVED_HEADERS: Final = frozenset(
    """Authorization Host Content-Encoding Content-Length Content-Type User-Agent Connection Keep-Alive
    Proxy-Authenticate Proxy-Authorization Www-Authenticate Accept-Encoding X-Prometheus-Remote-Write-Version
    X-Prometheus-Remote-Read-Version X-Prometheus-Scrape-Timeout-Seconds X-Amz-Date X-Amz-Security-Token
    X-Amz-Content-Sha256""".split()
)

JWT_BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"


class Scheme(StrEnum):
    """The scheme of a URL."""

    HTTP = "http"
    HTTPS = "https"


class TlsVersion(StrEnum):
    """Versions of TLS, as they are named in configuration files."""

    TLS10 = "TLS10"
    TLS11 = "TLS11"
    TLS12 = "TLS12"
    TLS13 = "TLS13"

    @classmethod
    def refusal(cls, text: str) -> str:
        """Return the message for a version that there is not."""
        return f"unknown TLS version: {text}"


@frozen(kw_only=True)
class TlsConfig:
    """The client's side of TLS; certificates inline (PEM) or in files that are read for each connection."""

    ca: str = setting(default="")
    cert: str = setting(default="")
    key: Secret = setting(default=Secret())
    ca_file: FilePath = setting(default=FilePath(""))
    cert_file: FilePath = setting(default=FilePath(""))
    key_file: FilePath = setting(default=FilePath(""))
    ca_ref: Any = unsupported()
    cert_ref: Any = unsupported()
    key_ref: Any = unsupported()
    server_name: str = setting(default="")
    insecure_skip_verify: bool = setting(default=False)
    min_version: TlsVersion | None = setting(default=None)
    max_version: TlsVersion | None = setting(default=None)

    def faults(self) -> Iterator[Fault]:
        """Yield contradictions."""
        if self.ca and self.ca_file:
            yield Fault("at most one of ca and ca_file must be configured", "ca_file")
        if self.cert and self.cert_file:
            yield Fault("at most one of cert and cert_file must be configured", "cert_file")
        if self.key and self.key_file:
            yield Fault("at most one of key and key_file must be configured", "key_file")
        has_cert, has_key = bool(self.cert or self.cert_file), bool(self.key or self.key_file)
        if has_cert and not has_key:
            yield Fault("exactly one of key or key_file must be configured when a client certificate is configured")
        if has_key and not has_cert:
            yield Fault("exactly one of cert or cert_file must be configured when a client key is configured")
        if self.min_version and self.max_version and self.min_version > self.max_version:
            yield Fault("min_version is greater than max_version", "min_version")


@frozen(kw_only=True)
class BasicAuth:
    """User name and password; the files are read for each request, so that they can change."""

    username: str = setting(default="", always=True)
    username_file: FilePath = setting(default=FilePath(""))
    username_ref: Any = unsupported()
    password: Secret = setting(default=Secret())
    password_file: FilePath = setting(default=FilePath(""))
    password_ref: Any = unsupported()

    def faults(self) -> Iterator[Fault]:
        """Yield contradictions."""
        if self.username and self.username_file:
            yield Fault("at most one of basic_auth username & username_file must be configured", "username_file")
        if self.password and self.password_file:
            yield Fault("at most one of basic_auth password & password_file must be configured", "password_file")


@frozen(kw_only=True)
class Authorization:
    """The `Authorization` header: a type and credentials."""

    type: str = setting(default="Bearer")
    credentials: Secret = setting(default=Secret())
    credentials_file: FilePath = setting(default=FilePath(""))
    credentials_ref: Any = unsupported()

    def faults(self) -> Iterator[Fault]:
        """Yield contradictions."""
        if self.credentials and self.credentials_file:
            yield Fault(
                "at most one of authorization credentials & credentials_file must be configured", "credentials_file"
            )
        if self.type.strip().lower() == "basic":
            yield Fault('authorization type cannot be set to "basic", use "basic_auth" instead', "type")

    def normalized(self) -> Authorization:
        """Return it with the type filled in."""
        return attrs.evolve(self, type=self.type.strip() or "Bearer")


@frozen(kw_only=True)
class Header:
    """Values of one request header, from three places."""

    values: tuple[str, ...] = setting(default=())
    secrets: tuple[Secret, ...] = setting(default=())
    files: tuple[FilePath, ...] = setting(default=())


@frozen(kw_only=True)
class ProxyConfig:
    """The proxy that requests go through; its keys stand among those of the section that uses it."""

    proxy_url: ProxyUrl = setting(default=ProxyUrl(""))
    no_proxy: str = setting(default="")
    proxy_from_environment: bool = setting(default=False)
    proxy_connect_header: tuple[tuple[str, tuple[Secret, ...]], ...] = setting(default=())

    def faults(self) -> Iterator[Fault]:
        """Yield contradictions."""
        if self.proxy_connect_header and not (self.proxy_from_environment or self.proxy_url):
            yield Fault(
                "if proxy_connect_header is configured, proxy_url or proxy_from_environment must also be configured",
                "proxy_connect_header",
            )
        if self.proxy_from_environment and self.proxy_url:
            yield Fault("if proxy_from_environment is configured, proxy_url must not be configured", "proxy_url")
        if self.proxy_from_environment and self.no_proxy:
            yield Fault("if proxy_from_environment is configured, no_proxy must not be configured", "no_proxy")
        elif self.no_proxy and not self.proxy_url:
            yield Fault("if no_proxy is configured, proxy_url must also be configured", "no_proxy")


class GrantType(StrEnum):
    """How an OAuth2 client proves itself to the token endpoint."""

    CLIENT_CREDENTIALS = "client_credentials"
    JWT_BEARER = JWT_BEARER

    @classmethod
    def refusal(cls, text: str) -> str:
        """Return the message for a grant that there is not."""
        return f"unknown oauth2 grant_type {text!r}: known are client_credentials and {JWT_BEARER}"


class SignatureAlgorithm(StrEnum):
    """What an assertion is signed with."""

    RS256 = "RS256"
    RS384 = "RS384"
    RS512 = "RS512"

    @classmethod
    def refusal(cls, text: str) -> str:
        """Return the message for an algorithm that there is not."""
        return "valid signature algorithms are RS256, RS384 and RS512"


@frozen(kw_only=True)
class OAuth2:
    """Where access tokens come from.

    `client_certificate_key`, its id, `signature_algorithm`, `iss`, `audience` and `claims` are for the grant JWT bearer,
    `client_secret` for client credentials.
    """

    client_id: str = setting(default="", always=True)
    client_secret: Secret = setting(default=Secret())
    client_secret_file: FilePath = setting(default=FilePath(""))
    client_secret_ref: Any = unsupported()
    client_certificate_key_id: str = setting(default="")
    client_certificate_key: Secret = setting(default=Secret())
    client_certificate_key_file: FilePath = setting(default=FilePath(""))
    client_certificate_key_ref: Any = unsupported()
    grant_type: GrantType = setting(default=GrantType.CLIENT_CREDENTIALS, omit=GrantType.CLIENT_CREDENTIALS)
    signature_algorithm: SignatureAlgorithm = setting(default=SignatureAlgorithm.RS256, omit=SignatureAlgorithm.RS256)
    iss: str = setting(default="")
    audience: str = setting(default="")
    claims: tuple[tuple[str, JsonText], ...] = setting(default=())
    scopes: tuple[str, ...] = setting(default=())
    token_url: Url | None = setting(default=None, always=True)
    endpoint_params: tuple[tuple[str, str], ...] = setting(default=())
    tls_config: TlsConfig = setting(factory=TlsConfig)
    proxy: ProxyConfig = inline(ProxyConfig)

    def faults(self) -> Iterator[Fault]:
        """Yield what is missing, and contradictions."""
        if not self.client_id:
            yield Fault("oauth2 client_id must be configured", "client_id")
        if not self.token_url:
            yield Fault("oauth2 token_url must be configured", "token_url")
        if self.grant_type is GrantType.JWT_BEARER:
            if self.client_certificate_key and self.client_certificate_key_file:
                yield Fault(
                    "at most one of oauth2 client_certificate_key, client_certificate_key_file & "
                    f"client_certificate_key_ref must be configured using grant-type={JWT_BEARER}",
                    "client_certificate_key_file",
                )
            if not (self.client_certificate_key or self.client_certificate_key_file):
                yield Fault(f"oauth2 with grant_type {JWT_BEARER} needs a client_certificate_key", "grant_type")
        elif self.client_secret and self.client_secret_file:
            yield Fault(
                "at most one of oauth2 client_secret, client_secret_file & client_secret_ref must be configured "
                "using grant-type=client_credentials",
                "client_secret_file",
            )


@frozen(kw_only=True)
class HttpClientConfig:
    """Authentication, TLS and the rest; its keys stand among those of the section that uses it."""

    basic_auth: BasicAuth | None = setting(default=None)
    authorization: Authorization | None = setting(default=None)
    oauth2: OAuth2 | None = setting(default=None)
    bearer_token: Secret = setting(default=Secret())
    bearer_token_file: FilePath = setting(default=FilePath(""))
    tls_config: TlsConfig = setting(factory=TlsConfig)
    follow_redirects: bool = setting(default=True, always=True)
    enable_http2: bool = setting(default=True, always=True)
    """Offer HTTP/2 in the TLS handshake; the server chooses."""
    proxy: ProxyConfig = inline(ProxyConfig)
    http_headers: tuple[tuple[str, Header], ...] = setting(default=())

    def faults(self) -> Iterator[Fault]:
        """Yield contradictions."""
        token = bool(self.bearer_token or self.bearer_token_file)
        if self.bearer_token and self.bearer_token_file:
            yield Fault("at most one of bearer_token & bearer_token_file must be configured", "bearer_token_file")
        if (self.basic_auth or self.oauth2) and token:
            key = "basic_auth" if self.basic_auth else "oauth2"
            yield Fault("at most one of basic_auth, oauth2, bearer_token & bearer_token_file must be configured", key)
        if self.authorization and token:
            yield Fault("authorization is not compatible with bearer_token & bearer_token_file", "authorization")
        if bool(self.authorization) + bool(self.basic_auth) + bool(self.oauth2) > 1:
            key = "authorization" if self.authorization else "oauth2"
            yield Fault("at most one of basic_auth, oauth2 & authorization must be configured", key)
        for name, _ in self.http_headers:
            canonical = "-".join(part.capitalize() for part in name.split("-"))
            if canonical in _RESERVED_HEADERS:
                yield Fault(f'setting header "{canonical}" is not allowed', f"http_headers.{name}")

    def normalized(self) -> HttpClientConfig:
        """Return it with the older `bearer_token` written as `authorization`."""
        if not (self.bearer_token or self.bearer_token_file):
            return self
        new = Authorization(credentials=self.bearer_token, credentials_file=self.bearer_token_file)
        return attrs.evolve(self, authorization=new, bearer_token=Secret(), bearer_token_file=FilePath(""))
