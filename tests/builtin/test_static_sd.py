"""Targets from the configuration."""

from __future__ import annotations

from collections.abc import Sequence

import trio

from tinyobs.abc import DiscovererContext, TargetGroup
from tinyobs.builtin import static_sd
from tinyobs.config.loader import parse


class FixedClock:
    """Always the same time."""

    def now_ms(self) -> int:
        """Return it."""
        return 0


async def test_the_targets_are_published_once(nursery: trio.Nursery) -> None:
    """One group a config entry, named by its position; nothing else ever comes."""
    text = "scrape_configs: [{job_name: a, static_configs: [{targets: ['x:1', 'y:2'], labels: {env: prod}}]}]"
    (kind,) = static_sd.tinyobs_discoverers()
    entries = dict(parse(text, discoverers=[kind]).scrape_configs[0].discovery)[kind.key]
    published: list[Sequence[TargetGroup]] = []

    async def publish(groups: Sequence[TargetGroup]) -> None:
        published.append(groups)

    discoverer = kind.make(entries[0], DiscovererContext("a", 3, "/", FixedClock()))
    await nursery.start(discoverer.run, publish)
    await trio.testing.wait_all_tasks_blocked()
    nursery.cancel_scope.cancel()
    assert published == [[TargetGroup("3", ({"__address__": "x:1"}, {"__address__": "y:2"}), {"env": "prod"})]]
