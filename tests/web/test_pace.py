"""How much of large bodies the event loop deals with in one pass."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from tinyobs.web.pace import READS_MAX, Pace


class Flood:
    """What a TLS stream is to a server: each read gives something at once."""

    async def receive_some(self, most: int) -> bytes:
        """Return as much as is asked for."""
        await trio.lowlevel.checkpoint()
        return bytes(most)


class Passes(trio.abc.Instrument):
    """Counts what is dealt with in each pass of the event loop."""

    def __init__(self) -> None:
        self.counts = [0]

    def before_io_wait(self, timeout: float) -> None:
        """A pass is over."""
        self.counts.append(0)


@pytest.mark.parametrize("connections", [1, 3 * READS_MAX])
async def test_few_large_bodies_are_dealt_with_in_a_pass_over_tls(connections: int) -> None:
    """However many send; each has its turn."""
    pace, passes = Pace(), Passes()
    read = [0] * connections
    trio.lowlevel.add_instrument(passes)

    async def serve(number: int) -> None:
        while min(read) < 3:
            assert len(await pace.receive(Flood(), 100)) == 100
            passes.counts[-1] += 1
            read[number] += 1

    try:
        async with trio.open_nursery() as nursery:
            for number in range(connections):
                nursery.start_soon(serve, number)
    finally:
        trio.lowlevel.remove_instrument(passes)
    assert max(passes.counts) == min(connections, READS_MAX)
    assert min(read) == 3
    assert max(read) <= 5, "nobody is far ahead"
