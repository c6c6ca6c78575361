"""The file of `--web.config.file`: TLS, headers and users of the HTTP server.

Format and messages: prometheus/exporter-toolkit web/tls_config.go.  Certificates and keys are read where the server
makes its TLS context, so that they can be renewed; here is only whether the file makes sense.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from enum import StrEnum
from typing import Any, Final

from attrs import frozen

from ..errors import ConfigError
from ..model.secrets import Secret
from .decoder import decode_text
from .fields import Fault, FilePath, setting, unsupported
from .http_client import TlsVersion
from .rule_file import unreadable
from .yaml_tree import read_file

_BCRYPT: Final = re.compile(r"\$2[abxy]\$(?:0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{53}\Z")
_HEADERS: Final[dict[str, tuple[str, ...]]] = {
    "Strict-Transport-Security": (),
    "X-Content-Type-Options": ("nosniff",),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-XSS-Protection": (),
    "Content-Security-Policy": (),
}
"""Headers that may be set, and the values they may have where these are few."""


class ClientAuth(StrEnum):
    """What is asked of a client's certificate."""

    NONE = "NoClientCert"
    REQUEST = "RequestClientCert"
    REQUIRE = "RequireClientCert"
    REQUIRE_ANY = "RequireAnyClientCert"
    VERIFY_IF_GIVEN = "VerifyClientCertIfGiven"
    REQUIRE_AND_VERIFY = "RequireAndVerifyClientCert"

    @classmethod
    def refusal(cls, text: str) -> str:
        """Return the message for a value that there is not."""
        return f"invalid ClientAuth: {text}"


class Curve(StrEnum):
    """Elliptic curves by their Go names."""

    P256 = "CurveP256"
    P384 = "CurveP384"
    P521 = "CurveP521"
    X25519 = "X25519"

    @classmethod
    def refusal(cls, text: str) -> str:
        """Return the message for a curve that there is not."""
        return f"unknown curve: {text}"


class Cipher(StrEnum):
    """Cipher suites by their IANA names, as Go accepts them."""

    AES_128_GCM = "TLS_AES_128_GCM_SHA256"
    AES_256_GCM = "TLS_AES_256_GCM_SHA384"
    CHACHA20 = "TLS_CHACHA20_POLY1305_SHA256"
    ECDHE_ECDSA_AES_128_CBC = "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA"
    ECDHE_ECDSA_AES_256_CBC = "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA"
    ECDHE_RSA_AES_128_CBC = "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"
    ECDHE_RSA_AES_256_CBC = "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA"
    ECDHE_ECDSA_AES_128_GCM = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"
    ECDHE_ECDSA_AES_256_GCM = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"
    ECDHE_RSA_AES_128_GCM = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"
    ECDHE_RSA_AES_256_GCM = "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"
    ECDHE_RSA_CHACHA20 = "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"
    ECDHE_ECDSA_CHACHA20 = "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"

    @classmethod
    def refusal(cls, text: str) -> str:
        """Return the message for a suite that there is not."""
        return f"unknown cipher: {text}"


@frozen(kw_only=True)
class TlsServerConfig:
    """The server's side of TLS."""

    cert: str = setting(default="")
    key: Secret = setting(default=Secret())
    client_ca: str = setting(default="")
    cert_file: FilePath = setting(default=FilePath(""))
    key_file: FilePath = setting(default=FilePath(""))
    client_auth_type: ClientAuth | None = setting(default=None)
    client_ca_file: FilePath = setting(default=FilePath(""))
    cipher_suites: tuple[Cipher, ...] = setting(default=())
    curve_preferences: tuple[Curve, ...] = setting(default=())
    min_version: TlsVersion = setting(default=TlsVersion.TLS12)
    max_version: TlsVersion = setting(default=TlsVersion.TLS13)
    prefer_server_cipher_suites: bool = setting(default=True, always=True)
    client_allowed_sans: tuple[str, ...] = setting(default=())

    @property
    def enabled(self) -> bool:
        """Whether the server speaks TLS: any of certificate, key, client CA or client policy is given."""
        given = (self.cert, self.cert_file, self.key, self.key_file, self.client_ca, self.client_ca_file)
        return any(given) or self.client_auth_type is not None

    def faults(self) -> Iterator[Fault]:
        """Yield what is missing or contradicts."""
        if not self.enabled:
            return
        if not self.cert and not self.cert_file:
            yield Fault("missing one of cert or cert_file")
        if not self.key and not self.key_file:
            yield Fault("missing one of key or key_file")
        if self.cert and self.cert_file:
            yield Fault("at most one of cert and cert_file must be configured", "cert_file")
        if self.key and self.key_file:
            yield Fault("at most one of key and key_file must be configured", "key_file")
        if self.min_version > self.max_version:
            yield Fault("min_version is greater than max_version", "min_version")
        asks = self.client_auth_type not in (None, ClientAuth.NONE)
        if (self.client_ca or self.client_ca_file) and not asks:
            yield Fault("client CA's have been configured without a Client Auth Policy")
        must = (ClientAuth.REQUIRE, ClientAuth.REQUIRE_ANY, ClientAuth.REQUIRE_AND_VERIFY)
        if self.client_allowed_sans and self.client_auth_type not in must:
            yield Fault(
                "client_allowed_sans requires client_auth_type to be one of RequireAnyClientCert or "
                "RequireAndVerifyClientCert",
                "client_allowed_sans",
            )


@frozen(kw_only=True)
class HttpServerConfig:
    """HTTP/2 (over TLS only) and headers that every answer carries."""

    http2: bool = setting(default=True, always=True)
    headers: tuple[tuple[str, str], ...] = setting(default=())

    def faults(self) -> Iterator[Fault]:
        """Yield headers that may not be set, or not to that value."""
        for name, value in self.headers:
            allowed = _HEADERS.get(name)
            if allowed is None:
                yield Fault(f'HTTP header "{name}" can not be configured', f"headers.{name}")
            elif allowed and value and value not in allowed:
                choices = " ".join(f'"{choice}"' for choice in allowed)
                yield Fault(
                    f'invalid value for {name}. Expected one of: [{choices}], but got: "{value}"', f"headers.{name}"
                )


@frozen(kw_only=True)
class WebConfig:
    """The whole file; an empty one means plain HTTP without users."""

    tls_server_config: TlsServerConfig = setting(factory=TlsServerConfig)
    http_server_config: HttpServerConfig = setting(factory=HttpServerConfig)
    rate_limit: Any = unsupported()
    basic_auth_users: tuple[tuple[str, Secret], ...] = setting(default=())
    """User name -> bcrypt hash of the password."""

    def faults(self) -> Iterator[Fault]:
        """Yield users whose password is no bcrypt hash."""
        for name, password in self.basic_auth_users:
            if not _BCRYPT.match(password.reveal()):
                yield Fault(f"the password of '{name}' is not a bcrypt hash", f"basic_auth_users.{name}")


def parse_web_config(text: str | bytes, filename: str) -> WebConfig:
    """Return the web configuration in a text; raises `ConfigError` with all its problems."""
    return decode_text(WebConfig, text, filename, os.path.dirname(filename))


def load_web_config(path: str | os.PathLike[str]) -> WebConfig:
    """Return the web configuration in a file; raises `ConfigError`."""
    filename = os.fspath(path)
    try:
        text = read_file(filename)
    except OSError as e:
        raise ConfigError([unreadable(filename, e)]) from None
    return parse_web_config(text, filename)
