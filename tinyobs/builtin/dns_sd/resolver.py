"""A client of name servers that does what `resolv.conf` says.  Rules: the library of Prometheus, miekg/dns."""

from __future__ import annotations

import ipaddress
from functools import partial
from pathlib import Path
from typing import Final

import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdata
import dns.rdatatype
import trio
from attrs import define, field

from ...discovery.refreshing import DiscoveryError

RESOLV_CONF: Final = "/etc/resolv.conf"
RESOLV_CONF_BYTES_MAX: Final = 1 << 20
PORT: Final = 53
ANSWER_SECONDS: Final = 2.0
"""How long one server has for one answer, as upstream."""
UDP_BYTES: Final = 4096
"""Longest answer over UDP that is asked for; a longer one comes over TCP."""


@define
class Resolver:
    """Asks name servers, as a `resolv.conf` says."""

    servers: list[str] = field(factory=list)
    search: list[str] = field(factory=list)
    ndots: int = 1
    port: int = PORT

    async def look_up(self, name: str, type_: dns.rdatatype.RdataType) -> list[dns.rdata.Rdata]:
        """Return the records of a type that a name has, [] where it is known to have none.

        A name without a dot at its end is tried with the search domains.  The first one that exists counts.  Raises
        `DiscoveryError` when none does and one could not be looked up, for then nobody knows.
        """
        reasons = []
        for candidate in self.candidates(name):
            try:
                answer = await self._ask_all(candidate, type_)
            except DiscoveryError as e:
                reasons.append(str(e))
                continue
            if answer.rcode() == dns.rcode.NOERROR:
                return [record for rrset in answer.answer if rrset.rdtype == type_ for record in rrset]
        if reasons:
            raise DiscoveryError(f"could not resolve {name!r}: {'; '.join(reasons)}")
        return []

    def candidates(self, name: str) -> list[str]:
        """Return the absolute names that a name may mean, in order."""
        if name.endswith("."):
            return [name]
        itself = [f"{name}."]
        searched = [f"{name}.{domain.strip('.')}." for domain in self.search if domain.strip(".")]
        return itself + searched if name.count(".") + 1 > self.ndots else searched + itself

    async def _ask_all(self, name: str, type_: dns.rdatatype.RdataType) -> dns.message.Message:
        """Return the first answer that says something of the name: records, or that it does not exist."""
        if not self.servers:
            raise DiscoveryError("no name servers are configured")
        try:
            query = dns.message.make_query(name, type_, use_edns=0, payload=UDP_BYTES)
        except dns.exception.DNSException as e:
            raise DiscoveryError(f"{name}: {e}") from None
        reasons = []
        for server in self.servers:
            try:
                answer = await self._ask(query, server)
            except (dns.exception.DNSException, OSError, EOFError, trio.TooSlowError) as e:
                reasons.append(f"{server}: {e or 'no answer in time'}")
                continue
            if answer.rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
                return answer
            reasons.append(f"{server}: {dns.rcode.to_text(answer.rcode())}")
        raise DiscoveryError(f"no server gave a usable answer for {name} ({', '.join(reasons)})")

    async def _ask(self, query: dns.message.Message, server: str) -> dns.message.Message:
        """Ask over UDP, and over TCP when the answer does not fit."""
        ask = partial(dns.asyncquery.udp, ignore_unexpected=True, ignore_errors=True)
        with trio.fail_after(ANSWER_SECONDS):
            answer = await ask(query, server, port=self.port)
        if answer.flags & dns.flags.TC:
            with trio.fail_after(ANSWER_SECONDS):
                answer = await dns.asyncquery.tcp(query, server, port=self.port)
        return answer


def read_resolv_conf(path: str, port: int = PORT) -> Resolver:
    """Return what a `resolv.conf` says; raises `DiscoveryError` when it cannot be read."""
    try:
        with Path(path).open("rb") as f:
            text = f.read(RESOLV_CONF_BYTES_MAX).decode(errors="replace")
    except OSError as e:
        raise DiscoveryError(f"could not load resolv.conf: {e}") from None
    resolver = Resolver(port=port)
    for line in text.splitlines():
        key, *words = line.split() or [""]
        if key == "nameserver" and words and _is_address(words[0]):
            resolver.servers.append(words[0])
        elif key in ("domain", "search"):
            resolver.search = words[:1] if key == "domain" else words
        elif key == "options":
            for word in words:
                option, _, value = word.partition(":")
                if option == "ndots" and value.isdecimal():
                    resolver.ndots = min(int(value), 15)
    return resolver


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
