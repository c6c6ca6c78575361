"""Immutable pieces of stored data as `/api/v1/status/tsdb/blocks` shows them."""

from __future__ import annotations

from typing import Final

from attrs import frozen

_CROCKFORD: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


@frozen
class StoredBlock:
    """One piece.  Times in ms, both ends included; number: never given to another piece of the same data.

    level: how often it was merged, 1 for what came from memory.  tier_ms: distance of its samples, 0 for those as they
    were stored.
    """

    number: int
    level: int
    mint_ms: int
    maxt_ms: int
    series: int
    samples: int
    chunks: int
    bytes: int
    tier_ms: int = 0


def ulid(time_ms: int, number: int) -> str:
    """Return a number as the 26 characters of a ULID (https://github.com/ulid/spec) whose time is `time_ms`."""
    value = (max(time_ms, 0) & (1 << 48) - 1) << 80 | number & (1 << 80) - 1
    return "".join(_CROCKFORD[value >> 5 * i & 31] for i in reversed(range(26)))
