"""TLS contexts from the web config, made anew when their files change.

Names of settings, versions and cipher suites are those of Prometheus's web config file (exporter-toolkit web package).
Python's `ssl` cannot ask for a client certificate without verifying it, so RequestClientCert and
RequireAnyClientCert are refused.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from typing import Any, Final, TypeVar

import structlog

from ..errors import UsageError
from .options import TlsOptions

log = structlog.get_logger("web")
_T = TypeVar("_T")

_VERSIONS: Final = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
_CLIENT_AUTH: Final = {
    "": ssl.CERT_NONE,
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
_UNVERIFIED: Final = ("RequestClientCert", "RequireAnyClientCert")
_CIPHERS: Final = {
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
}
"""IANA name -> OpenSSL name, the suites of TLS 1.2 that Go considers secure; those of 1.3 are always on."""
_ALWAYS_ON: Final = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")


def make_context(options: TlsOptions, *, http2: bool) -> ssl.SSLContext:
    """Return the context of a server; raises `UsageError` for settings or files that cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _choice(_VERSIONS, options.min_version, "min_version")
    context.maximum_version = _choice(_VERSIONS, options.max_version, "max_version")
    context.options |= ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols(["h2", "http/1.1"] if http2 else ["http/1.1"])
    suites = [_choice(_CIPHERS, name, "cipher_suites") for name in options.cipher_suites if name not in _ALWAYS_ON]
    if suites:
        context.set_ciphers(":".join(suites))
    if options.client_auth_type in _UNVERIFIED:
        raise UsageError(f'client_auth_type "{options.client_auth_type}" is not supported: certificates are verified')
    context.verify_mode = _choice(_CLIENT_AUTH, options.client_auth_type, "client_auth_type")
    if context.verify_mode != ssl.CERT_NONE and not options.client_ca_file:
        raise UsageError(f'client_auth_type "{options.client_auth_type}" needs client_ca_file')
    if options.client_allowed_sans and context.verify_mode != ssl.CERT_REQUIRED:
        raise UsageError('client_allowed_sans needs client_auth_type "RequireAndVerifyClientCert"')
    _load(context, options)
    return context


def has_allowed_name(certificate: Mapping[str, Any], allowed: tuple[str, ...]) -> bool:
    """Tell whether a certificate (as `getpeercert` gives it) has one of the allowed subject alternative names."""
    return not allowed or any(name in allowed for _, name in certificate.get("subjectAltName", ()))


class TlsContexts:
    """The current context; asks the file system at every connection whether a file has changed, as Prometheus does.

    A change that cannot be loaded leaves the last good context in place and is logged once.
    """

    def __init__(self, options: TlsOptions, *, http2: bool) -> None:
        self.options = options
        self._http2 = http2
        self._seen = self._stamp()
        self._context = make_context(options, http2=http2)

    def current(self) -> ssl.SSLContext:
        """Return the context for a new connection."""
        stamp = self._stamp()
        if stamp != self._seen:
            self._seen = stamp
            try:
                self._context = make_context(self.options, http2=self._http2)
                log.info("certificate files read again", cert_file=self.options.cert_file)
            except UsageError as e:
                log.error("changed certificate files cannot be used; the old ones stay", reason=str(e))
        return self._context

    def _stamp(self) -> tuple[tuple[int, int, int], ...]:
        paths = (self.options.cert_file, self.options.key_file, self.options.client_ca_file)
        return tuple(_stamp_of(path) for path in paths if path)


def no_passphrase() -> str:
    """Answer OpenSSL's question for a passphrase with none: else it would ask at the terminal, and wait."""
    return ""


def _load(context: ssl.SSLContext, options: TlsOptions) -> None:
    try:
        context.load_cert_chain(options.cert_file, options.key_file, password=no_passphrase)
    except (OSError, ssl.SSLError) as e:
        raise UsageError(f"cannot use certificate {options.cert_file} with key {options.key_file}: {e}") from e
    if options.client_ca_file:
        try:
            context.load_verify_locations(options.client_ca_file)
        except (OSError, ssl.SSLError) as e:
            raise UsageError(f"cannot use client_ca_file {options.client_ca_file}: {e}") from e


def _stamp_of(path: str) -> tuple[int, int, int]:
    try:
        found = os.stat(path)
    except OSError:
        return (0, 0, 0)
    return (found.st_mtime_ns, found.st_size, found.st_ino)


def _choice(table: Mapping[str, _T], name: str, setting: str) -> _T:
    if name not in table:
        raise UsageError(f'{setting} "{name}" is not supported; possible are {", ".join(n for n in table if n)}')
    return table[name]
