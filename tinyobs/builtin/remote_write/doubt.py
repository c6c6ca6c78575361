"""How long what was committed earlier is taken for samples that an earlier process may have delivered already.

What it had delivered ends a little behind its saved place: within what its queues held.  So the doubt is over when that
many samples were accepted; and when a long run of single samples was refused without any being accepted, repetition is
not the reason (docs/decisions/0055).
"""

from __future__ import annotations

from typing import Final

from attrs import define

SHARDS_MAX: Final = 50
CAPACITY: Final = 10_000
"""The defaults of Prometheus: an earlier process may have been configured otherwise than this one."""
REFUSED_MAX: Final = 50_000
"""Single samples that are refused one after another before the doubt ends."""


@define
class Doubt:
    """Counts down until doubt is over.  accepted_left: samples that have still to be accepted."""

    accepted_left: int
    refused_left: int = REFUSED_MAX

    @property
    def is_over(self) -> bool:
        """Whether a refusal is final again."""
        return self.accepted_left <= 0 or self.refused_left <= 0

    def accepted(self, samples: int) -> None:
        """Samples in doubt were accepted."""
        self.accepted_left -= samples
        if self.refused_left > 0:
            self.refused_left = REFUSED_MAX

    def refused(self) -> None:
        """A single sample in doubt was refused."""
        self.refused_left -= 1


def doubt_of(capacity: int, shards_max: int) -> Doubt:
    """Return the doubt at the beginning of a destination with these settings."""
    return Doubt(max(capacity, CAPACITY) * max(shards_max, SHARDS_MAX))
