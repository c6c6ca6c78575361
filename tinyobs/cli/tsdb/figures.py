"""Figures in text for people: sizes with one digit behind the point, counts with their noun."""

from __future__ import annotations

from typing import Final

UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")


def size_text(size_bytes: float) -> str:
    """Return `512 B`, `4.2 MiB`; units are powers of 1024."""
    unit = 0
    while size_bytes >= 1023.95 and unit < len(UNITS) - 1:
        size_bytes, unit = size_bytes / 1024, unit + 1
    return f"{size_bytes:.1f} {UNITS[unit]}" if unit else f"{size_bytes:.0f} B"


def counted(count: int, noun: str) -> str:
    """Return `1 segment`, `12 segments`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
