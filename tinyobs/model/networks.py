"""Sets of addresses: single ones and networks, as text."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from contextlib import suppress

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Networks:
    """Addresses and networks, IPv4 and IPv6; an IPv4 address that comes as IPv6 is the same."""

    def __init__(self, texts: Iterable[str]) -> None:
        """texts: each must be valid."""
        self._networks = [ipaddress.ip_network(text, strict=False) for text in texts]

    def __bool__(self) -> bool:
        return bool(self._networks)

    def __contains__(self, text: str) -> bool:
        """Tell whether an address is in one of them; what is no address is in none."""
        address = address_of(text) if self._networks else None
        return address is not None and any(address in n for n in self._networks if n.version == address.version)


def address_of(text: str) -> Address | None:
    """Return an address, None for what is none."""
    with suppress(ValueError):
        address = ipaddress.ip_address(text.partition("%")[0])
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        return mapped or address
    return None
