"""Values of labels that all kinds make in the same way.  Pure."""

from __future__ import annotations

from collections.abc import Iterable


def surrounded(items: Iterable[str], separator: str = ",") -> str:
    """Return a list with the separator around each item, so that a pattern finds one wherever it stands."""
    return separator + separator.join(items) + separator


def address(host: str, port: int) -> str:
    """Return host:port, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
