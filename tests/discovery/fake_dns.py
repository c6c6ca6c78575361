"""A DNS server on loopback that answers from a zone, over UDP and TCP on one port."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
import trio
from attrs import define, field


@define
class FakeDns:
    """What it answers, and what it was asked."""

    zone: dict[str, list[str]] = field(factory=dict)
    """Absolute name -> records as in a zone file without the name: `300 IN A 10.0.0.1`."""
    rcode: dns.rcode.Rcode = dns.rcode.NOERROR
    """Another one is the answer to everything."""
    silent: bool = False
    """Do not answer."""
    udp_bytes_max: int = 1232
    asked: list[tuple[str, str, str]] = field(factory=list)
    """(udp or tcp, name, type) of each query."""
    port: int = 0

    def answer(self, wire: bytes, transport: str) -> bytes | None:
        """Return the answer to a query, in the format of the wire."""
        query = dns.message.from_wire(wire)
        (question,) = query.question
        self.asked.append((transport, question.name.to_text(), dns.rdatatype.to_text(question.rdtype)))
        if self.silent:
            return None
        answer = dns.message.make_response(query)
        answer.set_rcode(self.rcode)
        if self.rcode == dns.rcode.NOERROR:
            self._fill(answer, question.name, question.rdtype)
        data = answer.to_wire(max_size=65535)
        if transport == "udp" and len(data) > self.udp_bytes_max:
            cut = dns.message.make_response(query)
            cut.flags |= dns.flags.TC
            data = cut.to_wire()
        return data

    def _fill(self, answer: dns.message.Message, name: dns.name.Name, type_: dns.rdatatype.RdataType) -> None:
        """Put the records of a name into an answer, and those of the name that it is an alias of."""
        lines = self.zone.get(name.to_text())
        if lines is None:
            answer.set_rcode(dns.rcode.NXDOMAIN)
            return
        for line in lines:
            ttl, class_, kind, text = line.split(maxsplit=3)
            if dns.rdatatype.from_text(kind) == type_ or kind == "CNAME":
                answer.answer.append(dns.rrset.from_text(name, int(ttl), class_, kind, text))
                if kind == "CNAME":
                    self._fill(answer, dns.name.from_text(text), type_)


@asynccontextmanager
async def fake_dns(server: FakeDns) -> AsyncIterator[FakeDns]:
    """Serve on a free port of loopback while the context is open."""
    with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as datagrams:
        async with trio.open_nursery() as nursery:
            listeners = await trio.open_tcp_listeners(server.port, host="127.0.0.1")
            server.port = listeners[0].socket.getsockname()[1]
            await datagrams.bind(("127.0.0.1", server.port))
            nursery.start_soon(_udp, server, datagrams)
            nursery.start_soon(trio.serve_listeners, lambda stream: _tcp(server, stream), listeners)
            yield server
            nursery.cancel_scope.cancel()


async def _udp(server: FakeDns, datagrams: trio.socket.SocketType) -> None:
    while True:
        wire, peer = await datagrams.recvfrom(65535)
        if (answer := server.answer(wire, "udp")) is not None:
            await datagrams.sendto(answer, peer)


async def _tcp(server: FakeDns, stream: trio.abc.Stream) -> None:
    async with stream:
        wire = b""
        while len(wire) < 2 or len(wire) < 2 + int.from_bytes(wire[:2], "big"):
            part = await stream.receive_some(65535)
            if not part:
                return
            wire += part
        if (answer := server.answer(wire[2:], "tcp")) is not None:
            await stream.send_all(len(answer).to_bytes(2, "big") + answer)
