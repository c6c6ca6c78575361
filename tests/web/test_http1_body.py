"""Bodies of requests: where they end, cut into any pieces."""

from __future__ import annotations

import pytest

from tinyobs.web.http1_body import LINE_BYTES_MAX, TRAILER_BYTES_MAX, Body, BodyError, ChunkedBody, LengthBody

NEXT = b"GET / HTTP/1.1\r\n"


def received_by(body: Body, data: bytes, size: int) -> tuple[bytes, bytes]:
    """Give data in pieces of a size until the body is complete; return (the body, what was left)."""
    received, found = bytearray(), b""
    for at in range(0, len(data), size):
        received += data[at : at + size]
        if not body.complete:
            found += body.take(received)
    return found, bytes(received)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_a_body_of_known_length_leaves_the_next_request(size: int) -> None:
    """Not a byte too many."""
    body = LengthBody(5)
    assert received_by(body, b"hello" + NEXT, size) == (b"hello", NEXT)
    assert body.complete


def test_a_body_of_no_length_is_complete_at_once() -> None:
    """There is nothing to wait for."""
    assert LengthBody(0).complete


@pytest.mark.parametrize("size", [1, 2, 3, 5, 1000])
@pytest.mark.parametrize(
    "chunks",
    [
        b"5\r\nhello\r\n0\r\n\r\n",
        b"3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
        b"00005;name=value \r\nhello\r\n0;last\r\n\r\n",
        b"5 \r\nhello\r\n0\r\nTrailer: x\r\nMore: y\r\n\r\n",
    ],
)
def test_chunks_leave_the_next_request(chunks: bytes, size: int) -> None:
    """Extensions and trailers are passed over."""
    body = ChunkedBody()
    assert received_by(body, chunks + NEXT, size) == (b"hello", NEXT)
    assert body.complete


@pytest.mark.parametrize(
    "chunks",
    [
        b"zz\r\n",
        b"\r\n",
        b"-5\r\nhello",
        b"0x5\r\nhello",
        b"+5\r\nhello",
        b" 5\r\nhello",
        b"5\nhello\n",
        b"5;a\nb\r\nhello",
        b"5\r\nhello!\r\n0\r\n\r\n",
        b"5\r\nhello\n0\r\n\r\n",
        b"5\r\nhello\rx",
        b"1234567890123456\r\n",
        b"5;" + b"x" * LINE_BYTES_MAX,
        b"0\r\n" + b"a: b\r\n" * TRAILER_BYTES_MAX,
        b"0\r\n" + b"a" * (TRAILER_BYTES_MAX + 1),
    ],
)
def test_what_is_no_chunk_is_refused(chunks: bytes) -> None:
    """Another reader might find the end elsewhere."""
    with pytest.raises(BodyError):
        received_by(ChunkedBody(), chunks, 1 << 20)
