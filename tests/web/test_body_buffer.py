"""A body is put together from pieces."""

from __future__ import annotations

import pytest
from starlette.requests import ClientDisconnect, Request

from tinyobs.web.body_buffer import EXPECTED_BYTES_MIN, BodyBuffer
from tinyobs.web.inbox import take_body


@pytest.mark.parametrize("expected", [0, 5, EXPECTED_BYTES_MIN, 2 * EXPECTED_BYTES_MIN])
def test_pieces_in_their_order(expected):
    """Whatever was expected, and however much came of it."""
    body = BodyBuffer(expected)
    for piece in (b"", b"ab", b"", b"cde", b"f"):
        body.add(piece)
    assert body.size == 6
    assert body.take() == b"abcdef"
    assert (body.size, body.take()) == (0, b"")


def test_more_than_was_expected():
    """It grows."""
    body = BodyBuffer(EXPECTED_BYTES_MIN)
    for _ in range(3):
        body.add(bytes(EXPECTED_BYTES_MIN) + b"x")
    assert body.take() == 3 * (bytes(EXPECTED_BYTES_MIN) + b"x")


def test_one_piece_is_not_copied():
    """Most bodies are one."""
    piece = b"all of it"
    body = BodyBuffer(100)
    body.add(piece)
    assert body.take() is piece
    assert BodyBuffer().take() == b""


def request(*messages):
    """A request that gets these messages of ASGI."""
    left = list(messages)

    async def receive():
        return left.pop(0)

    return Request({"type": "http", "headers": []}, receive)


async def test_the_body_of_a_request_is_not_kept_by_it():
    """It is the caller's alone, so that it is gone when it is unpacked."""
    asked = request({"type": "http.request", "body": b"ab", "more_body": True}, {"type": "http.request", "body": b"c"})
    assert await take_body(asked) == b"abc"
    assert not hasattr(asked, "_body")


async def test_a_client_that_goes():
    """Half a body is none."""
    asked = request({"type": "http.request", "body": b"ab", "more_body": True}, {"type": "http.disconnect"})
    with pytest.raises(ClientDisconnect):
        await take_body(asked)
