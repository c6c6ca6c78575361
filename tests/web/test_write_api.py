"""`/write`: what a sender is told."""

from __future__ import annotations

from typing import Any

import pytest

from tinyobs.errors import DiskFullError, LimitExceeded, ReadOnlyError, Unavailable, WireError
from tinyobs.web.options import WebOptions
from tinyobs.web.services import WriteOutcome

HEADERS = {"content-type": "application/x-protobuf", "content-encoding": "snappy"}


def storing(outcome: WriteOutcome | Exception, bodies: list[bytes] | None = None) -> Any:
    """Return a receiver with one outcome."""

    async def write(body: bytes) -> WriteOutcome:
        if bodies is not None:
            bodies.append(body)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return write


async def test_a_stored_request_is_204(make_client: Any) -> None:
    """The body arrives unchanged and the answer has none."""
    bodies: list[bytes] = []
    client = make_client(remote_write=storing(WriteOutcome(3), bodies))
    answer = await client.post("/api/v1/write", content=b"\x01\x02", headers=HEADERS)
    assert (answer.status_code, answer.content) == (204, b"")
    assert bodies == [b"\x01\x02"]


async def test_refused_samples_are_400_with_reasons(make_client: Any) -> None:
    """The good samples are stored; the sender learns about the others and does not retry."""
    client = make_client(remote_write=storing(WriteOutcome(3, ["out of order sample: up{}", "too old sample: x{}"])))
    answer = await client.post("/api/v1/write", content=b"", headers=HEADERS)
    assert (answer.status_code, answer.text) == (400, "out of order sample: up{}\ntoo old sample: x{}\n")


@pytest.mark.parametrize(
    ("error", "status", "retried"),
    [
        (WireError("cut varint", 7), 400, False),
        (LimitExceeded("remote_write.body_bytes_max", "too large decompressed"), 413, False),
        (Unavailable("the queue is full"), 503, True),
        (DiskFullError("no space left"), 507, True),
        (ReadOnlyError("fsync failed"), 503, True),
    ],
)
async def test_failures_tell_the_sender_whether_to_retry(
    make_client: Any, error: Exception, status: int, retried: bool
) -> None:
    """4xx is final for a sender, 5xx is tried again."""
    answer = await make_client(remote_write=storing(error)).post("/api/v1/write", content=b"x", headers=HEADERS)
    assert (answer.status_code, answer.text) == (status, f"{error}\n")
    assert ("retry-after" in answer.headers) is retried


@pytest.mark.parametrize(
    ("kind", "encoding", "message"),
    [
        (
            "application/json",
            "snappy",
            "expected application/x-protobuf as the first (media) part, got application/json content-type",
        ),
        (
            "application/x-protobuf;proto=io.prometheus.write.v2.Request",
            "snappy",
            "got application/x-protobuf;proto=io.prometheus.write.v2.Request content type; unknown remote write "
            "protobuf message io.prometheus.write.v2.Request, supported: prometheus.WriteRequest",
        ),
        (
            "application/x-protobuf",
            "gzip",
            "gzip encoding (compression) is not accepted by this server; only snappy is acceptable",
        ),
    ],
)
async def test_other_content_is_415(make_client: Any, kind: str, encoding: str, message: str) -> None:
    """A sender of another version or encoding can fall back."""
    headers = {"content-type": kind, "content-encoding": encoding}
    client = make_client(remote_write=storing(WriteOutcome(1)))
    answer = await client.post("/api/v1/write", content=b"x", headers=headers)
    assert (answer.status_code, answer.text) == (415, message + "\n")


async def test_the_named_message_of_version_1_is_accepted(make_client: Any) -> None:
    """`proto=prometheus.WriteRequest` says the same as no parameter."""
    headers = {**HEADERS, "content-type": "application/x-protobuf;proto=prometheus.WriteRequest"}
    client = make_client(remote_write=storing(WriteOutcome(1)))
    assert (await client.post("/api/v1/write", content=b"x", headers=headers)).status_code == 204


async def test_without_a_receiver_it_is_404(make_client: Any) -> None:
    """The text says how to enable it."""
    answer = await make_client().post("/api/v1/write", content=b"x", headers=HEADERS)
    assert answer.status_code == 404
    assert answer.text == "remote write receiver needs to be enabled with --web.enable-remote-write-receiver\n"


async def test_a_large_body_is_413_before_it_is_decoded(make_client: Any) -> None:
    """The limit counts bytes as sent."""
    bodies: list[bytes] = []
    client = make_client(WebOptions(body_bytes_max=10), remote_write=storing(WriteOutcome(1), bodies))
    answer = await client.post("/api/v1/write", content=bytes(11), headers=HEADERS)
    assert (answer.status_code, answer.text) == (413, "the body is larger than 10 bytes\n")
    assert bodies == []
