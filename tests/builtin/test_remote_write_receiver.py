"""The receiver's choice of where a body is decoded."""

from __future__ import annotations

import threading

import cramjam
import pytest

from tinyobs.builtin import remote_write_receiver
from tinyobs.builtin.remote_write_receiver import DECODE_IN_THREAD_BYTES, Receiver
from tinyobs.errors import WireError
from tinyobs.exposition.remote_write import decoded_bytes
from tinyobs.testing.services import FakeServices


@pytest.mark.parametrize(("size", "in_thread"), [(DECODE_IN_THREAD_BYTES, False), (DECODE_IN_THREAD_BYTES + 1, True)])
async def test_what_is_large_when_unpacked_is_decoded_in_a_thread(monkeypatch, size, in_thread):
    """However well it is compressed."""
    threads = []

    def decode(body, registry):
        threads.append(threading.current_thread() is not threading.main_thread())
        raise WireError("enough")

    monkeypatch.setattr(remote_write_receiver, "decode", decode)
    body = bytes(cramjam.snappy.compress_raw(bytes(size)))
    assert len(body) < DECODE_IN_THREAD_BYTES
    with pytest.raises(WireError, match="enough"):
        await Receiver(FakeServices()).receive(body)
    assert threads == [in_thread]


def test_what_is_no_snappy_block_has_no_size():
    """The decoder then says what is wrong with it."""
    assert decoded_bytes(b"") == 0
    assert decoded_bytes(b"\xff" * 20) == 0
