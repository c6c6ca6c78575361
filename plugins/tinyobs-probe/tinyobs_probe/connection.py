"""TCP and TLS connections of probes, over trio streams."""

from __future__ import annotations

import os
import ssl
import time
from functools import lru_cache
from typing import Final

import trio
from tinyobs.config.http_client import TlsConfig
from tinyobs.http_client import HttpError, tls_context
from trio.socket import SOCK_STREAM, socket

from .address import Address, ProbeError

CONTEXTS_MAX: Final = 64
"""TLS contexts remembered; each has read the system's certificates."""
CONTEXT_SECONDS_MAX: Final = 3600
"""Age at which a context is made anew, for the system's certificates may have changed."""

TlsStream = trio.SSLStream[trio.SocketStream]


async def connect(address: Address, port: int, source: str = "") -> trio.SocketStream:
    """Return a TCP connection, from a source address where one is given; raises `ProbeError`."""
    sock = socket(address.family, SOCK_STREAM)
    try:
        if source:
            await sock.bind(Address(source).endpoint(0))
        await sock.connect(address.endpoint(port))
    except OSError as e:
        sock.close()
        raise ProbeError(f"cannot connect to {address.ip} port {port}: {e}") from e
    except BaseException:
        sock.close()
        raise
    return trio.SocketStream(sock)


async def client_context(config: TlsConfig, alpn: tuple[str, ...] = ()) -> ssl.SSLContext:
    """Return the TLS context of a probe, made anew when a certificate file has changed; raises `ProbeError`.

    In a worker thread: reading the system's certificates takes some 40 ms.
    """
    try:
        return await trio.to_thread.run_sync(_current_context, config, alpn)
    except HttpError as e:
        raise ProbeError(str(e)) from e


def _current_context(config: TlsConfig, alpn: tuple[str, ...]) -> ssl.SSLContext:
    files = (config.ca_file, config.cert_file, config.key_file)
    return _context(config, alpn, tuple(_stamp(f) for f in files), int(time.monotonic() // CONTEXT_SECONDS_MAX))


@lru_cache(maxsize=CONTEXTS_MAX)
def _context(
    config: TlsConfig, alpn: tuple[str, ...], stamps: tuple[tuple[int, int], ...], period: int
) -> ssl.SSLContext:
    """Return a context; `stamps` and `period` are there to be another key when something may have changed."""
    context: ssl.SSLContext = tls_context(config)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


def _stamp(path: str) -> tuple[int, int]:
    try:
        found = os.stat(path) if path else None
    except OSError:
        found = None
    return (found.st_mtime_ns, found.st_size) if found else (0, 0)


async def start_tls(stream: trio.SocketStream, context: ssl.SSLContext, server_name: str) -> TlsStream:
    """Return the stream with TLS on top, its handshake done; raises `ProbeError`."""
    tls = trio.SSLStream(stream, context, server_hostname=server_name, https_compatible=True)
    try:
        await tls.do_handshake()
    except (trio.BrokenResourceError, ssl.SSLError, ssl.CertificateError) as e:
        raise ProbeError(f"TLS handshake failed: {e.__cause__ or e}") from e
    return tls


async def close(stream: trio.abc.AsyncResource) -> None:
    """Close a stream without manners: a probe does not wait for the other side."""
    await trio.aclose_forcefully(stream)
