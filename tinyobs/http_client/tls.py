"""TLS of a client: contexts from a `tls_config`, made anew when its files change."""

from __future__ import annotations

import ssl
import tempfile
from functools import cache
from pathlib import Path
from typing import Final

from ..config.http_client import TlsConfig, TlsVersion
from ..model.secrets import Secret
from .errors import HttpError
from .files import FILE_BYTES_MAX, WatchedFiles

HTTP1: Final = ("http/1.1",)
HTTP2: Final = ("h2", "http/1.1")
"""Protocols that a client offers in the handshake."""

_VERSIONS: Final = {
    TlsVersion.TLS10: ssl.TLSVersion.TLSv1,
    TlsVersion.TLS11: ssl.TLSVersion.TLSv1_1,
    TlsVersion.TLS12: ssl.TLSVersion.TLSv1_2,
    TlsVersion.TLS13: ssl.TLSVersion.TLSv1_3,
}


class TlsSource:
    """The contexts of one `tls_config`: one for servers and, where it differs, one for proxies, which speak HTTP/1.1."""

    def __init__(self, config: TlsConfig, protocols: tuple[str, ...] = HTTP1) -> None:
        self.server_name = config.server_name
        self._config = config
        self._protocols = protocols
        self._files = WatchedFiles((config.ca_file, config.cert_file, config.key_file))
        self._contents: tuple[bytes, ...] | None = None
        self._contexts: dict[tuple[str, ...], ssl.SSLContext] = {}
        self._error: HttpError | None = None

    def check(self) -> None:
        """Read the files, if there are any; raises `HttpError` when they make no context."""
        if self._config != TlsConfig():
            self.context(float("-inf"))

    def context(self, now: float, proxy: bool = False) -> ssl.SSLContext:
        """Return the context for the files as they are now; raises `HttpError` when they make none."""
        protocols = HTTP1 if proxy else self._protocols
        if self._config == TlsConfig():
            return _default_context(protocols)
        if self._files.changed(now):
            self._read()
        if self._error is not None:
            raise HttpError(str(self._error))
        context = self._contexts.get(protocols)
        if context is None:
            context = self._contexts[protocols] = self._make(protocols)
        return context

    def _read(self) -> None:
        """Drop the contexts where a file holds something else than before."""
        contents = tuple(map(_content, self._files.files))
        if contents == self._contents and self._error is None:
            return
        self._contents, self._error = contents, None
        self._contexts.clear()
        try:
            self._contexts[self._protocols] = self._make(self._protocols)
        except HttpError as e:
            self._error = e

    def _make(self, protocols: tuple[str, ...]) -> ssl.SSLContext:
        context = tls_context(self._config)
        context.set_alpn_protocols(list(protocols))
        return context


def tls_context(config: TlsConfig) -> ssl.SSLContext:
    """Return the client's side of TLS.  Raises `HttpError` that names the file which cannot be used."""
    try:
        context = ssl.create_default_context(cafile=config.ca_file or None, cadata=config.ca or None)
        if config.insecure_skip_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if config.min_version:
            context.minimum_version = _VERSIONS[config.min_version]
        if config.max_version:
            context.maximum_version = _VERSIONS[config.max_version]
        if config.cert_file and config.key_file:
            context.load_cert_chain(config.cert_file, config.key_file, password=_no_passphrase)
        elif config.cert or config.cert_file:
            _load_inline_chain(context, config)
    except (OSError, ssl.SSLError) as e:
        names = ", ".join(f for f in (config.ca_file, config.cert_file, config.key_file) if f)
        raise HttpError(f"cannot use the TLS settings ({names or 'inline certificates'}): {e}") from e
    return context


@cache
def _default_context(protocols: tuple[str, ...]) -> ssl.SSLContext:
    """Return the context without settings, which takes 20 ms to make and is the same for all."""
    context = tls_context(TlsConfig())
    context.set_alpn_protocols(list(protocols))
    return context


def _content(file: str) -> bytes:
    """Return a file's bytes, none of one that cannot be read: making the context tells why."""
    try:
        with Path(file).open("rb") as f:
            return f.read(FILE_BYTES_MAX)
    except OSError:
        return b""


def _load_inline_chain(context: ssl.SSLContext, config: TlsConfig) -> None:
    """Load a certificate of which a part is inline; the `ssl` module takes files only."""
    with tempfile.TemporaryDirectory(prefix="tinyobs-tls-") as folder:
        cert, key = Path(folder, "cert.pem"), Path(folder, "key.pem")
        for path, inline, file in ((cert, config.cert, config.cert_file), (key, config.key, config.key_file)):
            text = inline.reveal() if isinstance(inline, Secret) else inline
            path.touch(mode=0o600)
            path.write_text(text if text else Path(file).read_text())
        context.load_cert_chain(cert, key, password=_no_passphrase)


def _no_passphrase() -> str:
    """Answer OpenSSL's question for a passphrase with none: else it would ask at the terminal, and wait."""
    return ""
