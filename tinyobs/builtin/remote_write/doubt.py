"""How long what was committed earlier is taken for samples that an earlier process may have delivered already.

What it had delivered ends a little behind its saved place: within what its queues held and what it sent since the place
was saved.  So only that many samples, in the order of the log, are in doubt; acceptance says nothing, since other shards
may long be at new samples while one still repeats.  And when a long run of single samples was refused without any being
accepted, repetition is not the reason (docs/decisions/0055).
"""

from __future__ import annotations

from typing import Final

from attrs import define

SHARDS_MAX: Final = 50
CAPACITY: Final = 10_000
"""The defaults of Prometheus: an earlier process may have been configured otherwise than this one."""
SENT_SINCE_SAVED: Final = 1_000_000
"""Samples that may have been delivered since the place was saved, which is done several times a second."""
REFUSED_MAX: Final = 500_000
"""Single samples that are refused one after another before the doubt ends."""


@define
class Doubt:
    """samples_left: samples still to be read that may have been delivered."""

    samples_left: int
    refused_left: int = REFUSED_MAX

    @property
    def is_over(self) -> bool:
        """Whether a refusal is final again, whatever is refused."""
        return self.refused_left <= 0

    def covers(self, samples: int) -> bool:
        """Tell whether the next samples of the log that an earlier process had may have been delivered by it."""
        covered = self.samples_left > 0
        self.samples_left -= samples
        return covered

    def accepted(self) -> None:
        """Samples in doubt were accepted."""
        if self.refused_left > 0:
            self.refused_left = REFUSED_MAX

    def refused(self) -> None:
        """A single sample in doubt was refused."""
        self.refused_left -= 1


def doubt_of(capacity: int, shards_max: int) -> Doubt:
    """Return the doubt at the beginning of a destination with these settings."""
    return Doubt(max(capacity, CAPACITY) * max(shards_max, SHARDS_MAX) + SENT_SINCE_SAVED)
