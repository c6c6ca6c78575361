"""Heads of requests: what is read of them, and what is refused because two readers could differ about it."""

from __future__ import annotations

import pytest

from tinyobs.web.http1_head import HeadError, parse_head


def head(first: bytes, *lines: bytes) -> bytes:
    """Return the bytes of a head."""
    return b"\r\n".join((first, *lines, b"", b""))


def refused(data: bytes) -> int:
    """Return the status that refuses a head."""
    with pytest.raises(HeadError) as e:
        parse_head(data)
    return e.value.status


def test_a_head_is_read() -> None:
    """Names come in lower case, values without the spaces around them."""
    found = parse_head(head(b"POST /a?b=1 HTTP/1.1", b"Host: x", b"X-A:  v w \t", b"Content-Length: 12"))
    assert (found.method, found.target, found.http_version) == (b"POST", b"/a?b=1", b"1.1")
    assert found.headers == [(b"host", b"x"), (b"x-a", b"v w"), (b"content-length", b"12")]
    assert (found.body_bytes, found.keeps_alive, found.waits) == (12, True, False)


def test_chunks_have_no_length() -> None:
    """The coding is written in any case."""
    assert parse_head(head(b"PUT / HTTP/1.1", b"Host: x", b"Transfer-Encoding: Chunked")).body_bytes is None


@pytest.mark.parametrize("tokens", [b"close", b"Close", b"keep-alive, close"])
def test_a_client_may_want_to_close(tokens: bytes) -> None:
    """The word stands alone or among others."""
    assert not parse_head(head(b"GET / HTTP/1.1", b"Host: x", b"Connection: " + tokens)).keeps_alive


def test_an_upgrade_is_passed_over() -> None:
    """The request itself is answered."""
    offered = head(b"GET /x HTTP/1.1", b"Host: x", b"Connection: upgrade", b"Upgrade: h2c")
    assert parse_head(offered).target == b"/x"


def test_a_client_waits_for_leave_to_send() -> None:
    """`Expect: 100-continue` means nothing to version 1.0."""
    lines = b"Host: x", b"Content-Length: 1", b"Expect: 100-Continue"
    assert parse_head(head(b"POST / HTTP/1.1", *lines)).waits
    assert not parse_head(head(b"POST / HTTP/1.0", *lines)).waits


@pytest.mark.parametrize(
    "lines",
    [
        [b"Content-Length: 1", b"Content-Length: 1"],
        [b"Content-Length: 1", b"Content-Length: 2"],
        [b"Content-Length: 1, 1"],
        [b"Content-Length: +1"],
        [b"Content-Length: 0x1"],
        [b"Content-Length: -1"],
        [b"Content-Length:"],
        [b"Content-Length: 99999999999999999999"],
        [b"Content-Length: 1", b"Transfer-Encoding: chunked"],
        [b"Transfer-Encoding: chunked", b"Content-Length: 1"],
        [b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"],
        [b"Content-Length : 1"],
        [b"X-A: b\nContent-Length: 1"],
        [b"X-A: b\r\n Content-Length: 1"],
        [b"X-A: b\x00"],
        [b"X A: b"],
        [b": b"],
        [b"Host: y"],
    ],
)
def test_doubtful_headers_are_400(lines: list[bytes]) -> None:
    """A proxy before us may read them otherwise."""
    assert refused(head(b"POST / HTTP/1.1", b"Host: x", *lines)) == 400


@pytest.mark.parametrize(
    "coding", [b"gzip", b"gzip, chunked", b"chunked, chunked", b"identity", b"xchunked", b"chunked, gzip"]
)
def test_other_codings_are_never_taken_for_a_body(coding: bytes) -> None:
    """Not understood, or not well formed."""
    assert refused(head(b"POST / HTTP/1.1", b"Host: x", b"Transfer-Encoding: " + coding)) in (400, 501)


def test_a_coding_is_nothing_for_version_1_0() -> None:
    """Such a body has no sure end."""
    assert refused(head(b"POST / HTTP/1.0", b"Transfer-Encoding: chunked")) == 400


@pytest.mark.parametrize(
    ("first", "status"),
    [
        (b"GET / HTTP/2.0", 505),
        (b"GET / HTTP/0.9", 505),
        (b"BREW / HTTP/1.1", 501),
        (b"G(T / HTTP/1.1", 400),
        (b"GET /a b HTTP/1.1", 400),
        (b"GET / HTTP/1.1 x", 400),
        (b"GET / http/1.1", 400),
        (b"GET /", 400),
        (b"GET  / HTTP/1.1", 400),
    ],
)
def test_bad_request_lines(first: bytes, status: int) -> None:
    """Each gets the status that says what is wrong."""
    assert refused(head(first, b"Host: x")) == status


def test_a_head_of_bare_line_feeds_is_no_head() -> None:
    """Lines end in CR LF."""
    assert refused(b"GET / HTTP/1.1\nHost: x\n\n") == 400
