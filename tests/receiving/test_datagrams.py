"""The listener for datagrams: nothing is lost or mixed up, whoever reads, and it ends when it is told to."""

from __future__ import annotations

import os
import signal
import socket
import threading
from functools import partial
from pathlib import Path

import pytest
import trio

from tinyobs.config.settings import RateSettings
from tinyobs.errors import UsageError
from tinyobs.receiving import datagram_reader, datagrams
from tinyobs.receiving.datagram_reader import ManyAtOnce, OneByOne, serve
from tinyobs.receiving.datagrams import DatagramListener
from tinyobs.testing.agents import until
from tinyobs.testing.check_receiver import ReceiverCase, services_for
from tinyobs.testing.services import FakeServices

CASE = ReceiverCase("/", b"", 0)


class Taken:
    """What a listener gave on."""

    def __init__(self):
        self.lines: list[bytes] = []
        self.sources: set[str] = set()
        self.bunches = 0
        self.changed = trio.Event()
        self.gate: trio.Event | None = None

    async def take(self, lines, source):
        """Keep lines, after the gate was opened."""
        if self.gate is not None:
            await self.gate.wait()
        self.lines += lines.split(b"\n")
        self.sources.add(source)
        self.bunches += 1
        self.changed.set()
        self.changed = trio.Event()

    async def wait(self, count):
        """Return when so many lines came."""
        while len(self.lines) < count:
            await self.changed.wait()


def sender(address):
    """Return a socket that sends to where a listener is bound."""
    path = address.removeprefix("unix:")
    if path != address:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        sock.connect(path)
        return sock
    host, _, port = address.rpartition(":")
    sock = socket.socket(socket.AF_INET6 if "[" in host else socket.AF_INET, socket.SOCK_DGRAM)
    sock.connect((host.strip("[]"), int(port)))
    return sock


def listener(address, taken, services=None, **options):
    """Return a listener for `taken`."""
    reception = (services or FakeServices()).reception("lines")
    return DatagramListener(address, reception, taken.take, receive_buffer_bytes=1 << 22, **options)


def is_nearly_read(listening, count):
    """Whether what waits in the kernel, of so many small datagrams, fits into any buffer."""
    return count - listening.statistics().datagrams_total < 200


@pytest.mark.parametrize("in_process", [False, True])
@pytest.mark.parametrize("where", ["127.0.0.1:0", "[::1]:0", "unix"])
async def test_nothing_is_lost_or_out_of_order(tmp_path, where, in_process):
    """All datagrams of a sender come in their order, with its address, and are counted."""
    address = f"unix:{tmp_path}/s" if where == "unix" else where
    taken, services = Taken(), FakeServices()
    listening = listener(address, taken, services, in_process=in_process)
    sent = [b"a%d\nb" % i for i in range(1500)]
    async with trio.open_nursery() as nursery:
        bound = await nursery.start(listening.run)
        assert listening.is_in_process is in_process
        with sender(bound) as sock:
            for i, datagram in enumerate(sent):
                await until(partial(is_nearly_read, listening, i))
                await trio.to_thread.run_sync(sock.send, datagram)
        await taken.wait(2 * len(sent))
        nursery.cancel_scope.cancel()
    assert taken.lines == b"\n".join(sent).split(b"\n")
    assert taken.sources == {{"unix": "unix", "[::1]:0": "::1"}.get(where, "127.0.0.1")}
    statistics = listening.statistics()
    assert (statistics.datagrams_total, statistics.waiting_bytes, statistics.kernel_dropped_total) == (1500, 0, 0)
    assert services.receptions.statistics().requests_total == {"lines": 1500}
    assert not (tmp_path / "s").exists()


async def test_sources_are_told_apart():
    """Bunches have the datagrams of one address each; one of IPv4 is written so on a socket for both kinds."""
    taken = Taken()
    listening = listener(":0", taken, in_process=False)
    async with trio.open_nursery() as nursery:
        bound = await nursery.start(listening.run)
        port = int(bound.rpartition(":")[2])
        with sender(f"127.0.0.1:{port}") as four, sender(f"[::1]:{port}") as six:
            for i in range(100):
                four.send(b"four %d" % i)
                six.send(b"six %d" % i)
        await taken.wait(200)
        nursery.cancel_scope.cancel()
    assert taken.sources == {"127.0.0.1", "::1"}
    assert [line for line in taken.lines if b"four" in line] == [b"four %d" % i for i in range(100)]


@pytest.mark.parametrize("kind", [ManyAtOnce, OneByOne])
def test_both_ways_to_read_agree(kind):
    """Long and empty datagrams come whole, with and without the call that takes many."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        with sender(f"127.0.0.1:{sock.getsockname()[1]}") as out:
            sent = [b"x" * 60_000, b"", b"y" * 1472]
            for datagram in sent:
                out.send(datagram)
        came = {}
        assert kind(sock).read(came) == (3, 61_472)
    ((source, gathered),) = came.items()
    assert (source, gathered.count) == (bytes([127, 0, 0, 1]), 3)
    assert b"\n".join(gathered.pieces) == b"\n".join(sent)


@pytest.mark.parametrize("kind", [ManyAtOnce, OneByOne])
def test_a_line_that_is_cut_is_left_out(tmp_path, kind):
    """Of a Unix datagram that is longer than any may be, the whole lines stay."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "s"))
        with sender(f"unix:{tmp_path}/s") as out:
            out.send(b"good\n" + b"x" * 70_000)
        came = {}
        kind(sock).read(came)
    assert came[b""].pieces == [b"good\n"]


async def test_what_waits_is_bounded():
    """While nothing can be dealt with, datagrams beyond the bound are dropped and counted; those before it stay."""
    taken, services = Taken(), FakeServices()
    taken.gate = trio.Event()
    listening = listener("127.0.0.1:0", taken, services, waiting_bytes_max=10_000, in_process=False)
    async with trio.open_nursery() as nursery:
        bound = await nursery.start(listening.run)
        with sender(bound) as sock:
            sock.send(b"first")
            await until(lambda: listening.statistics().datagrams_total == 1)

            def one_more():
                sock.send(b"x" * 999)  # and then the reader gets its turn, which a loop would keep from it
                return listening.statistics().datagrams_dropped_total > 0

            await until(one_more)
        taken.gate.set()

        def all_taken():
            counts = listening.statistics()
            return len(taken.lines) + counts.datagrams_dropped_total == counts.datagrams_total

        await until(all_taken)
        nursery.cancel_scope.cancel()
    statistics = listening.statistics()
    refused = services.receptions.statistics().refused_total
    assert refused == {("lines", "queue_full"): statistics.datagrams_dropped_total}
    assert len(taken.lines) + statistics.datagrams_dropped_total == statistics.datagrams_total
    assert taken.lines[0] == b"first"
    assert statistics.waiting_bytes == 0


async def test_a_source_beyond_its_rate_is_refused():
    """The limits on rates hold; what they refuse is counted."""
    services = services_for(CASE, limits={"rates": RateSettings(bytes_per_second=0.001, burst_ms=0)})
    taken = Taken()
    listening = listener("127.0.0.1:0", taken, services, in_process=False)
    async with trio.open_nursery() as nursery:
        bound = await nursery.start(listening.run)
        with sender(bound) as sock:
            sock.send(b"good")
            await taken.wait(1)
            while not services.receptions.statistics().refused_total:
                sock.send(b"more")
                await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert taken.lines == [b"good"]


async def test_a_reader_that_dies_is_replaced():
    """When the process that reads is killed a thread goes on with the same socket."""
    taken = Taken()
    listening = listener("127.0.0.1:0", taken, in_process=True)
    async with trio.open_nursery() as nursery:
        bound = await nursery.start(listening.run)
        with sender(bound) as sock:
            sock.send(b"before")
            await taken.wait(1)
            child = listening.process_id
            os.kill(child, signal.SIGKILL)
            await until(lambda: not listening.is_in_process)
            sock.send(b"after")
            await taken.wait(2)
        nursery.cancel_scope.cancel()
    assert taken.lines == [b"before", b"after"]


async def test_a_small_buffer_is_read_by_a_process(monkeypatch):
    """What decides is the buffer that the kernel grants."""
    for granted_min, wanted in ((1, False), (1 << 40, True)):
        monkeypatch.setattr(datagrams, "THREAD_BUFFER_BYTES_MIN", granted_min)
        listening = listener("127.0.0.1:0", Taken())
        async with trio.open_nursery() as nursery:
            await nursery.start(listening.run)
            assert listening.is_in_process is wanted
            assert listening.statistics().kernel_buffer_bytes > 0
            nursery.cancel_scope.cancel()


async def test_drops_of_the_kernel_are_told():
    """What does not fit into the kernel's buffer is counted there, and the number stays when the listener ends."""
    listening = DatagramListener(
        "127.0.0.1:0", FakeServices().reception("lines"), Taken().take, receive_buffer_bytes=4096, in_process=True
    )
    async with trio.open_nursery() as nursery:
        bound = await nursery.start(listening.run)
        with sender(bound) as sock:
            while not listening.statistics().kernel_dropped_total:
                for _ in range(100):
                    sock.send(b"x" * 1000)
        nursery.cancel_scope.cancel()
    assert listening.statistics().kernel_dropped_total > 0


def test_the_reader_ends_with_its_reader():
    """Closing the other end ends it, also while nothing comes."""
    ours, theirs = socket.socketpair()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, theirs:
        sock.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=serve, args=(sock, theirs, 0.001, 1000))
        thread.start()
        ours.close()
        thread.join(30)
        assert not thread.is_alive()


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.1:99999", "unix:"])
def test_what_is_no_address_is_refused(address):
    """The message says what an address looks like."""
    with pytest.raises(UsageError, match="listen address"):
        listener(address, Taken())


async def test_an_address_that_is_taken(tmp_path):
    """Neither a port nor a path that somebody listens on is taken from them; a path that is left over is."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as u,
    ):
        other.bind(("127.0.0.1", 0))
        u.bind(str(tmp_path / "s"))
        for address in (f"127.0.0.1:{other.getsockname()[1]}", f"unix:{tmp_path}/s"):
            with pytest.raises(UsageError, match="cannot listen on"):
                await listener(address, Taken()).run()
    async with trio.open_nursery() as nursery:
        await nursery.start(listener(f"unix:{tmp_path}/s", Taken()).run)
        nursery.cancel_scope.cancel()


def test_the_reader_imports_nothing_of_ours():
    """It starts quickly and alone: only the standard library."""
    source = Path(datagram_reader.__file__).read_text()
    assert "from ." not in source
    assert "tinyobs" not in "".join(line for line in source.split("\n") if line.startswith(("import", "from")))
