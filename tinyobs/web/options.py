"""What an operator may set about the HTTP server: addresses, limits, TLS, users.  Values only.

The names of TLS settings are those of Prometheus's web config file; reading that file is `tinyobs.config`'s.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from attrs import Factory, frozen

MIB: Final = 1 << 20


@frozen
class ServerOptions:
    """Limits of the listener and its connections."""

    connections_max: int = 512
    """Connections open at one time; more wait in the kernel's queue (`--web.max-connections`)."""
    keep_alive_seconds: float = 60.0
    """How long a connection may be idle, or take to send the head of a request."""
    handshake_seconds: float = 10.0
    """How long a TLS handshake may take."""
    send_seconds: float = 60.0
    """How long a client may take to accept one piece of an answer (at most a few MB)."""
    drain_seconds: float = 10.0
    """How long requests in flight may go on when the server stops."""
    head_bytes_max: int = 128 << 10
    """Size of a request line with its headers, in bytes."""
    http2: bool = True
    """Offer HTTP/2 over TLS."""


@frozen
class TlsOptions:
    """TLS of the server, after `tls_server_config`; the files are read again when they change."""

    cert_file: str
    key_file: str
    client_auth_type: str = "NoClientCert"
    """One of NoClientCert, VerifyClientCertIfGiven, RequireAndVerifyClientCert."""
    client_ca_file: str = ""
    client_allowed_sans: tuple[str, ...] = ()
    """A client certificate must have one of these subject alternative names; empty allows all."""
    min_version: str = "TLS12"
    max_version: str = "TLS13"
    cipher_suites: tuple[str, ...] = ()
    """Names of TLS 1.2 suites as Go and IANA write them; empty takes the library's choice."""


@frozen
class WebOptions:
    """Limits and policies of the HTTP application."""

    route_prefix: str = ""
    """The path below which everything is served: "" or "/x" (`--web.route-prefix`)."""
    external_url: str = ""
    """The URL under which users reach the server; for links and redirects."""
    page_title: str = "TinyObs"
    """Title of the pages (`--web.page-title`)."""
    cors_origin: re.Pattern[str] = re.compile(".*")
    """Origins that may read answers; matched whole (`--web.cors.origin`)."""
    lifecycle: bool = False
    """Serve `/-/reload` and `/-/quit` (`--web.enable-lifecycle`)."""
    body_bytes_max: int = 32 * MIB
    """Size of a request's body, in bytes as sent."""
    bodies_bytes_max: int = 256 * MIB
    """Bytes of the bodies of all requests together, as sent and as unpacked; what does not fit is answered 503."""
    body_seconds: float = 30.0
    """How long a client may take to send a body."""
    requests_max: int = 256
    """Requests handled at one time; more are answered 503."""
    websockets_max: int = 128
    """WebSockets open at one time; more are answered 503."""
    websocket_message_bytes_max: int = MIB
    """Size of a message that a client sends over a WebSocket."""
    queries_max: int = 20
    """Queries evaluated at one time; more wait (`--query.max-concurrency`)."""
    query_seconds: float = 120.0
    """How long a query may take, waiting included (`--query.timeout`)."""
    read_samples_max: int = 50_000_000
    """Samples in an answer of remote read that is not streamed, 0 for no limit (`--storage.remote.read-sample-limit`)."""
    reads_max: int = 10
    """Remote reads answered at one time, 0 for no limit; more wait (`--storage.remote.read-concurrent-limit`)."""
    read_frame_bytes_max: int = MIB
    """Size of a frame of streamed remote read, in bytes (`--storage.remote.read-max-bytes-in-frame`)."""
    queries_queued_max: int = 200
    """Queries that may wait for others; more are answered 503."""
    query_queue_seconds: float = 0.0
    """How long a query may wait for others; 0: as long as it may take."""
    query_threads: int = 0
    """Queries that compute at one time, in turns; 0: as many as there are processors less one."""
    answer_bytes_max: int = 0
    """Size of a query's answer, in bytes before compression; 0: no limit."""
    answer_seconds: float = 300.0
    """How long a client may take to receive a large answer."""
    search_limit_max: int = 10_000
    """Results that a search may ask for, 0 for no limit (`--web.search.max-limit`)."""
    compress_bytes_min: int = 1024
    """Answers smaller than this are not compressed, in bytes."""
    users: Mapping[str, str] = Factory(dict)
    """User name -> bcrypt hash; with any user, every request needs credentials."""
    headers: tuple[tuple[str, str], ...] = ()
    """Headers added to every answer (`http_server_config.headers`)."""
