"""The only module that knows the HTTP client library (httpx): clients made from an `HttpClientConfig`.

Everything that asks others over HTTP gets its client here, so that TLS, credentials, redirects and the user agent are
the same everywhere and the library can be exchanged in one place.  Files with credentials are read for each request,
files with certificates for each client.
"""

from __future__ import annotations

import base64
import re
import ssl
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import httpx
import trio

from . import __version__
from .config.http_client import HttpClientConfig, TlsConfig, TlsVersion
from .errors import TinyObsError
from .model.secrets import Secret

USER_AGENT: Final = f"TinyObs/{__version__}"
REDIRECTS_MAX: Final = 10
IDLE_SECONDS_MAX: Final = 300.0
"""How long a connection is kept for the next request, as in Prometheus."""
SECRET_FILE_BYTES_MAX: Final = 1 << 20

_NOT_SENT: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
"""What a header cannot carry (RFC 9110, section 5.5)."""

_VERSIONS: Final = {
    TlsVersion.TLS10: ssl.TLSVersion.TLSv1,
    TlsVersion.TLS11: ssl.TLSVersion.TLSv1_1,
    TlsVersion.TLS12: ssl.TLSVersion.TLSv1_2,
    TlsVersion.TLS13: ssl.TLSVersion.TLSv1_3,
}


class HttpError(TinyObsError):
    """A request got no answer: refused, reset, not resolved, TLS failure, a credentials file that cannot be read."""


class Answer:
    """The head of an answer and its body in pieces, as they come over the wire (not decompressed)."""

    def __init__(self, answer: httpx.Response) -> None:
        self._answer = answer
        self.status = answer.status_code
        self.reason = answer.reason_phrase or httpx.codes.get_reason_phrase(answer.status_code)
        self.headers: Mapping[str, str] = answer.headers

    def pieces(self) -> AsyncGenerator[bytes, None]:
        """Return the body as it arrives; use it with `contextlib.aclosing`."""
        pieces = self._answer.aiter_raw()
        assert isinstance(pieces, AsyncGenerator)
        return pieces


class Client:
    """A connection pool with the settings of one `http_config`, or with defaults."""

    def __init__(
        self, config: HttpClientConfig | None = None, context: ssl.SSLContext | None = None, unix_socket: str = ""
    ) -> None:
        """Raises `HttpError` when a certificate cannot be read.

        context: what `tls_context` made of the configuration earlier, for clients that share it.
        unix_socket: the path of a socket that all requests go to, whatever host their URL names.
        """
        config = config or HttpClientConfig()
        self._config = config
        self._server_name = config.tls_config.server_name
        self._has_kept = False
        """Whether a connection may be there from an earlier request."""
        self._client = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(
                verify=context or tls_context(config.tls_config),
                limits=httpx.Limits(max_connections=None, keepalive_expiry=IDLE_SECONDS_MAX),
                uds=unix_socket or None,
            ),
            follow_redirects=config.follow_redirects,
            max_redirects=REDIRECTS_MAX,
            timeout=None,  # noqa: S113 - deadlines are cancel scopes of the caller
            trust_env=False,
            headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
        )

    @asynccontextmanager
    async def stream(
        self, method: str, url: str, headers: Mapping[str, str] | None = None, content: bytes | None = None
    ) -> AsyncIterator[Answer]:
        """Send a request; the answer's body is read within the context.  Raises `HttpError` when there is none."""
        if has_credential_files(self._config):
            credentials = await trio.to_thread.run_sync(credential_headers, self._config)
        else:
            credentials = credential_headers(self._config)
        extensions = {"sni_hostname": self._server_name} if self._server_name else {}
        answer = None
        try:
            fields = [_field(*header) for header in (*(headers or {}).items(), *credentials)]
            request = self._client.build_request(method, url, headers=fields, content=content, extensions=extensions)
            answer = await self._send(request)
            yield Answer(answer)
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as e:
            raise HttpError(describe(e)) from e
        finally:
            if answer is not None:
                await answer.aclose()

    async def _send(self, request: httpx.Request) -> httpx.Response:
        """Return the head of the answer.

        A connection that was kept may be closed by the server just as it is used again.  What may be repeated is then
        sent once more, as Prometheus' client does.
        """
        kept, self._has_kept = self._has_kept, True
        try:
            return await self._client.send(request, stream=True)
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
            if not kept or request.method not in ("GET", "HEAD"):
                raise
        return await self._client.send(request, stream=True)

    async def aclose(self) -> None:
        """Close all connections."""
        with trio.move_on_after(1, shield=True):
            await self._client.aclose()


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


def credential_headers(config: HttpClientConfig) -> list[tuple[str, str]]:
    """Return the headers that carry credentials and those that the configuration adds; reads their files."""
    headers = []
    if config.basic_auth is not None:
        auth = config.basic_auth
        user = _read(auth.username_file) if auth.username_file else auth.username
        password = _read(auth.password_file) if auth.password_file else auth.password.reveal()
        headers.append(("Authorization", "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()))
    if config.authorization is not None:
        given = config.authorization
        credentials = _read(given.credentials_file) if given.credentials_file else given.credentials.reveal()
        headers.append(("Authorization", f"{given.type} {credentials}"))
    for name, header in config.http_headers:
        headers += [(name, value) for value in header.values]
        headers += [(name, secret.reveal()) for secret in header.secrets]
        headers += [(name, _read(file)) for file in header.files]
    return headers


def has_credential_files(config: HttpClientConfig) -> bool:
    """Tell whether `credential_headers` reads files."""
    auth, given = config.basic_auth, config.authorization
    return bool(
        (auth and (auth.username_file or auth.password_file))
        or (given and given.credentials_file)
        or any(header.files for _, header in config.http_headers)
    )


def _field(name: str, value: str) -> tuple[bytes, bytes]:
    """Return a header as it is sent, in UTF-8; raises `HttpError`, which must not show a value that may be a secret."""
    if _NOT_SENT.search(value):
        raise HttpError(f"the value of the header {name} has a line break or another control character")
    return name.encode(), value.strip(" \t").encode()


def describe(error: Exception) -> str:
    """Return what an operator wants to read of a failed request."""
    return ": ".join(dict.fromkeys(_causes(error))) or type(error).__name__


def _causes(error: BaseException | None) -> Iterator[str]:
    """Yield the outermost text there is, and what the system said of each attempt to connect."""
    told = False
    while error is not None:
        if isinstance(error, BaseExceptionGroup):
            yield from (e.strerror for e in error.exceptions if isinstance(e, OSError) and e.strerror)
            return
        if not told and str(error):
            yield str(error)
            told = True
        error = error.__cause__ or error.__context__


def _read(file: str) -> str:
    try:
        with Path(file).open("rb") as f:
            return f.read(SECRET_FILE_BYTES_MAX).decode().strip()
    except (OSError, UnicodeDecodeError) as e:
        raise HttpError(f"cannot read credentials from {file}: {e}") from e


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
