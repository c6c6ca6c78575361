"""What discovered groups come to, made once for each version of a group.

A change of discovery concerns a few groups of many: of 20 000 pods one restarts.  Relabelling all of them again would
take seconds in which nothing is scraped, so the results of the others are remembered, and those that are made give
others their turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import Final

import attrs
import trio

from ...abc import TargetGroup
from ...model.labels import Labels
from .targets import Found, PoolDefaults, Target, make_targets

TURN_SECONDS: Final = 0.005
"""How long targets are made before others get their turn."""


class GroupMemo:
    """The targets of the groups of a pool."""

    def __init__(self, defaults: PoolDefaults, dropped_max: int) -> None:
        """dropped_max: as of `make_targets`."""
        self._defaults, self._dropped_max = defaults, dropped_max
        self._made: dict[int, tuple[TargetGroup, Found]] = {}
        """By the identity of the group, which is kept beside so that no other can have it."""

    async def make(self, groups: Sequence[TargetGroup]) -> Found:
        """Return the targets of all groups, as `make_targets` does; one caller at a time.

        Targets of other members that are found in two groups count twice.
        """
        made: dict[int, tuple[TargetGroup, Found]] = {}
        targets: dict[Target, None] = {}
        dropped: list[Labels] = []
        elsewhere: list[Target] = []
        errors: list[str] = []
        dropped_count = elsewhere_count = 0
        began = perf_counter()
        for group in groups:
            _, found = self._made.get(id(group), (group, None))
            if found is None:
                found = make_targets([(group.targets, group.labels)], self._defaults, self._dropped_max)
                if self._dropped_max:
                    found = attrs.evolve(
                        found,
                        dropped=found.dropped[: max(self._dropped_max - len(dropped), 0)],
                        elsewhere=found.elsewhere[: max(self._dropped_max - len(elsewhere), 0)],
                    )
            made[id(group)] = group, found
            targets.update(dict.fromkeys(found.targets))
            dropped += found.dropped
            elsewhere += found.elsewhere
            errors += found.errors
            dropped_count += found.dropped_count
            elsewhere_count += found.elsewhere_count
            if perf_counter() - began > TURN_SECONDS:
                await trio.lowlevel.checkpoint()
                began = perf_counter()
        self._made = made
        end = self._dropped_max or None
        return Found(list(targets), dropped[:end], dropped_count, errors, elsewhere[:end], elsewhere_count)
