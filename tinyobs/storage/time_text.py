"""Times in messages for operators: milliseconds since 1970 as ISO 8601 in UTC, and names of moments."""

from __future__ import annotations

from datetime import UTC, datetime


def time_text(time_ms: int) -> str:
    """Return a time as `2026-01-01T00:00:00.000Z`; beyond the years 1 to 9999 as its number."""
    try:
        moment = datetime.fromtimestamp(time_ms / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return f"{time_ms} ms"
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{time_ms % 1000:03d}Z"


def range_text(mint_ms: int, maxt_ms: int) -> str:
    """Return `from A to B`."""
    return f"from {time_text(mint_ms)} to {time_text(maxt_ms)}"


def moment_name(time_ms: int) -> str:
    """Return a time as a name that sorts by time, `20260101T000000.000Z`."""
    return datetime.fromtimestamp(time_ms // 1000, UTC).strftime("%Y%m%dT%H%M%S.") + f"{time_ms % 1000:03d}Z"
