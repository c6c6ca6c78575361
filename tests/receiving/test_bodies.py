"""Bodies are unpacked as their encoding says, within limits, and damage is told."""

from __future__ import annotations

import gzip
import random
import zlib

import cramjam
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import Request

from tinyobs.errors import LimitExceeded, TinyObsError, WireError
from tinyobs.receiving import bodies, threads
from tinyobs.receiving.bodies import AT_ONCE_BYTES_MAX, THREAD_BYTES_MIN, read_body
from tinyobs.web.held_bytes import HELD, Held, HeldBytes
from tinyobs.web.problem import HttpError

TEXT = b"a metric 1\n" * 100
PACKED = {
    "gzip": gzip.compress(TEXT, mtime=0),
    "x-gzip": gzip.compress(TEXT, mtime=0),
    "deflate": zlib.compress(TEXT),
    "zstd": zstandard.compress(TEXT),
    "snappy": bytes(cramjam.snappy.compress_raw(TEXT)),
}


def request(body, encoding="", held=None):
    """A request with a body."""
    scope = {"type": "http", "headers": [(b"content-encoding", encoding.encode())] if encoding else []}
    if held is not None:
        scope[HELD] = held
    left = [body]

    async def receive():
        return {"type": "http.request", "body": left.pop(), "more_body": False}

    return Request(scope, receive)


@pytest.mark.parametrize("encoding", sorted(PACKED))
async def test_each_encoding_is_unpacked(encoding):
    """Names of encodings know no case."""
    assert await read_body(request(PACKED[encoding], encoding.upper()), 1 << 20) == TEXT


async def test_no_encoding_changes_nothing():
    """Neither does the one that says so."""
    assert await read_body(request(TEXT), 1 << 20) == TEXT
    assert await read_body(request(TEXT, "identity"), 1 << 20) == TEXT
    assert await read_body(request(b"", "gzip"), 1 << 20) == b""


async def test_encodings_are_undone_from_the_last():
    """They are listed in the order in which they were applied (RFC 9110, section 8.4)."""
    twice = zstandard.compress(PACKED["gzip"])
    assert await read_body(request(twice, "gzip, zstd"), 1 << 20) == TEXT


async def test_bare_deflate_is_understood():
    """Some clients leave out the head and the checksum of zlib."""
    bare = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    assert await read_body(request(bare.compress(TEXT) + bare.flush(), "deflate"), 1 << 20) == TEXT


async def test_one_stream_after_another():
    """Files of gzip, and frames of zstd, may be joined."""
    assert await read_body(request(PACKED["gzip"] * 2, "gzip"), 1 << 20) == 2 * TEXT
    assert await read_body(request(PACKED["zstd"] * 2, "zstd"), 1 << 20) == 2 * TEXT


@pytest.mark.parametrize("encoding", sorted(PACKED))
async def test_a_cut_body_is_an_error(encoding):
    """Whatever could be unpacked of it is not taken for the whole."""
    with pytest.raises(WireError):
        await read_body(request(PACKED[encoding][:-5], encoding), 1 << 20)


@pytest.mark.parametrize("encoding", sorted(PACKED))
async def test_a_bomb_is_stopped(encoding):
    """What unpacks to more than it may is refused, before it is all there."""
    pack = {
        "gzip": lambda b: gzip.compress(b, mtime=0),
        "x-gzip": lambda b: gzip.compress(b, mtime=0),
        "deflate": zlib.compress,
        "zstd": zstandard.compress,
        "snappy": lambda b: bytes(cramjam.snappy.compress_raw(b)),
    }[encoding]
    with pytest.raises(LimitExceeded, match="decoded_size_max"):
        await read_body(request(pack(bytes(64 << 20)), encoding), 1 << 20)


async def test_a_plain_body_has_the_same_limit():
    """The setting means the body as it is read."""
    with pytest.raises(LimitExceeded):
        await read_body(request(bytes(1025)), 1024)


async def test_an_unknown_encoding():
    """The answer says which are known."""
    with pytest.raises(HttpError, match="gzip, deflate, zstd, snappy") as caught:
        await read_body(request(TEXT, "br"), 1 << 20)
    assert caught.value.status == 415


async def test_a_window_of_zstd_that_is_too_large():
    """A frame cannot ask for more memory than decoders should have."""
    parameters = zstandard.ZstdCompressionParameters.from_level(1, window_log=27)
    body = zstandard.ZstdCompressor(compression_params=parameters).compressobj().compress(bytes(100))
    big = zstandard.ZstdCompressor(compression_params=parameters)
    stream = big.compressobj()
    body = stream.compress(random.Random(1).randbytes(1 << 20)) + stream.flush()
    with pytest.raises(WireError):
        await read_body(request(body, "zstd"), 1 << 30)


async def test_what_is_unpacked_is_held():
    """It counts with the bodies of all requests until the request is done."""
    everything = HeldBytes(10_000)
    held = Held(everything)
    held.add(len(PACKED["gzip"]))  # as it arrived; what is unpacked takes its place
    await read_body(request(PACKED["gzip"], "gzip", held), 1 << 20)
    assert everything.bytes == len(TEXT)
    held.release()
    assert everything.bytes == 0


async def test_no_room_for_what_would_be_unpacked():
    """The request is turned away, to come again."""
    everything = HeldBytes(2 * len(TEXT))
    Held(everything).add(len(TEXT))
    with pytest.raises(HttpError) as caught:
        await read_body(request(PACKED["gzip"], "gzip", Held(everything)), 1 << 20)
    assert caught.value.status == 503
    assert caught.value.headers["retry-after"]
    assert everything.turned_away == 1


async def test_large_bodies_are_unpacked_elsewhere(monkeypatch):
    """The event loop does not wait for them."""
    used = []
    run_sync = threads.trio.to_thread.run_sync

    async def noted(*arguments, **more):
        used.append(1)
        return await run_sync(*arguments, **more)

    monkeypatch.setattr(threads.trio.to_thread, "run_sync", noted)
    large = random.Random(2).randbytes(THREAD_BYTES_MIN)
    assert await read_body(request(gzip.compress(large, mtime=0), "gzip"), 1 << 20) == large
    assert used


@pytest.mark.parametrize("encoding", ["gzip", "zstd", "snappy"])
async def test_small_bodies_that_become_large_are_unpacked_elsewhere(encoding, monkeypatch):
    """What was counted for them until then is given back; those that stay small are unpacked where they are."""
    used = []
    monkeypatch.setattr(bodies, "in_thread", lambda work: used.append(1) or threads.in_thread(work))
    pack = {"gzip": gzip.compress, "zstd": zstandard.compress, "snappy": cramjam.snappy.compress_raw}[encoding]
    everything = HeldBytes(64 << 20)
    for size, is_elsewhere in ((AT_ONCE_BYTES_MAX, False), (AT_ONCE_BYTES_MAX + 1, True), (3 << 20, True)):
        used.clear()
        body, held = bytes(size), Held(everything)
        packed = bytes(pack(body))
        held.add(len(packed))  # as when it arrives
        assert await read_body(request(packed, encoding, held), 4 << 20) == body
        assert bool(used) is is_elsewhere
        assert everything.bytes == size
        held.release()


@given(st.sampled_from(sorted(PACKED)), st.binary(max_size=200), st.integers(0, 200))
@settings(derandomize=True, max_examples=300, deadline=None)
def test_damage_is_an_error_or_other_bytes(encoding, noise, at):
    """Nothing else happens, whatever arrives."""
    import trio

    body = PACKED[encoding][:at] + noise

    async def read():
        try:
            return await read_body(request(body, encoding), 1 << 20)
        except (TinyObsError, HttpError):
            return b""

    assert len(trio.run(read)) <= 1 << 20
