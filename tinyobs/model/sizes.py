"""Byte sizes as Prometheus writes them: `512MB`, `1GiB`, `1.5KiB`; every unit is a power of 1024.

`KB` and `KiB` mean the same, 1024 bytes.  A number without a unit is refused, except 0.  Source of the format: the
type Base2Bytes of the Go package github.com/alecthomas/units.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final, NewType

SizeBytes = NewType("SizeBytes", int)
"""A number of bytes; in configuration files written as `parse_size` reads it."""

SIZE_BYTES_MAX: Final = 2**63 - 1
"""Largest size in bytes: 64 bits with sign."""

_PREFIXES: Final = ("", "K", "M", "G", "T", "P", "E")
_PART: Final = re.compile(r"([0-9]{0,19})(?:\.([0-9]{0,19}))?([^.0-9]*)")
_BINARY: Final = {("B" if not p else p + "iB"): 1024**i for i, p in enumerate(_PREFIXES)}
_SHORT: Final = {p + "B": 1024**i for i, p in enumerate(_PREFIXES)}


def parse_size(text: str) -> SizeBytes:
    """Return the bytes of a size such as `1GiB512MiB`; raises `ValueError` for anything else.

    All parts use the same family of units, `KiB` or `KB`.
    """
    body = text[1:] if text[:1] in ("+", "-") else text
    if body == "0":
        return SizeBytes(0)
    if not body:
        raise ValueError(f'units: invalid "{text}"')
    try:
        size = _sum(body, _BINARY, text)
    except ValueError:
        size = _sum(body, _SHORT, text)
    if text[0] == "-":
        size = -size
    if abs(size) > SIZE_BYTES_MAX:
        raise ValueError("units: overflow parsing unit")
    return SizeBytes(size)


def format_size(size_bytes: int) -> str:
    """Return a size as text, from the largest unit to the smallest, without parts that are zero: `1GiB512MiB`."""
    if size_bytes == 0:
        return "0B"
    sign, rest = ("-", -size_bytes) if size_bytes < 0 else ("", size_bytes)
    parts: list[str] = []
    for prefix in _PREFIXES:
        last = prefix == _PREFIXES[-1]
        rest, part = (0, rest) if last else divmod(rest, 1024)
        if part:
            parts.append(f"{part}{prefix}{'iB' if prefix else 'B'}")
    return sign + "".join(reversed(parts))


def _sum(body: str, units: dict[str, int], text: str) -> int:
    """Return the sum of all parts of a size, in bytes, rounded down."""
    total = Fraction(0)
    at = 0
    while at < len(body):
        part = _PART.match(body, at)
        assert part is not None
        whole, decimals, unit = part.group(1), part.group(2) or "", part.group(3)
        if not whole and not decimals:
            raise ValueError(f'units: invalid "{text}"')
        if unit not in units:
            raise ValueError(f'units: unknown unit "{unit}" in "{text}" (write for example 512MB)')
        total += (Fraction(int(whole or "0")) + Fraction(int(decimals or "0"), 10 ** len(decimals))) * units[unit]
        at = part.end()
    return int(total)
