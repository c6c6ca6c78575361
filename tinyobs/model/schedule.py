"""Schedules that are jittered between targets and stable for one target.

A tick falls at `k * interval + phase` for whole `k`, where the phase depends only on a key, a seed and the beat: it
survives restarts and reloads, and many targets with one interval are spread evenly (prometheus scrape/target.go
`offset`).

Few targets are not spread over every millisecond but over *beats*, moments at which a handful come together: what the
first one brings into the processor's caches serves the others, and they share a commit.  Scraped one by one, a target
costs twice as much.
"""

from __future__ import annotations

import hashlib
from typing import Final

BEATS_MS: Final = (1000, 500, 250, 100, 50, 20, 10)
"""Distances of beats that are tried, widest first."""
BEATS_PER_INTERVAL_MIN: Final = 10
TARGETS_PER_BEAT_MAX: Final = 25
"""On average; each waits for those before it, about a millisecond a target."""


def beat_ms(count: int, interval_ms: int) -> int:
    """Return how far apart the beats are for so many targets with one interval; 1 is no beat at all."""
    widest = min(interval_ms // BEATS_PER_INTERVAL_MIN, interval_ms * TARGETS_PER_BEAT_MAX // max(count, 1))
    return next((beat for beat in BEATS_MS if beat <= widest), 1)


def phase_ms(key: str, seed: str, interval_ms: int, beat: int = 1) -> int:
    """Return the phase of a key within its interval, 0 <= phase < interval, on a beat."""
    digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), key=seed.encode()[:64], digest_size=8).digest()
    phase = int.from_bytes(digest, "big") % interval_ms
    return phase - phase % beat


def next_tick_ms(now_ms: int, interval_ms: int, phase: int) -> int:
    """Return the first tick strictly after `now_ms`."""
    return now_ms + interval_ms - (now_ms - phase) % interval_ms
