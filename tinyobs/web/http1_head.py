"""The head of an HTTP/1.1 request: bytes that end in an empty line to a `RequestHead`, or the status that refuses them.

The grammar is llhttp's, through httptools; what two readers could understand differently is refused here as well: two
lengths, a length beside a transfer coding, no host (RFC 9112, sections 3.2 and 6).  Not here: bodies (`http1_body.py`).
"""

from __future__ import annotations

import re
from typing import Final

import httptools
from attrs import frozen

VERSIONS: Final = (b"1.0", b"1.1")
"""Versions of HTTP that are spoken here; others are refused with 505."""
HEAD_END: Final = re.compile(rb"\n\r?\n")
"""Where a head ends; one without carriage returns ends too, so that it is refused at once."""

_VERSION = re.compile(rb"[^ \r\n]+ [^ \r\n]+ HTTP/([0-9]\.[0-9])\r?\n")
_FRAMING: Final = frozenset((b"content-length", b"transfer-encoding", b"host", b"connection", b"expect"))
_TOKEN = re.compile(rb"[-!#$%&'*+.^_`|~0-9A-Za-z]+ ")


class HeadError(Exception):
    """No request; `status` is that of the answer, `reason` a sentence for who sent it."""

    def __init__(self, status: int, reason: str) -> None:
        self.status, self.reason = status, reason
        super().__init__(status, reason)


@frozen(eq=False)
class RequestHead:
    """What a head says.  Names of headers are in lower case."""

    method: bytes
    target: bytes
    http_version: bytes
    headers: list[tuple[bytes, bytes]]
    body_bytes: int | None
    """Length of the body; None when it comes in chunks."""
    keeps_alive: bool
    """The client will send further requests on the connection."""
    waits: bool
    """The client waits for an answer of 100 before it sends its body."""


class _Collected:
    """Takes the calls of httptools."""

    def __init__(self) -> None:
        self.target = b""
        self.headers: list[tuple[bytes, bytes]] = []

    def on_url(self, piece: bytes) -> None:
        self.target += piece

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value.strip(b" \t")))


def parse_head(data: bytes) -> RequestHead:
    """Return a head; raises `HeadError`."""
    version = _VERSION.match(data)
    if version is not None and version.group(1) not in VERSIONS:
        raise HeadError(505, "the versions of HTTP that are spoken here are 1.0 and 1.1")
    found = _Collected()
    parser = httptools.HttpRequestParser(found)
    try:
        parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        pass  # offered, not taken
    except httptools.HttpParserInvalidMethodError:
        if _TOKEN.match(data):
            raise HeadError(501, "the method of the request is not known") from None
        raise HeadError(400, "this is no HTTP request") from None
    except httptools.HttpParserError as e:
        raise HeadError(400, f"the head of the request is malformed: {e}") from None
    if version is None:
        raise HeadError(400, "the request has no version of HTTP")
    return _checked(parser.get_method(), found, version.group(1))


def _checked(method: bytes, found: _Collected, version: bytes) -> RequestHead:
    """Return the head when nobody can be in doubt where its body ends."""
    framing: dict[bytes, bytes] = {}
    for name, value in found.headers:
        if name in _FRAMING:
            if name in framing and name != b"connection":
                raise HeadError(400, f"the request has two headers {name.decode()}")
            framing[name] = framing[name] + b"," + value if name in framing else value
    is_current = version == b"1.1"
    if is_current and b"host" not in framing:
        raise HeadError(400, "the request has no header Host")
    length = framing.get(b"content-length", b"0")
    coding = framing.get(b"transfer-encoding")
    if not (length.isdigit() and len(length) < 19) or (
        coding is not None and (b"content-length" in framing or not is_current)
    ):
        raise HeadError(400, "Content-Length is no number, or Transfer-Encoding stands beside it or in HTTP/1.0")
    if coding is not None and coding.lower() != b"chunked":
        raise HeadError(501, "the only Transfer-Encoding that is read is chunked")
    connection = framing.get(b"connection")
    keeps_alive = is_current and (connection is None or not _says_close(connection))
    waits = is_current and framing.get(b"expect", b"").lower() == b"100-continue"
    return RequestHead(
        method, found.target, version, found.headers, None if coding else int(length), keeps_alive, waits
    )


def _says_close(connection: bytes) -> bool:
    return b"close" in [token.strip() for token in connection.lower().split(b",")]
