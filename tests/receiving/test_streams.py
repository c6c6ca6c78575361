"""A listener for lines over TCP gives on whole lines, loses none that can be read, and keeps its bounds."""

from __future__ import annotations

import random

import pytest
import trio

from tinyobs.config.settings import RateSettings, ReceiverSettings
from tinyobs.errors import LimitExceeded, Unavailable, UsageError
from tinyobs.receiving.streams import (
    ANSWER_SECONDS,
    LINES_IN_FRAMES,
    RETRY_SECONDS,
    LastAnswer,
    StreamListener,
    without_long_lines,
)
from tinyobs.testing.agents import until
from tinyobs.testing.check_receiver import ReceiverCase, services_for


class Taker:
    """Keeps what it is given; `trouble` is raised first."""

    def __init__(self) -> None:
        self.taken = b""
        self.trouble: list[Exception] = []
        self.answer = b""
        self.sources = set()

    async def __call__(self, lines, source):
        """Take lines."""
        await trio.lowlevel.checkpoint()
        if self.trouble:
            raise self.trouble.pop()
        self.taken += lines
        self.sources.add(source)
        return self.answer


@pytest.fixture
def services():
    """Services as receivers have them."""
    return services_for(ReceiverCase("/", b"", 0))


async def listen(nursery, services, take, **settings):
    """Start a listener on a free port; return it and how to connect."""
    listener = StreamListener(["127.0.0.1:0"], services.reception("lines"), take, ReceiverSettings(**settings))
    bound = await nursery.start(listener.run)
    port = int(bound[0].rpartition(":")[2])

    async def connect():
        return await trio.open_tcp_stream("127.0.0.1", port)

    return listener, connect


def refused(services):
    """Reason -> count."""
    return {reason: n for (_, reason), n in services.receptions.statistics().refused_total.items()}


async def closed(listener):
    """Wait until all connections have ended."""
    await until(lambda: not listener.statistics().connections)


async def test_lines_in_pieces(nursery, services):
    """A line may come in any number of pieces; the half line at the end is dropped and counted."""
    take = Taker()
    listener, connect = await listen(nursery, services, take)
    stream = await connect()
    for piece in (b"a 1\nb", b" 2\nc 3", b"\n", b"d 4"):
        await stream.send_all(piece)
        await trio.testing.wait_all_tasks_blocked(0.01)
    await stream.aclose()
    await closed(listener)
    assert take.taken == b"a 1\nb 2\nc 3\n"
    assert take.sources == {"127.0.0.1"}
    assert refused(services) == {"cut_line": 1}


async def test_a_line_that_is_too_long(nursery, services):
    """It is passed over wherever it ends; the lines around it stay."""
    take = Taker()
    listener, connect = await listen(nursery, services, take, line_size_max_bytes=1024)
    stream = await connect()
    await stream.send_all(b"before\n")
    for _ in range(40):
        await stream.send_all(b"x" * 1000)
        await trio.testing.wait_all_tasks_blocked(0.001)
    await stream.send_all(b"end of it\nafter\n")
    await stream.aclose()
    await closed(listener)
    assert take.taken.startswith(b"before\n")
    assert take.taken.endswith(b"after\n")
    assert len(take.taken) < 20_000
    assert refused(services)["line_too_long"] >= 1


async def test_answers_are_sent(nursery, services):
    """Protocols that people type into answer."""
    take = Taker()
    take.answer = b"hello\n"
    _, connect = await listen(nursery, services, take)
    async with await connect() as stream:
        await stream.send_all(b"version\n")
        assert await stream.receive_some() == b"hello\n"


@pytest.mark.parametrize("size", [4, 5, 6, 7])
def test_long_lines_among_whole_ones(size):
    """They are left out wherever they stand, also where everything comes at one time."""
    chooser = random.Random(size)
    for _ in range(300):
        parts = [
            b"x" * chooser.choice([0, 1, size - 1, size, size + 1, 3 * size]) + b"\n"
            for _ in range(chooser.randrange(8))
        ]
        kept = [part for part in parts if len(part) <= size + 1]
        assert without_long_lines(b"".join(parts), size) == (b"".join(kept), len(parts) - len(kept))


async def test_the_last_answer(nursery, services):
    """It is sent, and the connection is closed; what else came is not read."""
    take = Taker()
    take.answer = LastAnswer(b"bye\n")
    _, connect = await listen(nursery, services, take)
    async with await connect() as stream:
        await stream.send_all(b"exit\n")
        assert [await stream.receive_some(), await stream.receive_some()] == [b"bye\n", b""]


async def test_a_sender_that_does_not_read(autojump_clock, services):
    """Its lines are taken all the same; it is told nothing more."""
    take = Taker()
    take.answer = b"no\n"
    listener = StreamListener([], services.reception("lines"), take, ReceiverSettings())
    pieces = [b"a\n", b"b\n", b"c\n", b""]

    class Stream:
        sent = 0

        async def receive_some(self, _):
            await trio.lowlevel.checkpoint()
            return pieces.pop(0)

        async def send_all(self, answer):
            self.sent += 1
            await trio.sleep_forever()

    stream, began = Stream(), trio.current_time()
    await listener._read(stream, "x")
    assert take.taken == b"a\nb\nc\n"
    assert (stream.sent, trio.current_time() - began) == (1, ANSWER_SECONDS)


def frame(lines):
    """Return lines as a frame."""
    return len(lines).to_bytes(4, "little") + lines


async def framed(nursery, services, pieces, **settings):
    """Return what is taken of the pieces of one connection that may have frames."""
    take = Taker()
    listener = StreamListener(
        ["127.0.0.1:0"], services.reception("lines"), take, ReceiverSettings(**settings), frames=LINES_IN_FRAMES
    )
    bound = await nursery.start(listener.run)
    async with await trio.open_tcp_stream("127.0.0.1", int(bound[0].rpartition(":")[2])) as stream:
        for piece in pieces:
            await stream.send_all(piece)
            await trio.testing.wait_all_tasks_blocked(0.01)
        await stream.send_eof()
        assert await stream.receive_some() == b""
    return take.taken


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
async def test_frames(nursery, services, size):
    """Lines come in frames, cut anywhere; the last line of one may lack its line break.  What is cut at the end is counted."""
    data = frame(b"a 1\nb 2\n") + frame(b"c 3") + frame(b"") + frame(b"d 4") + frame(b"half")[:-1]
    taken = await framed(nursery, services, [data[at : at + size] for at in range(0, len(data), size)])
    assert taken.split() == [b"a", b"1", b"b", b"2", b"c", b"3", b"d", b"4"]
    assert b"3\n" in taken
    assert refused(services) == {"cut_line": 1}


@pytest.mark.parametrize("pieces", [[b"a 1\nb", b" 2\n"], [b"a", b" 1\nb 2\n"], [b"a 1\n", b"b 2\n"]])
async def test_lines_where_frames_may_be(nursery, services, pieces):
    """What begins as text is read as lines."""
    assert await framed(nursery, services, pieces) == b"a 1\nb 2\n"
    assert refused(services) == {}


async def test_a_frame_that_is_too_long(nursery, services):
    """The connection ends, since where the next one begins cannot be known."""
    take = Taker()
    listener = StreamListener(
        ["127.0.0.1:0"],
        services.reception("lines"),
        take,
        ReceiverSettings(line_size_max_bytes=1024),
        frames=LINES_IN_FRAMES,
    )
    bound = await nursery.start(listener.run)
    async with await trio.open_tcp_stream("127.0.0.1", int(bound[0].rpartition(":")[2])) as stream:
        await stream.send_all(frame(b"a 1\n") + (1025).to_bytes(4, "little"))
        assert await stream.receive_some() == b""
    assert take.taken.split() == [b"a", b"1"]
    assert refused(services) == {"line_too_long": 1}


async def test_a_storage_that_cannot_take_lines(autojump_clock, nursery, services):
    """They are tried again, and nothing is read meanwhile."""
    take = Taker()
    take.trouble = [Unavailable("full"), Unavailable("full")]
    reception = services.reception("lines")
    listener = StreamListener([], reception, take, ReceiverSettings())
    began = trio.current_time()
    assert await listener._give(b"a 1\n", "x") == b""
    assert trio.current_time() - began == pytest.approx(2 * RETRY_SECONDS)
    assert take.taken == b"a 1\n"
    assert services.receptions.statistics().requests_total == {"lines": 1}


async def test_a_source_that_sends_too_fast_has_to_wait(autojump_clock):
    """Nothing of it is lost."""
    rates = RateSettings(requests_per_second=0.5, burst_ms=0)
    services = services_for(ReceiverCase("/", b"", 0), limits={"rates": rates})
    take = Taker()
    listener = StreamListener([], services.reception("lines"), take, ReceiverSettings())
    began = trio.current_time()
    for line in (b"a\n", b"b\n", b"c\n"):
        await listener._give(line, "x")
    assert take.taken == b"a\nb\nc\n"
    assert trio.current_time() - began >= 4


async def test_too_many_connections(nursery, services):
    """Those beyond the limit are closed at once."""
    listener, connect = await listen(nursery, services, Taker(), connections_max=1)
    async with await connect() as first:
        await first.send_all(b"a\n")
        async with await connect() as second:
            assert await second.receive_some() == b""
    assert listener.statistics().connections_refused_total == 1


async def test_lines_that_are_refused_together(nursery, services):
    """The connection goes on: what comes next may be good."""
    take = Taker()
    take.trouble = [LimitExceeded("series_per_request_max", "3 series in one request (series_per_request_max 2)")]
    _, connect = await listen(nursery, services, take)
    async with await connect() as stream:
        await stream.send_all(b"a\n")
        await until(lambda: not take.trouble)
        await stream.send_all(b"b\n")
        await stream.send_eof()
        assert await stream.receive_some() == b""
    assert take.taken == b"b\n"


async def test_code_that_fails_ends_its_connection_only(nursery, services):
    """The listener goes on."""
    take = Taker()
    take.trouble = [ZeroDivisionError()]
    _, connect = await listen(nursery, services, take)
    async with await connect() as first, await connect() as second:
        await first.send_all(b"a\n")
        assert await first.receive_some() == b""
        await second.send_all(b"b\n")
        await second.send_eof()
        assert await second.receive_some() == b""
    assert take.taken == b"b\n"


async def test_silence(services, autojump_clock):
    """A connection that says nothing for long is closed."""
    listener = StreamListener([], services.reception("lines"), Taker(), ReceiverSettings(idle_timeout_ms=1000))
    ours, theirs = trio.testing.memory_stream_pair()
    theirs.socket = None
    began = trio.current_time()
    await listener._read(theirs, "x")
    assert trio.current_time() - began == pytest.approx(1)
    await ours.aclose()


async def test_an_address_that_is_taken(nursery, services):
    """It is named."""
    listener, _ = await listen(nursery, services, Taker())
    address = listener.bound[0].removeprefix("tcp://")
    other = StreamListener([address], services.reception("lines"), Taker(), ReceiverSettings())
    with pytest.raises(UsageError, match=f"cannot listen on {address}"):
        await other.run()
