"""The bodies of all requests share one budget of memory."""

from __future__ import annotations

import threading

import pytest

from tinyobs.web.held_bytes import Held, HeldBytes, HeldStatistics
from tinyobs.web.problem import HttpError


def test_what_fits_is_counted_and_given_back():
    """Twice released is released once; a quarter of all is left for decoding."""
    everything = HeldBytes(100)
    assert everything.room_bytes == 75
    first, second = Held(everything), Held(everything)
    first.add(35)
    second.add(40)
    assert everything.bytes == 75
    first.release()
    first.release()
    assert everything.bytes == 40
    second.give_back(30)
    assert everything.bytes == 10
    second.release()
    assert everything.bytes == 0


def test_a_body_that_was_told_is_counted_once():
    """Before it comes, and not again when it does; what comes beyond that is."""
    everything = HeldBytes(1000)
    held = Held(everything)
    held.expect(100)
    assert everything.bytes == 100
    held.add(60)
    held.add(40)
    assert everything.bytes == 100
    held.add(5)
    assert everything.bytes == 105


def test_what_never_fits_is_no_reason_to_come_again():
    """The answer is another one than where others are in the way."""
    everything = HeldBytes(100)
    held = Held(everything)
    held.add(60)
    with pytest.raises(HttpError, match=r"needs 76 bytes of memory, and .* leaves 75") as caught:
        held.add(16)
    assert (caught.value.status, caught.value.headers) == (413, None)
    assert everything.statistics() == HeldStatistics(60, 1, {"client_gone": 0, "stopping": 0})


def test_what_does_not_fit_is_turned_away():
    """The others keep what they have; the answer says when to try again, and which setting it is."""
    everything = HeldBytes(100)
    first, second = Held(everything), Held(everything)
    first.add(60)
    second.add(10)
    with pytest.raises(HttpError, match="bodies_size_max leaves 75") as caught:
        second.add(6)
    assert (caught.value.status, caught.value.headers) == (503, {"retry-after": "1"})
    assert everything.statistics() == HeldStatistics(70, 1, {"client_gone": 0, "stopping": 0})
    second.release()
    first.add(15)


def test_many_threads():
    """No count is lost."""
    everything = HeldBytes(1 << 40)

    def work():
        for _ in range(2000):
            held = Held(everything)
            held.add(3)
            held.add(4)
            held.release()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert everything.bytes == 0
