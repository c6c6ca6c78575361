"""Schedules that are jittered between targets and stable for one target.

A tick falls at `k * interval + phase` for whole `k`, where the phase depends only on a key and a seed: it survives
restarts and reloads, and many targets with one interval are spread evenly (prometheus scrape/target.go `offset`).
"""

from __future__ import annotations

import hashlib


def phase_ms(key: str, seed: str, interval_ms: int) -> int:
    """Return the phase of a key within its interval, 0 <= phase < interval."""
    digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), key=seed.encode()[:64], digest_size=8).digest()
    return int.from_bytes(digest, "big") % interval_ms


def next_tick_ms(now_ms: int, interval_ms: int, phase: int) -> int:
    """Return the first tick strictly after `now_ms`."""
    return now_ms + interval_ms - (now_ms - phase) % interval_ms
